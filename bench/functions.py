"""The benchmarked functions, in plain NumPy.

Libraries that offer NumPy under another name (JAX, autograd) run the same source: `functions_with(jax.numpy)`
is this module with its `np` replaced. Nothing here may therefore write in place.
"""
import importlib.util
from types import ModuleType

import numpy as np


def functions_with(namespace) -> ModuleType:
    """A fresh copy of this module whose `np` is `namespace`."""
    spec = importlib.util.spec_from_file_location(f"bench.functions[{namespace.__name__}]", __file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.np = namespace
    return module


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
    """R^n -> R^n, of elementwise and matmul rows."""
    h = np.tanh(A @ x)
    return np.exp(-h * h) * (B @ h) + np.sin(x)


def energy(x, A, B):
    """R^n -> R, of elementwise and matmul rows; its Hessian is dense."""
    h = np.tanh(A @ x)
    return np.sum(np.log1p(h * h)) + 0.5 * (h @ (B @ h)) + np.sum(np.cos(x) * h)
