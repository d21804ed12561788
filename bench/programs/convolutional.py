"""A convolutional network in the manner of LeNet: convolutions as sums of products of shifted pictures, maxima over
squares of two by two, two full layers. Negative log likelihood of the digits, by the weights.

Size: (images, pixels a side, filters of both convolutions, pixels of a filter a side, width of the full layer, kinds).
"""
import numpy

SIZES = {"small": (2, 10, (2, 3), 3, 4, 3), "full": (32, 28, (6, 12), 5, 60, 10)}


def arguments(size):
    images, side, (first, second), k, width, kinds = size
    rng = numpy.random.default_rng(22)
    left = ((side - k + 1) // 2 - k + 1) // 2  # pixels a side after both convolutions and maxima

    def layer(*shape, inputs):
        return rng.standard_normal(shape) / numpy.sqrt(inputs), 0.1 * rng.standard_normal(shape[-1])

    weights = (*layer(k, k, 1, first, inputs=k * k), *layer(k, k, first, second, inputs=k * k * first),
               *layer(left * left * second, width, inputs=left * left * second),
               *layer(width, kinds, inputs=width))  # fmt: skip
    return weights, rng.random((images, side, side, 1)), numpy.eye(kinds)[rng.integers(kinds, size=images)]


def convolved(np, x, filters, bias):
    k = filters.shape[0]
    rows, columns = x.shape[1] - k + 1, x.shape[2] - k + 1
    total = bias
    for i in range(k):
        for j in range(k):
            total = total + np.dot(x[:, i : i + rows, j : j + columns, :], filters[i, j])
    return total


def halved(np, x):
    images, rows, columns, channels = x.shape
    return np.max(np.reshape(x, (images, rows // 2, 2, columns // 2, 2, channels)), axis=(2, 4))


def program(np, weights, images, digits):
    x = images
    for filters, bias in (weights[:2], weights[2:4]):
        x = halved(np, np.tanh(convolved(np, x, filters, bias)))
    x = np.reshape(x, (x.shape[0], -1))
    x = np.tanh(np.dot(x, weights[4]) + weights[5])
    scores = np.dot(x, weights[6]) + weights[7]
    top = np.max(scores, axis=1, keepdims=True)
    logs = scores - top - np.log(np.sum(np.exp(scores - top), axis=1, keepdims=True))
    return -np.mean(np.sum(logs * digits, axis=1))
