"""Derivative rules in files: a user's primitive comes back with its rules, at every order and over lanes."""

import json
import math

import numpy as np
import pytest

import fastad as fad
from fastad.errors import TableError
from fastad.tables.files.store import load, save

X = np.linspace(0.3, 1.2, 4)


# Rules that are wrong on purpose: a derivative by the table would not have these factors.
def by_jvp():
    p = fad.primitive(lambda x: np.sin(x), jvp=lambda x, dx: 3.0 * np.cos(x[0]) * dx[0])
    return p, lambda x: 3.0 * np.cos(x), lambda x: -9.0 * np.sin(x)


def by_vjp():
    p = fad.primitive(lambda x: np.exp(x), vjp=lambda x, u: (2.0 * p(x[0]) * u,))  # calls itself
    return p, lambda x: 2.0 * np.exp(x), lambda x: 4.0 * np.exp(x)


def by_result():
    p = fad.primitive(lambda x: np.exp(x), vjp=lambda x, y, u: (2.0 * y * u,))
    return p, lambda x: 2.0 * np.exp(x), lambda x: 4.0 * np.exp(x)


def by_both():
    p = fad.primitive(
        lambda x: x**3, jvp=lambda x, dx: 5.0 * x[0] ** 2 * dx[0], vjp=lambda x, u: (5.0 * x[0] ** 2 * u,)
    )
    return p, lambda x: 5.0 * x**2, lambda x: 10.0 * x


def by_another():
    inner, _, _ = by_jvp()  # whose own derivative has a factor 3, and is -sin only in the table
    p = fad.primitive(lambda x: np.cos(x), jvp=lambda x, dx: 2.0 * inner(x[0]) * dx[0])
    return p, lambda x: 2.0 * np.sin(x), lambda x: 6.0 * np.cos(x)


# The derivative of by_jvp's rule 3 cos(x) dx is that of its table; of those that call a primitive, by its rule.
EXPECTED_SECOND = {"by_jvp": lambda x: -3.0 * np.sin(x)}
MADE = {f.__name__: f for f in (by_jvp, by_vjp, by_result, by_both, by_another)}


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_loaded_functions_differentiate_by_the_rules(name, tier, tmp_path):
    p, first, second = MADE[name]()
    second = EXPECTED_SECOND.get(name, second)
    f = fad.jit(lambda x: np.sum(p(x)), tier="sweep")
    f(X)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    loaded.tier = tier
    close(fad.grad(f)(X), first(X))
    close(fad.grad(loaded)(X), first(X))
    close(fad.jvp(loaded, (X,), (np.ones(4),))[1], np.sum(first(X)))
    close(np.diag(fad.hessian(f)(X)), second(X))
    close(np.diag(fad.hessian(loaded)(X)), second(X))


@pytest.mark.parametrize("name", MADE)
def test_rules_are_saved_in_loops_lanes_and_derivatives(name, tmp_path):
    p = MADE[name]()[0]
    lanes = lambda x: np.sum(fad.vmap(lambda a: p(a) * a)(x))
    walk = lambda x: fad.scan(lambda y, e: (0.1 * p(y * e), y), x[0], x)[0]
    nested = lambda x: np.sum(fad.vmap(lambda a: fad.vmap(lambda b: p(a * b))(x))(x))
    for f in (lanes, walk, nested, fad.grad(lanes), fad.grad(walk)):
        f = fad.jit(f, tier="sweep")
        value = f(X)
        f.save(tmp_path / "f.npz")
        loaded = fad.load(tmp_path / "f.npz")
        loaded.tier = "sweep"
        close(loaded(X), value)
        close(fad.jacrev(loaded)(X), fad.jacrev(f)(X))
        close(fad.jacfwd(loaded)(X), fad.jacfwd(f)(X))
        loaded.save(tmp_path / "again.npz")
        close(fad.jacrev(fad.load(tmp_path / "again.npz"))(X), fad.jacrev(f)(X))


@pytest.mark.parametrize(
    "p",
    [
        fad.primitive(lambda x: math.sin(float(x)), jvp=lambda x, dx: np.cos(x[0]) * dx[0]),
        fad.primitive(lambda x: np.sin(x), jvp=lambda x, dx: math.cos(float(x[0])) * dx[0]),
    ],
    ids=["function", "rule"],
)
def test_python_functions_cannot_be_saved(p, tmp_path):
    f = fad.jit(lambda x: p(x) + 1)
    f(0.3)
    with pytest.raises(TableError, match="Python code, which cannot be saved"):
        f.save(tmp_path / "f.npz")


WRONG = {
    "unknown kind": lambda rules: rules[0].update(kind="magic"),
    "no kind": lambda rules: rules[0].pop("kind"),
    "no rules": lambda rules: rules[0].update(jvp=None, vjp=None),
    "another size": lambda rules: rules[0].update(jvp=None, vjp=rules[0]["jvp"]),
    "no sub-program": lambda rules: rules[0].update(jvp=[99, "x"]),
    "a list": lambda rules: rules.__setitem__(0, []),
    "not there": lambda rules: rules.clear(),
    "a number": lambda rules: rules[0].update(jvp=7),
    "lanes of itself": lambda rules: rules.__setitem__(0, {"kind": "lanes", "size": 1, "base": [0, "f", 0]}),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_refused(name, tmp_path):
    def f(x):
        return 2.0 * np.sum(x) * np.ones(3)

    p = fad.primitive(f, jvp=lambda x, dx: 2.0 * np.sum(dx[0]) * np.ones(3))
    save(fad.trace(lambda x: p(x), X), tmp_path / "t.npz")
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key].copy() for key in archive.files}
    header = json.loads(arrays.pop("header").tobytes())
    WRONG[name](header["rules"])
    np.savez(tmp_path / "w.npz", header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    with pytest.raises(TableError):
        load(tmp_path / "w.npz")
