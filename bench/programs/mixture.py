"""Log likelihood of a mixture of Gaussians by its log weights, means and triangular factors of inverse covariances,
component by component in a list.

Size: (points, dimensions, components).
"""
import numpy

SIZES = {"small": (5, 2, 2), "full": (1000, 10, 10)}


def arguments(size):
    points, d, components = size
    rng = numpy.random.default_rng(6)
    x = (rng.standard_normal(components), rng.standard_normal((components, d)),
         0.3 * rng.standard_normal((components, d, d)))  # fmt: skip
    return x, rng.standard_normal((points, d))


def program(np, x, points):
    logits, means, factors = x
    d = points.shape[1]
    logits = logits - np.max(logits)
    weights = logits - np.log(np.sum(np.exp(logits)))
    logs = []
    for weight, mean, factor in zip(weights, means, factors):
        diagonal = np.diag(factor)
        inverse = np.tril(factor, -1) + np.diag(np.exp(diagonal))
        scaled = np.dot(points - mean, inverse.T)
        logs.append(weight + np.sum(diagonal) - 0.5 * np.sum(scaled**2, axis=1))
    logs = np.array(logs)
    top = np.max(logs, axis=0)
    likelihood = np.sum(top + np.log(np.sum(np.exp(logs - top), axis=0)))
    return 0.5 * d * numpy.log(2.0 * numpy.pi) * len(points) - likelihood
