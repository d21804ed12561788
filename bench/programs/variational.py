"""Black-box variational inference: a Gaussian with diagonal covariance for the weights of a logistic regression, by
samples one after the other; by means and log deviations.

Size: (samples, observations, weights).
"""
import numpy

SIZES = {"small": (2, 5, 3), "full": (50, 300, 20)}


def arguments(size):
    samples, observations, d = size
    rng = numpy.random.default_rng(18)
    guess = (0.1 * rng.standard_normal(d), -1.0 + 0.1 * rng.standard_normal(d))
    inputs = rng.standard_normal((observations, d))
    labels = numpy.where(inputs @ rng.standard_normal(d) > 0.0, 1.0, -1.0)
    return guess, rng.standard_normal((samples, d)), inputs, labels


def log_density(np, weights, inputs, labels):
    return -np.sum(np.logaddexp(0.0, -labels * np.dot(inputs, weights))) - 0.5 * np.sum(weights**2)


def program(np, guess, noise, inputs, labels):
    mean, log_deviation = guess
    total = 0.0
    for own in noise:
        total = total + log_density(np, mean + np.exp(log_deviation) * own, inputs, labels)
    return -total / len(noise) - np.sum(log_deviation)
