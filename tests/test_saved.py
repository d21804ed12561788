"""Saved, loaded and pickled functions: every path, structure and composite row; wrong files are refused."""

import copy
import json
import pickle

import numpy as np
import pytest
from transform_tools import each_tier, same

import fastad as fad

X = np.array([1.0, 2.0, 3.0])


def reloaded(f, tmp_path):
    f.save(tmp_path / "f.npz")
    return fad.load(tmp_path / "f.npz")


@each_tier
def test_all_paths_and_structures(tier, tmp_path):
    @fad.jit
    def f(p, n, *, mode=None):
        x = p["x"][0]
        y = x**n if x[0] > 0 else -x
        return {"y": y, "c": [mode, (np.sum(y), None, True)], "k": 3}

    calls = [
        (({"x": (X,)}, 2), {}), (({"x": (-X,)}, 2), {}), (({"x": (X,)}, 3), {"mode": "a"}), (({"x": (X[:2],)}, 2), {}),
        (({"x": (X.astype(np.float32),)}, 2), {}), (({"x": (X,)}, True), {}),
    ]  # fmt: skip
    wanted = [f(*args, **kwargs) for args, kwargs in calls]
    g = reloaded(f, tmp_path)
    jitted = fad.jit(g, tier=tier)
    for _ in range(2):
        for (args, kwargs), w in zip(calls, wanted, strict=True):
            same(g(*args, **kwargs), w)
            same(jitted(*args, **kwargs), w)
    assert g.__name__ == "f"
    with pytest.raises(fad.ShapeError, match=r"was saved for arguments .*not for"):
        g({"x": (np.ones(5),)}, 2)
    with pytest.raises(fad.ShapeError, match="was saved for"):
        g({"x": (X,)}, 4)
    with pytest.raises(fad.ShapeError):
        g(X)


def test_keys_of_dictionaries_may_be_any_text(tmp_path):
    f = fad.jit(lambda p: {"output": p["input"] * 2, "static": p["static"], "list": (p["dict"],), "a": 1})
    p = {"input": X, "static": "text", "dict": 2.0}
    wanted = f(p)
    same(reloaded(f, tmp_path)(p), wanted)


def test_a_path_that_was_not_recorded(tmp_path):
    f = fad.jit(lambda x: x * 2 if x > 0 else -x)
    f(1.0)
    g = reloaded(f, tmp_path)
    assert g(3.0) == 6.0
    with pytest.raises(fad.TableError, match="not recorded before saving"):
        g(-1.0)
    assert g(4.0) == 8.0


@each_tier
def test_transformations_of_loaded_functions(tier, tmp_path):
    f = fad.jit(lambda x: np.sum(np.sin(x) * x))
    f(X)
    g = reloaded(f, tmp_path)
    slope = np.cos(X) * X + np.sin(X)
    same(fad.grad(g, tier=tier)(X), slope)
    same(fad.value_and_grad(g, tier=tier)(X), (f(X), slope))
    same(fad.hessian(g, tier=tier)(X), np.diag(2 * np.cos(X) - np.sin(X) * X), 1e-13)
    same(fad.jvp(g, (X,), (np.ones(3),))[1], np.sum(slope))
    same(fad.vjp(g, X)[1](2.0)[0], 2 * slope)
    same(fad.hvp(g, X, X), (2 * np.cos(X) - np.sin(X) * X) * X)
    same(fad.vmap(g, tier=tier)(np.stack([X, 2 * X])), np.array([f(X), f(2 * X)]))
    same(fad.grad(lambda x: g(x * 2), tier=tier)(X), 2 * fad.grad(f)(2 * X))
    assert len(fad.trace(g, X)) > 2
    run = g.prepare(X)
    same(run()[()], f(X))


@pytest.mark.parametrize("transform", [fad.grad, fad.value_and_grad, fad.hessian, fad.jacrev, fad.jacfwd, fad.jit])
def test_saved_transformations(transform, tmp_path):
    f = transform(lambda x: np.sum(np.exp(x) * x))
    wanted = f(X)
    g = reloaded(f, tmp_path)
    same(g(X), wanted)
    same(g(2 * X), f(2 * X))
    v = fad.vmap(transform(lambda x: np.sum(np.exp(x) * x)))
    wanted = v(np.stack([X, -X]))
    same(reloaded(v, tmp_path)(np.stack([X, -X])), wanted)


def test_captured_arrays_by_value_and_numbers(tmp_path):
    a, b, k = np.arange(3.0), np.arange(400, dtype=np.float32), 2.0
    f = fad.jit(lambda x: np.sum(x * a) * k + np.sum(b))
    first = f(X)
    g = reloaded(f, tmp_path)
    a[:] = 0.0
    assert g(X) == first
    k = 3.0
    with pytest.raises(fad.TableError, match="call it once"):
        f.save(tmp_path / "g.npz")
    a[:] = 1.0
    second = f(X)
    h = reloaded(f, tmp_path)  # holds the recordings for the current values only
    assert h(X) == second and second != first
    assert g(X) == first


@each_tier
def test_composite_rows(tier, tmp_path):
    inner = fad.checkpoint(lambda x: np.sin(x) * x)
    block = fad.checkpoint(lambda x: inner(x) if x[0] > 0 else -inner(x))
    f = fad.jit(lambda x: np.sum(block(block(x) * 2)))
    values = [f(X), f(-X)]
    g = reloaded(f, tmp_path)
    same([g(X), g(-X)], values)
    same(fad.grad(g, tier=tier)(X), fad.grad(f, tier=tier)(X))
    same(fad.hessian(g, tier=tier)(X), fad.hessian(f)(X), 1e-12)
    gradient = fad.grad(f, tier=tier)
    wanted = gradient(X)
    same(reloaded(gradient, tmp_path)(X), wanted)


def test_what_cannot_be_saved_says_so(tmp_path):
    with pytest.raises(fad.TableError, match="call it once before saving"):
        fad.jit(lambda x: x).save(tmp_path / "f.npz")
    p = fad.primitive(lambda x: float(x) ** 2)
    f = fad.jit(lambda x: p(x) * 2)
    f(2.0)
    with pytest.raises(fad.TableError, match="Python code"):
        f.save(tmp_path / "f.npz")
    ruled = fad.primitive(lambda x: x**2, vjp=lambda primals, u: (7.0 * float(u),))
    f = fad.jit(lambda x: ruled(x) * 2)
    f(2.0)
    with pytest.raises(fad.TableError, match="calls Python code"):
        f.save(tmp_path / "f.npz")
    f = fad.jit(lambda x, g: g(x))
    f(2.0, np.sin)
    with pytest.raises(fad.TableError, match="static argument of type"):
        f.save(tmp_path / "f.npz")
    f = fad.jit(lambda x: (x, np.float64))
    f(2.0)
    with pytest.raises(fad.TableError, match="a result of type"):
        f.save(tmp_path / "f.npz")
    assert not list(tmp_path.iterdir())


# ── wrong files ───────────────────────────────────────────────────────────────────────────────────────────────
def test_wrong_files(tmp_path):
    path = tmp_path / "f.npz"
    path.write_bytes(b"not a file of ours")
    with pytest.raises(fad.TableError, match=r"f\.npz"):
        fad.load(path)
    np.savez(path, x=np.ones(3))
    with pytest.raises(fad.TableError):
        fad.load(path)
    fad.trace(np.sin, 1.0).save(path)
    with pytest.raises(fad.TableError, match="not a saved function"):
        fad.load(path)
    with pytest.raises(OSError, match="nowhere"):
        fad.load(tmp_path / "nowhere.npz")


def changed(path, change):
    """The file with its header changed."""
    with np.load(path) as file:
        arrays = dict(file)
    header = json.loads(arrays["header"].tobytes())
    change(header)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def nested(depth):
    return {"output": True} if depth == 0 else {"list": [nested(depth - 1)]}


CHANGES = {
    "no entries": lambda h: h["meta"].pop("entries"),
    "entries of another type": lambda h: h["meta"].update(entries=[3]),
    "no name": lambda h: h["meta"].pop("name"),
    "another table": lambda h: h["meta"]["entries"][0].update(table="other"),
    "too many sources": lambda h: h["meta"]["entries"][0].update(sources=[0, 1]),
    "a source twice": lambda h: h["meta"]["entries"][0].update(sources=[1]),
    "no such container": lambda h: h["meta"]["entries"][0].update(result={"set": []}),
    "two results": lambda h: h["meta"]["entries"][0].update(result={"list": [{"output": True}, {"output": True}]}),
    "a very deep result": lambda h: h["meta"]["entries"][0].update(result=nested(400)),
    "no arguments": lambda h: h["meta"]["entries"][0].update(arguments=None),
    "a sub-program that is not there": lambda h: h["tables"][-1].update(subs=[[5, "x"]]),
    "a sub-program that calls itself": lambda h: h["tables"][-1].update(subs=[[len(h["tables"]) - 1, "x"]]),
    "sub-programs of another type": lambda h: h["tables"][-1].update(subs=["x"]),
    "no sub-programs": lambda h: h["tables"][-1].update(subs=[]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_headers(name, tmp_path):
    block = fad.checkpoint(lambda x: np.sin(x))
    f = fad.jit(lambda x: block(x) * 2)
    f(X)
    f.save(tmp_path / "f.npz")
    fad.load(tmp_path / "f.npz")
    changed(tmp_path / "f.npz", CHANGES[name])
    try:
        loaded = fad.load(tmp_path / "f.npz")
    except fad.TableError:
        return
    assert name == "a very deep result", "only this one may be taken for valid"
    loaded(X)


# ── pickling and copying ──────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_pickles(tier):
    f = fad.value_and_grad(lambda x: np.sum(x**3), tier=tier)
    wanted = f(X)
    g = pickle.loads(pickle.dumps(f))
    assert g.tier == tier
    same(g(X), wanted)
    same(pickle.loads(pickle.dumps(g))(X), wanted)  # called
    same(pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(g))))(X), wanted)  # not called
    with pytest.raises(fad.TableError):
        pickle.dumps(fad.jit(lambda x: x))


def test_copies_are_the_function_itself():
    f = fad.jit(lambda x: x)
    assert copy.copy(f) is f and copy.deepcopy([f])[0] is f
