"""Log likelihood of a hidden Markov model, forward in logarithms over each of several sequences of letters, by the
unnormalised logarithms of its three tables.

Size: (states, letters, lengths of the sequences).
"""
import numpy

SIZES = {"small": (2, 3, (4, 3)), "full": (20, 30, (55, 40, 47, 60, 38))}


def arguments(size):
    states, letters, lengths = size
    rng = numpy.random.default_rng(5)
    tables = (rng.standard_normal(states), rng.standard_normal((states, states)),
              rng.standard_normal((states, letters)))  # fmt: skip
    return tables, tuple(rng.integers(letters, size=n) for n in lengths)


def logsumexp(np, x, axis, keepdims=False):
    top = np.max(x, axis=axis, keepdims=True)
    total = top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))
    return total if keepdims else np.squeeze(total, axis)


def program(np, tables, sequences):
    start, change, shown = (t - logsumexp(np, t, -1, keepdims=True) for t in tables)
    total = 0.0
    for letters in sequences:
        state = start + shown[:, letters[0]]
        for letter in letters[1:]:
            state = logsumexp(np, state[:, None] + change, 0) + shown[:, letter]
        total = total + logsumexp(np, state, 0)
    return -total
