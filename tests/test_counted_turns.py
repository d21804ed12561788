"""Numbers that a turn's index gives are computed by the rolled loop: the table has none of them; their bits stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rolling import loops, unrolled
from test_rolling_while_recording import check, often  # noqa: F401 (a fixture)

import fastad as fad
from fastad.execution.layout import layout_of
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.program import NativeCode
from fastad.recording import rolling
from fastad.tables.builder import Builder
from fastad.tables.reference import evaluate
from fastad.tables.rolling.counted import counted
from fastad.tables.rolling.summed import Sums

TURNS, MORE = 120, 500


def computed(rule, turns, before=0):
    """What the rows of a rule give for turns that come after so many others."""
    b = Builder()
    index = b.input(())
    table = b.table([rule.emit(b, index, before)])
    return np.array([float(evaluate(table, [np.array(float(t))])[0]) for t in range(before, before + turns)])


def bits(x):
    return np.asarray(x, np.float64).view(np.int64).tolist()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 5), st.floats(1e-12, 1e12), st.sampled_from([1.0, -1.0]), st.integers(20, 60),
    st.booleans(),
)  # fmt: skip
def test_a_rule_gives_the_products_to_the_last_bit(first, stride, step, sign, turns, backwards):
    counts = range(first, first + stride * turns, stride)
    values = np.array([i * (sign * step) for i in (reversed(counts) if backwards else counts)])
    rule = counted(values, "d")
    if rule is not None:
        assert bits(computed(rule, turns)) == bits(values)
        assert bits(computed(rule, turns, before=7)) == bits(values)
    if not backwards:
        assert rule is not None


@pytest.mark.parametrize("numbers", [range(40), range(-9, 31), range(5, 500, 7)])
def test_integers_have_a_rule(numbers):
    rule = counted(np.array(numbers, float), "i")
    assert bits(computed(rule, len(numbers))) == bits(list(numbers))


@pytest.mark.parametrize(
    "values",
    [np.sin(np.arange(30.0)), np.cumsum(np.full(40, 0.1)), np.arange(-9.0, 21) * 0.1, np.full(30, 2.0),
     np.r_[np.arange(30.0), np.nan], np.r_[0.0, 1.0, np.inf, 3.0, 4.0], np.array([0.1, 0.2]), -np.arange(30.0)[::-1]],
    ids=["sine", "sums", "signs", "equal", "nan", "inf", "two", "zero of the other sign"],
)  # fmt: skip
def test_numbers_without_a_rule(values):
    rule = counted(values, "d")
    assert rule is None or bits(computed(rule, len(values))) == bits(values)


def by_step(x):
    for i in range(TURNS):
        x = x + 0.01 * np.sin(x + i * 0.03)
    return x


def by_negative_step(x):
    for i in range(3, TURNS):
        x = x + 0.01 * np.sin(x * (i * -0.07))
    return x


def by_several(x):
    for i in range(2, TURNS, 2):
        x = 0.99 * x - x * (1e-4 * i) + 0.01 * np.sin(x + 0.1 * i) / (i + 0.5 * i)
    return x


def by_grid(x):
    for t in np.linspace(0.0, 2.0, TURNS):
        x = x + 0.01 * np.cos(t * x)
    return x


def by_array(x):
    y = np.stack([x, 2 * x])
    for i in range(TURNS):
        y = y + 0.01 * np.sin(y + i * 0.03)
    return np.sum(y)


def by_signs(x):
    for i in range(TURNS):
        x = x + (-1) ** i * 0.01 * np.sin(x) + (4, 2, 1)[i % 3] * 1e-3
    return x


def from_a_start(x):
    for i in range(MORE):
        x = x + 0.01 * np.sin(x + (0.7 + i * 0.03))
    return x


def from_a_grid(x):
    for t in np.linspace(1.0, 3.0, MORE):
        x = x + 0.01 * np.cos(t * x)
    return x


FUNCTIONS = [by_step, by_negative_step, by_several, by_grid, by_array, by_signs]


def by_additions(x):
    t = 0.2
    for _ in range(MORE):
        x = x + 0.01 * np.sin(x + t)
        t += 0.03
    return x


def backwards(x):
    t = 2.0
    for _ in range(MORE):
        x = x + 0.01 * np.sin(x * t)
        t -= 0.011
    return x


def by_stages(x):
    t, h = 0.1, 1e-2
    f = lambda t, x: np.sin(x) - t * x * 0.1
    for _ in range(MORE):
        k1 = f(t, x)
        k2 = f(t + h / 2, x + h / 2 * k1)
        k3 = f(t + h / 2, x + h / 2 * k2)
        k4 = f(t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t += h
    return x


def of_two_sums(x):
    s, t = 0.0, 5.0
    for _ in range(MORE):
        x = x + np.stack([np.sin(x[0] + t), np.cos(x[1] * s)]) * 0.01
        s, t = s + 0.1, t - 0.3
    return np.sum(x)


SUMS = [by_additions, backwards, by_stages, of_two_sums, from_a_start, from_a_grid]


@pytest.mark.parametrize("f", SUMS, ids=lambda f: f.__name__)
def test_loops_hold_no_sums_of_additions_or_from_a_start(f, monkeypatch):
    monkeypatch.setattr(rolling, "MANY", 4000)  # a few numbers follow other rules by chance
    x = np.array([0.3, 0.4]) if f is of_two_sums else np.array(0.3)
    table = check(f, x)
    assert len(loops(table)) <= 3 and not any(loop.sizes.element for loop in loops(table))
    assert sum(loop.length for loop in loops(table)) > MORE // 2
    assert len(table.pools["constants"]) < 60


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_derivatives_of_loops_that_carry_numbers(tier):
    x = np.array(0.3)
    twice = lambda roll, tier: fad.jit(fad.grad(fad.grad(by_stages, roll=roll), roll=roll), tier=tier, roll=roll)(x)
    np.testing.assert_allclose(twice(None, tier), twice(False, "sweep"), rtol=1e-10, atol=1e-12)
    forward = fad.jit(lambda x: fad.jvp(by_stages, (x,), (np.array(1.0),))[1], tier="sweep")(x)
    np.testing.assert_allclose(forward, fad.grad(by_stages, tier=tier)(x), rtol=1e-12)
    lanes = np.linspace(0.1, 0.9, 5)
    np.testing.assert_allclose(fad.vmap(by_stages, tier=tier)(lanes), [by_stages(x) for x in lanes], rtol=1e-13)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-1e6, 1e6), st.floats(1e-9, 1e3), st.booleans(), st.integers(20, 200), st.sampled_from([0.5, 1.0, 2.0])
)  # fmt: skip
def test_a_sum_gives_the_additions_to_the_last_bit(first, step, down, turns, part):
    step = -step if down else step
    values = [first]
    while len(values) < turns:
        values.append(values[-1] + step)
    sums = Sums(np.array([step, part * step]))
    for shift in (0.0, part * step):
        wanted = np.array(values) + shift
        rule = sums.rule(wanted, "d")
        if rule is not None:
            own = sums.own[rule.number]
            found = np.array([own.after(t) for t in range(turns)])
            assert bits(found + rule.shift if rule.shift else found) == bits(wanted)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_loops_over_an_index_hold_no_number_a_turn(f):
    table = check(f, np.array(0.3))
    assert sum(loop.length for loop in loops(table)) > TURNS // 3
    assert not any(loop.sizes.element for loop in loops(table))
    assert len(table.pools["constants"]) < 60 and len(table) < 60


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("f", [by_step, by_several], ids=lambda f: f.__name__)
def test_derivatives_of_every_order_are_those_of_the_turns(f, tier):
    x = np.array(0.3)
    twice = lambda roll, tier: fad.jit(fad.grad(fad.grad(f, roll=roll), roll=roll), tier=tier, roll=roll)(x)
    np.testing.assert_allclose(twice(None, tier), twice(False, "sweep"), rtol=1e-10, atol=1e-12)
    forward = fad.jit(lambda x: fad.jvp(f, (x,), (np.array(1.0),))[1], tier="sweep")(x)
    np.testing.assert_allclose(forward, fad.grad(f, tier=tier)(x), rtol=1e-12)


def test_lanes_and_files(tmp_path):
    xs = np.linspace(0.1, 0.9, 5)
    np.testing.assert_allclose(fad.vmap(by_step, tier="sweep")(xs), [by_step(x) for x in xs], rtol=1e-13)
    path = tmp_path / "loop.fad"
    fad.trace(by_step, np.array(0.3)).save(path)
    again = type(fad.trace(by_step, np.array(0.3))).load(path)
    assert evaluate(again, [np.array(0.3)])[0] == evaluate(unrolled(by_step, np.array(0.3)), [np.array(0.3)])[0]


def test_products_with_the_index_are_rounded_before_they_are_added():
    """Native code may fuse a product with a sum that it goes into; a number that Python has rounded is not one."""
    program = fad.trace(by_step, np.array(0.3))
    (loop,) = loops(program)
    body = loop.step.table
    text = NativeCode(make_plan(body, layout_of(body, None))).parts[-1].text
    assert "llvm.fabs" in text
