"""A hidden Markov model fitted by expectation and maximisation (Baum and Welch), scaled forwards and backwards over
several sequences: negative log likelihood of another sequence after some turns, by the logarithms of the
pseudo-counts that are added to each count.

Size: (states, letters, lengths of the sequences, length of the other sequence, turns).
"""
import numpy

SIZES = {"small": (2, 3, (4, 3), 3, 2), "full": (8, 12, (40, 30, 35), 50, 4)}


def arguments(size):
    states, letters, lengths, other, turns = size
    rng = numpy.random.default_rng(26)
    pseudo = (0.3 * rng.standard_normal(states), 0.3 * rng.standard_normal((states, states)),
              0.3 * rng.standard_normal((states, letters)))  # fmt: skip
    tables = tuple(rng.dirichlet(numpy.full(x.shape[-1], 5.0), size=x.shape[:-1]) for x in pseudo)
    sequences = tuple(rng.integers(letters, size=n) for n in lengths)
    return pseudo, tables, sequences, rng.integers(letters, size=other), turns


def forwards(np, tables, sequence):
    """Distributions of the states given the letters so far, and the probability of each letter given those before."""
    start, change, shown = tables
    states, scales = [], []
    for k, letter in enumerate(sequence):
        state = (np.dot(states[-1], change) if k else start) * shown[:, letter]
        scales.append(np.sum(state))
        states.append(state / scales[-1])
    return states, scales


def expected(np, tables, sequence, letters):
    """Expected counts of the first state, of changes and of letters shown."""
    _, change, shown = tables
    states, scales = forwards(np, tables, sequence)
    later = np.ones(change.shape[0])
    posteriors, changes = [states[-1]], 0.0
    for k in range(len(sequence) - 1, 0, -1):
        weight = shown[:, sequence[k]] * later / scales[k]
        changes = changes + np.outer(states[k - 1], weight) * change
        later = np.dot(change, weight)
        posteriors.append(states[k - 1] * later)
    posteriors = np.array(posteriors[::-1])
    return posteriors[0], changes, np.dot(posteriors.T, numpy.eye(letters)[sequence])


def program(np, pseudo, tables, sequences, other, turns):
    letters = tables[2].shape[1]
    for _ in range(turns):
        counts = [np.exp(x) for x in pseudo]
        for sequence in sequences:
            counts = [a + b for a, b in zip(counts, expected(np, tables, sequence, letters))]
        tables = [count / np.sum(count, axis=-1, keepdims=True) for count in counts]
    _, scales = forwards(np, tables, other)
    return -np.sum(np.log(np.array(scales)))
