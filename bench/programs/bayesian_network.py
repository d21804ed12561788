"""A Bayesian neural network on a curve: the variational lower bound by samples of all weights, which lie in one vector
and are cut out of it layer by layer; by means and log deviations.

Size: (samples, points, width).
"""
import numpy

SIZES = {"small": (2, 4, 3), "full": (20, 40, 20)}


def arguments(size):
    samples, points, width = size
    rng = numpy.random.default_rng(4)
    layers = ((1, width), (width, width), (width, 1))
    count = sum((a + 1) * b for a, b in layers)
    x = numpy.linspace(-3.0, 3.0, points)[:, None]
    y = numpy.cos(x) + 0.1 * rng.standard_normal((points, 1))
    guess = (0.3 * rng.standard_normal(count), -2.0 + 0.1 * rng.standard_normal(count))
    return guess, rng.standard_normal((samples, count)), x, y, layers


def predictions(np, weights, x, layers):
    """Of all samples of weights at once, (samples, points, 1)."""
    samples, start = weights.shape[0], 0
    values = x[None, :, :]
    for number, (a, b) in enumerate(layers):
        matrices = np.reshape(weights[:, start : start + a * b], (samples, a, b))
        start += a * b
        values = np.einsum("mnd,mde->mne", np.tanh(values) if number else np.tile(values, (samples, 1, 1)), matrices)
        values = values + weights[:, None, start : start + b]
        start += b
    return values


def program(np, guess, noise, x, y, layers):
    mean, log_deviation = guess
    weights = mean + np.exp(log_deviation) * noise
    misfit = np.sum((predictions(np, weights, x, layers) - y) ** 2, axis=(1, 2))
    joint = -0.5 * np.sum(weights**2, axis=1) - 0.5 * misfit / 0.1**2
    return -np.mean(joint) - np.sum(log_deviation)
