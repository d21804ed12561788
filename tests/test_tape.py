"""Tape: the three phases by hand (forward, backward, reset), replay, drawing; transformations inside the block."""

import numpy as np
import pytest
from transform_tools import each_tier, same

import fastad as fad


@each_tier
def test_the_worked_example(tier):
    """f = (2 x0 + 5 x1) (3 x0 x1) at (2, 1): 54, with gradient (39, 84)."""
    with fad.Tape(tier=tier) as tape:
        x0, x1 = tape.variable(2.0), tape.variable(1.0)
        f = (2 * x0 + 5 * x1) * (3 * x0 * x1)
    assert x0.grad == x1.grad == 0.0
    tape.backward(f)
    assert (f.value, x0.grad, x1.grad) == (54.0, 39.0, 84.0)
    tape.backward(f)
    assert (x0.grad, x1.grad) == (78.0, 168.0)  # they accumulate
    tape.zero_grad()
    assert (x0.grad, x1.grad) == (0.0, 0.0)
    tape.backward(f, seed=2.0)
    assert (x0.grad, x1.grad) == (78.0, 168.0)
    tape.zero_grad()
    tape.replay({x0: 3.0})
    assert f.value == 99.0 and x0.value == 3.0 and x1.value == 1.0
    tape.backward(f)
    assert (x0.grad, x1.grad) == (12 * 3 * 1 + 15 * 1, 6 * 9 + 30 * 3 * 1)


@each_tier
def test_arrays_and_several_results(tier, rng):
    a, b = rng.normal(size=(2, 3)), rng.normal(size=3)
    with fad.Tape(tier=tier) as tape:
        w, x = tape.variable(a), tape.variable(b)
        y = np.tanh(w @ x)
        loss = np.sum(y**2)
    u = rng.normal(size=2)
    tape.backward(y, u)
    slope = u * (1 - np.tanh(a @ b) ** 2)
    same(w.grad, np.outer(slope, b))
    same(x.grad, a.T @ slope)
    tape.zero_grad()
    tape.backward(loss)
    same(x.grad, fad.grad(lambda x: np.sum(np.tanh(a @ x) ** 2))(b))
    new = rng.normal(size=3)
    tape.replay({x: new})
    same(loss.value, np.sum(np.tanh(a @ new) ** 2))
    tape.zero_grad()
    tape.backward(loss)
    same(x.grad, fad.grad(lambda x: np.sum(np.tanh(a @ x) ** 2))(new))


def test_the_values_given_are_copied():
    a = np.ones(2)
    with fad.Tape() as tape:
        x = tape.variable(a)
        y = np.sum(x**2)
    a[...] = 5.0
    tape.backward(y)
    same(x.grad, np.full(2, 2.0))
    new = np.full(2, 3.0)
    tape.replay({x: new})
    new[...] = 0.0
    tape.zero_grad()
    tape.backward(y)
    same(x.grad, np.full(2, 6.0))


def test_integers_and_single_precision():
    with fad.Tape() as tape:
        x, y = tape.variable(3), tape.variable(np.array([1, 2], np.float32))
        z = x * np.sum(y)
    tape.backward(z)
    assert x.grad == 3.0
    assert y.grad.dtype == np.float32 and y.grad.tolist() == [3.0, 3.0]


def test_captured_arrays_and_unused_variables():
    a = np.array([1.0, 2.0])
    with fad.Tape() as tape:
        x, unused = tape.variable(np.array([3.0, 4.0])), tape.variable(np.ones((2, 2)))
        y = np.sum(x * a)
    tape.backward(y)
    same(x.grad, a)
    same(unused.grad, np.zeros((2, 2)))


def test_branches():
    with fad.Tape() as tape:
        x = tape.variable(2.0)
        y = x**2 if x > 0 else -x
    tape.replay({x: 3.0})
    assert y.value == 9.0
    with pytest.raises(fad.RecordingError, match=r"another branch.*test_tape"):
        tape.replay({x: -1.0})
    assert y.value == 9.0 and x.value == 3.0  # as before
    tape.backward(y)
    assert x.grad == 6.0


@each_tier
def test_transformations_inside_the_block(tier):
    square = fad.jit(lambda x: x**2, tier=tier)
    block = fad.checkpoint(lambda x: np.sin(x))
    p = fad.primitive(lambda x: float(x) ** 3, vjp=lambda primals, u: (3 * primals[0] ** 2 * u,))
    with fad.Tape(tier=tier) as tape:
        x = tape.variable(2.0)
        y = square(x) + fad.grad(square)(x) + block(x) + p(x)
    assert y.value == 4.0 + 4.0 + np.sin(2.0) + 8.0
    tape.backward(y)
    np.testing.assert_allclose(x.grad, 4.0 + 2.0 + np.cos(2.0) + 12.0, rtol=1e-14)
    tape.replay({x: 3.0})
    np.testing.assert_allclose(y.value, 9.0 + 6.0 + np.sin(3.0) + 27.0)


def test_wrong_uses():
    with fad.Tape() as tape:
        x = tape.variable(np.ones(2))
        y = x * 2
        with pytest.raises(fad.RecordingError, match="after the `with` block"):
            tape.replay({x: np.zeros(2)})
    with pytest.raises(fad.ShapeError, match="seed"):
        tape.backward(y)
    with pytest.raises(fad.ShapeError, match="seed"):
        tape.backward(y, np.ones(3))
    with pytest.raises(fad.DerivativeError, match="recorded by this tape"):
        tape.backward(3.0)
    with pytest.raises(fad.RecordingError, match="inside the `with"):
        tape.variable(1.0)
    with pytest.raises(fad.RecordingError, match="records once"), tape:
        pass
    with pytest.raises(fad.ShapeError, match=r"shape \(2,\)"):
        tape.replay({x: np.ones(3)})
    with fad.Tape() as other:
        z = other.variable(1.0)
    with pytest.raises(fad.ShapeError, match="of this tape"):
        tape.replay({z: 1.0})
    with pytest.raises(fad.DerivativeError, match="this tape"):
        other.backward(y)
    with pytest.raises(fad.RecordingError, match="ended"):
        y + 1


def test_errors_inside_the_block_close_the_tape():
    with pytest.raises(KeyError), fad.Tape() as tape:
        tape.variable(1.0)
        raise KeyError
    assert fad.jit(lambda x: x * 2)(2.0) == 4.0


def test_tables_and_drawings():
    with fad.Tape() as tape:
        x = tape.variable(2.0)
        y = x * 3.0
        z = np.sin(y)
    tape.backward(y)
    assert str(tape.table).endswith("return %2")
    tape.backward(z)
    assert str(tape.table).endswith("return %3")
    assert tape._repr_svg_().startswith("<svg")


def test_variables_are_dictionary_keys_and_show_their_value():
    with fad.Tape() as tape:
        x = tape.variable(2.0)
        assert {x: 1}[x] == 1
        assert "2.0" in repr(x)


def test_nested_tapes():
    with fad.Tape() as outer:
        x = outer.variable(2.0)
        with fad.Tape() as inner:
            y = inner.variable(3.0)
            z = y * y
        inner.backward(z)
        w = x * float(y.grad)
    outer.backward(w)
    assert x.grad == 6.0
