"""The benchmarked functions, in plain NumPy.

Libraries that have NumPy's functions under another name (JAX, autograd) run the same source:
`functions_with(jax.numpy)` is this module with its `np` replaced. So nothing here may write in place. Loops are scans,
and a library's own scan is passed in the same way: `functions_with(jax.numpy, jax.lax.scan)`.
"""
import importlib.util
from types import ModuleType

import numpy as np


def functions_with(namespace, scan=None) -> ModuleType:
    """A fresh copy of this module whose `np` is `namespace`, and whose `scan` is the given one, if any."""
    spec = importlib.util.spec_from_file_location(f"bench.functions[{namespace.__name__}]", __file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.np = namespace
    module.scan = scan or module.scan
    return module


def scan(f, init, xs, length=None):
    """The scan for libraries without one: a plain loop, with the first parameters of jax.lax.scan."""
    carry, results = init, []
    for k in range(len(xs) if length is None else length):
        carry, result = f(carry, None if xs is None else xs[k])
        results.append(result)
    return carry, None if results[0] is None else np.stack(results)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def sin_exp(x):
    return np.sum(np.sin(x) * np.exp(-x * x))


def logistic(w, X, y):
    """Mean loss of logistic regression; labels y are -1 or 1."""
    return np.mean(np.logaddexp(0.0, -y * (X @ w)))


def mlp(params, X, onehot):
    """Mean softmax cross-entropy of a tanh network; params is a list of (weights, bias)."""
    h = X
    for W, b in params[:-1]:
        h = np.tanh(h @ W + b)
    W, b = params[-1]
    logits = h @ W + b
    top = np.max(logits, axis=1, keepdims=True)
    logsum = top[:, 0] + np.log(np.sum(np.exp(logits - top), axis=1))
    return np.mean(logsum - np.sum(onehot * logits, axis=1))


def gmm(params, X, places, wishart):
    """Log-likelihood of a Gaussian mixture, with ADBench's parameters and Wishart prior.

    params = (alphas (K,), means (K, d), icf (K, d(d+1)/2)). Row k of icf holds the logarithms of the diagonal of the
    inverse covariance's factor Q, then its strictly lower triangle column by column; places (d*d,) says where each
    entry of Q stands in (exp(diagonal), lower triangle, 0). The constants that depend on no parameter are left out
    of the prior, as they are in every peer's version here.
    """
    alphas, means, icf = params
    gamma, m = wishart
    n, d = X.shape
    K = alphas.shape[0]
    sum_log_diagonal = np.sum(icf[:, :d], axis=1)
    diagonal = np.exp(icf[:, :d])
    lower = icf[:, d:]
    Q = np.concatenate([diagonal, lower, np.zeros((K, 1))], axis=1)[:, places].reshape((K, d, d))
    centred = X - means[:, None, :]
    scaled = np.matmul(centred, np.transpose(Q, (0, 2, 1)))
    terms = alphas[:, None] + sum_log_diagonal[:, None] - 0.5 * np.sum(scaled * scaled, axis=2)
    top = np.max(terms, axis=0)
    likelihood = np.sum(top + np.log(np.sum(np.exp(terms - top), axis=0)))
    top_alpha = np.max(alphas)
    weights = top_alpha + np.log(np.sum(np.exp(alphas - top_alpha)))
    prior = 0.5 * gamma**2 * (np.sum(diagonal**2) + np.sum(lower**2)) - m * np.sum(sum_log_diagonal)
    return likelihood - n * weights - n * d * 0.5 * 1.8378770664093453 - prior


def cofactor(rows):
    """Determinant by expansion along the first row; rows is a list of lists of scalars."""
    if len(rows) == 1:
        return rows[0][0]
    total = 0.0
    for j, pivot in enumerate(rows[0]):
        term = pivot * cofactor([row[:j] + row[j + 1:] for row in rows[1:]])
        total = total + term if j % 2 == 0 else total - term
    return total


def determinant(x):
    n = x.shape[0]
    return cofactor([[x[i, j] for j in range(n)] for i in range(n)])


def field(x, A, B):
    """A function R^n -> R^n of elementwise operations and matrix products."""
    h = np.tanh(A @ x)
    return np.exp(-h * h) * (B @ h) + np.sin(x)


def energy(x, A, B):
    """A function R^n -> R of elementwise operations and matrix products, with a dense Hessian."""
    h = np.tanh(A @ x)
    return np.sum(np.log1p(h * h)) + 0.5 * (h @ (B @ h)) + np.sum(np.cos(x) * h)


def solution(A, b):
    """Sum of squares of the solutions of A x = b."""
    return np.sum(np.linalg.solve(A, b) ** 2)


def factor(A):
    """Sum of cubes of the Cholesky factor of A's symmetric part."""
    return np.sum(np.linalg.cholesky(0.5 * (A + np.swapaxes(A, -1, -2))) ** 3)


# ---- loops --------------------------------------------------------------------------------------------------------
def lotka_volterra(rates, y, steps):
    """Sum of both populations, weighted, at time 10, by `steps` steps of the classical Runge-Kutta method."""
    h = 10.0 / steps

    def slope(y):
        return np.stack([y[0] * (rates[0] - rates[1] * y[1]), y[1] * (rates[2] * y[0] - rates[3])])

    def step(y, _):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    y, _ = scan(step, y, None, length=steps)
    return y[0] + 2.0 * y[1]


FILTER = ("mean", "precision", "volatility", "error", "surprise")  # of a node


def filtered(node, volatility, seen, trust, above):
    """A node's new leaves, when the one below says `seen` with precision `trust` and the one above has mean `above`."""
    expected = node["mean"] + 0.1 * (above - node["mean"]) + 0.1 * node["error"]
    before = 1.0 / (1.0 / node["precision"] + np.exp(volatility + node["volatility"]))
    precision = before + trust
    error = trust / precision * (seen - expected)
    surprise = 0.5 * (before * (seen - expected) ** 2 - np.log(before))
    return {"mean": expected + error, "precision": precision, "error": error,
            "volatility": 0.9 * node["volatility"] + 0.1 * np.tanh(precision * error * error - 1.0),
            "surprise": 0.9 * node["surprise"] + surprise}


def filters(volatilities, observations):
    """Surprise of a chain of Gaussian filters, each of which observes the mean of the one below.

    The carry is a dictionary of one number for each node and name of FILTER: with 12 nodes and 614 observations the
    work of JAX's issue 40150, a hierarchical Gaussian filter whose carry has 60 leaves.
    """
    n = volatilities.shape[0]

    def step(carry, seen):
        nodes = [{name: carry[f"{name} {i}"] for name in FILTER} for i in range(n)]
        trust, new = 1.0, {}
        for i, node in enumerate(nodes):
            above = nodes[i + 1]["mean"] if i + 1 < n else 0.0
            node = filtered(node, volatilities[i], seen, trust, above)
            new.update({f"{name} {i}": node[name] for name in FILTER})
            seen, trust = node["mean"], 0.5 * node["precision"]
        return new, sum(new[f"surprise {i}"] for i in range(n))

    start = {"mean": 0.0, "precision": 1.0, "volatility": 0.0, "error": 0.0, "surprise": 0.0}
    carry = {f"{name} {i}": np.asarray(start[name]) for i in range(n) for name in FILTER}
    return np.mean(scan(step, carry, observations)[1])


def oscillators(q, p, h):
    """A step of five weakly coupled oscillators by symplectic Euler: all numbers stay of moderate size."""
    p = p - h * (2.0 * q - 0.2 * (np.roll(q, 1) + np.roll(q, -1)) + 0.1 * np.sin(q))
    return q + h * p, p


def leapfrog(q, p, h):
    """A step of two coupled pendulums by leapfrog; −h inverts it."""
    p = p - 0.5 * h * np.sin(q + 0.3 * q[::-1])
    q = q + h * p
    return q, p - 0.5 * h * np.sin(q + 0.3 * q[::-1])
