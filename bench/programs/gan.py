"""One step of a generative adversarial network: what the discriminator takes for images against what the generator
makes of noise, both with normalised batches, by the weights of both.

Size: (images, pixels, widths of the generator's hidden layers, width of the discriminator's, entries of the noise).
"""
from itertools import pairwise

import numpy

SIZES = {"small": (4, 6, (3, 5), 4, 2), "full": (100, 784, (200, 300), 150, 10)}


def arguments(size):
    images, pixels, widths, hidden, entries = size
    rng = numpy.random.default_rng(21)

    def network(*sizes):
        for a, b in pairwise(sizes):
            yield rng.standard_normal((a, b)) / numpy.sqrt(a)
            yield 0.1 * rng.standard_normal(b)

    generator = tuple(network(entries, *widths, pixels))
    discriminator = tuple(network(pixels, hidden, hidden, 1))
    shown = numpy.clip(0.5 + 0.3 * rng.standard_normal((images, pixels)), 0.0, 1.0)
    return (*generator, *discriminator), shown, rng.standard_normal((images, entries))


def normalised(np, batch):
    centred = batch - np.mean(batch, axis=0, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=0, keepdims=True) + 1e-3)


def network(np, weights, x):
    layers = list(zip(weights[::2], weights[1::2]))
    for w, b in layers[:-1]:
        x = np.maximum(normalised(np, np.dot(x, w) + b), 0.0)
    w, b = layers[-1]
    return np.dot(x, w) + b


def program(np, weights, images, noise):
    generator, discriminator = weights[:6], weights[6:]
    made = 1.0 / (1.0 + np.exp(-network(np, generator, noise)))
    of_images, of_made = network(np, discriminator, images), network(np, discriminator, made)
    return np.mean(np.logaddexp(0.0, -of_images)) + np.mean(np.logaddexp(0.0, of_made))
