"""Two layers of LSTM cells with weights of their own for each unit, in a plain loop over a sequence: mean negative log
likelihood of what comes next, by all weights.

Size: (layers, width, steps).
"""
from itertools import pairwise

import numpy

SIZES = {"small": (2, 3, 6), "full": (2, 14, 1023)}


def arguments(size):
    layers, width, steps = size
    rng = numpy.random.default_rng(2)
    weights = (0.5 * rng.standard_normal((layers, 2, 4, width)), 0.5 * rng.standard_normal((3, width)))
    states = 0.5 * rng.standard_normal((layers, 2, width))
    sequence = (rng.random((steps + 1, width)) < 0.3).astype(float)
    return weights, states, sequence


def sigmoid(np, x):
    return 1.0 / (1.0 + np.exp(-x))


def cell(np, w, b, hidden, memory, x):
    forget = sigmoid(np, x * w[0] + b[0])
    take = sigmoid(np, hidden * w[1] + b[1])
    give = sigmoid(np, x * w[2] + b[2])
    new = np.tanh(hidden * w[3] + b[3])
    memory = memory * forget + take * new
    return give * np.tanh(memory), memory


def program(np, weights, states, sequence):
    layers, outer = weights
    hidden, memory = [s[0] for s in states], [s[1] for s in states]
    total = 0.0
    for now, following in pairwise(sequence):
        x = now * outer[0]
        for k in range(len(states)):
            hidden[k], memory[k] = cell(np, layers[k][0], layers[k][1], hidden[k], memory[k], x)
            x = hidden[k]
        guess = x * outer[1] + outer[2]
        total = total + np.sum(following * (guess - np.log(np.sum(np.exp(guess)) + 2.0)))
    return -total / sequence[1:].size
