"""A variational autoencoder of black-and-white images: one sample of the lower bound, by the weights of both networks.

Size: (images, pixels, width of the hidden layers, latent dimensions).
"""
import numpy

SIZES = {"small": (3, 6, 4, 2), "full": (100, 784, 100, 10)}


def arguments(size):
    images, pixels, width, latent = size
    rng = numpy.random.default_rng(3)

    def layer(a, b):
        return rng.standard_normal((a, b)) / numpy.sqrt(a), 0.1 * rng.standard_normal(b)

    encoder = (*layer(pixels, width), *layer(width, 2 * latent))
    decoder = (*layer(latent, width), *layer(width, pixels))
    shown = (rng.random((images, pixels)) < 0.3).astype(float)
    return (*encoder, *decoder), shown, rng.standard_normal((images, latent))


def network(np, weights, x):
    a, b, c, d = weights
    return np.dot(np.tanh(np.dot(x, a) + b), c) + d


def program(np, weights, images, noise):
    latent = noise.shape[1]
    code = network(np, weights[:4], images)
    mean, log_deviation = code[:, :latent], code[:, latent:]
    z = mean + np.exp(log_deviation) * noise
    scores = network(np, weights[4:], z)
    likelihood = -np.sum(np.logaddexp(0.0, (1.0 - 2.0 * images) * scores), axis=1)
    divergence = 0.5 * np.sum(mean**2 + np.exp(2.0 * log_deviation) - 1.0 - 2.0 * log_deviation, axis=1)
    return np.mean(divergence - likelihood)
