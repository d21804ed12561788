"""A recurrent network that predicts the next character of a text: mean negative log likelihood by its weights.

Size: (steps, width, letters, texts in a batch).
"""
from itertools import pairwise

import numpy

SIZES = {"small": (4, 3, 5, 2), "full": (30, 40, 64, 20)}


def arguments(size):
    steps, width, letters, batch = size
    rng = numpy.random.default_rng(1)
    weights = (
        0.1 * rng.standard_normal(width),
        rng.standard_normal((letters + width + 1, width)) / numpy.sqrt(width),
        rng.standard_normal((width + 1, letters)) / numpy.sqrt(width),
    )
    text = numpy.eye(letters)[rng.integers(letters, size=(steps + 1, batch))]
    return weights, text


def program(np, weights, text):
    start, change, predict = weights
    batch = text.shape[1]
    ones = np.ones((batch, 1))
    state = np.tile(start, (batch, 1))
    total = 0.0
    for now, following in pairwise(text):
        state = np.tanh(np.dot(np.concatenate([now, state, ones], axis=1), change))
        scores = np.dot(np.concatenate([state, ones], axis=1), predict)
        top = np.max(scores, axis=1, keepdims=True)
        logs = scores - top - np.log(np.sum(np.exp(scores - top), axis=1, keepdims=True))
        total = total - np.sum(logs * following)
    return total / (batch * (len(text) - 1))
