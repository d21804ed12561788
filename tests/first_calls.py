"""First calls of everything public, made by several threads at once in a fresh process. Run as a script:

    python first_calls.py [names of the jobs; all without any]

Some of the threads come to each job together; the others begin elsewhere and record other functions meanwhile.
"""

import faulthandler
import os
import sys
import tempfile
import threading

import numpy as np
from scipy import special

import fastad as fad

TOGETHER, OTHERS = 6, 2
X = np.arange(1.0, 6.0)
A = np.eye(5) * 4.0 + 0.1 * np.arange(25.0).reshape(5, 5)


def f(x):
    return np.sum(np.sin(x) * x)


DF = np.sin(X) + X * np.cos(X)


def loop(x):
    return fad.scan(lambda c, e: (fad.cond(e > 2.5, np.sin, lambda c: 2.0 * c, c * e), c), x[0], x)[0]


def choice(x):
    return fad.cond(x[0] > 0, lambda x: fad.scan(lambda c, e: (np.sin(c * e), c), x[0], x)[0], lambda x: x[1], x)


def by_hand(x):
    c = x[0]
    for e in x:
        c = np.sin(c * e) if e > 2.5 else 2.0 * (c * e)
    return c


def saved():
    path = os.path.join(tempfile.mkdtemp(), "f.npz")
    g = fad.jit(f)
    g(X)
    g.save(path)
    return fad.grad(fad.load(path))(X)


GRAD, JIT, NATIVE = fad.grad(f), fad.jit(f), fad.value_and_grad(f, tier="native")
LOOP, CHOICE = fad.value_and_grad(loop), fad.grad(choice)
MAPPED, SOLVE = fad.vmap(fad.grad(f)), fad.grad(lambda a: np.sum(np.linalg.solve(a, X) ** 2))
SPECIAL, PRODUCT = fad.grad(lambda x: np.sum(special.gammaln(x))), fad.jit(lambda a: a @ a.T)
_inverse = np.linalg.inv(A)
_solution = _inverse @ X
# A job: what is called, and its result.
JOBS = {
    "grad": (lambda: GRAD(X), DF),
    "jit": (lambda: JIT(X), f(X)),
    "native": (lambda: NATIVE(X)[1], DF),
    "jvp": (lambda: fad.jvp(f, (X,), (X,))[1], DF @ X),
    "vjp": (lambda: fad.vjp(f, X)[1](1.0)[0], DF),
    "hvp": (lambda: fad.hvp(f, (X,), (X,))[0], (2 * np.cos(X) - X * np.sin(X)) * X),
    "vmap": (lambda: MAPPED(np.stack([X, X])), [DF, DF]),
    "scan": (lambda: LOOP(X)[0], by_hand(X)),
    "cond": (lambda: CHOICE(X), None),
    "solve": (lambda: SOLVE(A), -2 * np.outer(_inverse.T @ _solution, _solution)),
    "special": (lambda: SPECIAL(np.ones(2)), [-0.5772156649015329] * 2),
    "product": (lambda: PRODUCT(A), A @ A.T),
    "prepare": (lambda: GRAD.prepare(X).run(), DF),
    "save": (saved, DF),
    "numba_function": (lambda: JIT(X) and JIT.numba_function(X), f(X)),
}


def main(names):
    barrier, errors = threading.Barrier(TOGETHER), []

    def run(k):
        together = k < TOGETHER
        try:
            for name in names if together else names[k:] + names[:k]:
                if together:
                    barrier.wait()
                call, wanted = JOBS[name]
                found = call()
                if wanted is not None:
                    np.testing.assert_allclose(found, wanted, rtol=1e-9, err_msg=name)
        except BaseException as error:
            barrier.abort()
            if not isinstance(error, threading.BrokenBarrierError):
                errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(TOGETHER + OTHERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


if __name__ == "__main__":
    faulthandler.enable()
    sys.setswitchinterval(1e-4)
    faulthandler.dump_traceback_later(250, exit=True)  # where they wait for each other
    main(sys.argv[1:] or list(JOBS))
