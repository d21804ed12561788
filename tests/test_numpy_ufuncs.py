"""Ufuncs on recorded values: every one that NumPy and SciPy route to the table, dtypes, truth values, methods."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special
from recording_tools import assert_same, check, check_values, leaves
from test_numpy_functions import split

import fastad as fad
from fastad.errors import RecordingError
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.row import elementwise_rows
from fastad.recording.dispatch import UFUNCS
from fastad.recording.functions import special


def ufuncs():
    for row in elementwise_rows():
        for name in row.ufuncs:
            found = getattr(np, name, None)
            yield row, found if isinstance(found, np.ufunc) or name == "where" else getattr(scipy.special, name)


def draw(rng, keys, shape):
    """Values in the domains of a row, away from kinks."""
    found = []
    for key in keys:
        low, high = np.array(DOMAINS[key]).T
        pick = rng.integers(len(low), size=shape)
        found.append(low[pick] + (high - low)[pick] * rng.uniform(size=shape))
    return found


@pytest.mark.parametrize(("row", "ufunc"), [pytest.param(r, u, id=u.__name__) for r, u in ufuncs()])
def test_every_ufunc(row, ufunc):
    keys, orders = row.domain, row.partials.count("nan")  # operands without derivatives come first
    check(lambda *a: ufunc(*a), lambda rng: draw(rng, keys, (3, 2)), differentiate=not orders)
    if len(keys) > 1:  # broadcasting, and plain numbers
        check(lambda a, *b: ufunc(a, *(x[0] for x in b)), lambda rng: draw(rng, keys, (3, 2)), not orders)
    if orders:
        fixed = draw(np.random.default_rng(1), keys[:orders], (3, 2))
        check(lambda *a: ufunc(*fixed, *a), lambda rng: draw(rng, keys[orders:], (3, 2)))


SPECIAL = """
scipy.special.psi(p) | scipy.special.digamma(p) | scipy.special.zeta(2.5, p) | scipy.special.betaln(p, q)
scipy.special.beta(p, q) | scipy.special.loggamma(p) | scipy.special.rgamma(p) | scipy.special.exp10(p)
scipy.special.erfcinv(p / 5) | scipy.special.rel_entr(p, q) | scipy.special.kl_div(p, q)
scipy.special.pseudo_huber(p, q) | scipy.special.huber(p, q) | scipy.special.boxcox(p, 0.5)
scipy.special.boxcox1p(p, q) | scipy.special.cosm1(p) | scipy.special.boxcox(p, 0.0) | scipy.special.betaln(2.0, p)
scipy.special.logit(p / 5) | scipy.special.ndtr(p) | scipy.special.log_ndtr(p) | scipy.special.entr(p)
scipy.special.xlogy(p, q) | scipy.special.xlog1py(2.0, q)
"""


def _positive(names):
    return lambda rng: [rng.uniform(0.4, 3.5, size=(3,)) for _ in names]


@pytest.mark.parametrize("expression", split(SPECIAL))
def test_special_ufuncs(expression):
    names = [n for n in "pq" if n in compile(expression, "", "eval").co_names]
    f = eval(f"lambda {', '.join(names)}: {expression}", {"scipy": scipy, "np": np})
    check(f, _positive(names))


COMPOSED = [
    (special.logsumexp, scipy.special.logsumexp, {}),
    (special.logsumexp, scipy.special.logsumexp, {"axis": 1}),
    (special.logsumexp, scipy.special.logsumexp, {"axis": (0, 1), "keepdims": True}),
    (special.logsumexp, scipy.special.logsumexp, {"axis": 0, "b": np.array([1.0, 2.0, 0.5])}),
    (special.logsumexp, scipy.special.logsumexp, {"axis": 0, "b": np.array([1.0, -2.0, 0.5]), "return_sign": True}),
    (special.softmax, scipy.special.softmax, {}),
    (special.softmax, scipy.special.softmax, {"axis": 0}),
    (special.log_softmax, scipy.special.log_softmax, {"axis": 1}),
]


@pytest.mark.parametrize(("ours", "scipys", "options"), COMPOSED)
def test_composed_special_functions(ours, scipys, options):
    x = np.array([[0.3, -700.0, 2.0], [1e3, 1.0, -2.0]])
    for found, wanted in zip(leaves(ours(x, **options)), leaves(scipys(x, **options)), strict=True):
        assert_same(found, wanted)
    check(lambda a: ours(a, **options), lambda rng: [rng.normal(size=(2, 3))])


def test_logsumexp_of_infinities():
    x = np.array([[-np.inf, -np.inf], [np.inf, 1.0]])
    check_values(lambda a: special.logsumexp(a, axis=1), x)
    assert_same(special.logsumexp(x, axis=1), scipy.special.logsumexp(x, axis=1))


def test_polygamma_and_multigammaln():
    p = np.array([0.5, 1.5, 4.0])
    for n in range(4):
        assert_same(special.polygamma(n, p), scipy.special.polygamma(n, p))
        check(lambda a, n=n: special.polygamma(n, a), _positive("p"))
    assert_same(special.multigammaln(p + 2, 3), scipy.special.multigammaln(p + 2, 3))
    check(lambda a: special.multigammaln(a + 2, 3), _positive("p"))


def test_scipys_python_functions_that_we_lack_name_what_to_do():
    with pytest.raises(RecordingError, match=r"scipy.linalg.logm converts .* those of np.linalg"):
        check_values(scipy.linalg.logm, np.eye(2))


# ── dtypes and truth values ───────────────────────────────────────────────────────────────────────────────────
D, F = np.array([1.5, -2.0, 0.5]), np.array([1.5, -2.0, 0.5], np.float32)
I, B = np.array([1, -2, 3]), np.array([True, False, True])

MIXED = """
a + 1 | a + 1.5 | 1.5 * a | a * 2 | a / 2 | a // 2 | a % 2 | a ** 2 | a + np.float64(1.5) | a + np.float32(1.5)
a + np.int64(3) | a + True | a * np.arange(3) | a + np.float32([1, 2, 3]) | a < 1 | -a | +a | abs(a) | np.abs(a)
np.sin(a) | np.sqrt(abs(a)) | np.floor(a) | np.rint(a) | np.square(a) | np.sign(a) | np.maximum(a, 0)
np.minimum(a, 0.5) | np.fabs(a) | np.where(a > 0, a, 0) | np.where(a > 0, a, 0.0) | np.heaviside(a, 0.5)
np.copysign(a, -1) | np.arctan2(a, 1) | np.hypot(a, a) | np.exp(a) | np.deg2rad(a) | np.logical_not(a) | np.isnan(a)
np.isfinite(a) | np.sum(a) | np.mean(a) | np.cumsum(a) | np.prod(a) | np.max(a) | np.var(a) | np.dot(a, a) | a @ a
np.float_power(abs(a), 2) | np.true_divide(a, 3) | np.positive(a) | np.conj(a) | np.trunc(a) | np.ceil(a) | a == 1
a != a | np.concatenate([a, [1.0]]) | np.stack([a, a]) | np.divmod(a, 2) | divmod(a, 2) | np.fmod(a, 2)
np.floor_divide(a, 2.0) | np.remainder(a, 2) | np.mod(7, abs(a) + 1) | np.ldexp(a * 1.0, 2) | np.modf(a)
np.reciprocal(a * 1.0) | np.median(a) | a.astype(float) | a.astype(np.float32) | a.astype(int) | a.astype(bool)
np.linspace(a, 1, 3) | np.clip(a, 0, 1) | np.clip(a, -0.5, 0.5) | np.round(a, 1) | np.diff(a) | np.trapezoid(a)
np.interp(a, [0.0, 1.0], [2.0, 3.0]) | np.sort(a) | np.argmax(a) | np.where(a, 1, 2) | a + [1, 2, 3]
[1.0, 2.0, 3.0] - a | np.subtract(a, 1, dtype=float) | np.outer(a, a) | np.power(abs(a), 2)
"""


@pytest.mark.parametrize("kind", ["D", "F", "I"])
@pytest.mark.parametrize("expression", split(MIXED))
def test_dtypes_are_numpys(kind, expression):
    check_values(eval(f"lambda a: {expression}", {"np": np}), {"D": D, "F": F, "I": I}[kind])


BOOLS = """
a + a | a * ~a | a + 1 | a * 1.5 | a & ~a | a | ~a | a ^ True | ~a | a == False | a < 1 | np.sum(a) | np.mean(a)
a.any() | a.all() | np.cumsum(a) | np.where(a, 1.0, 2.0) | np.logical_xor(a, [True, True, False]) | np.invert(a)
np.bitwise_and(a, True) | np.maximum(a, False) | np.logical_and(a, 2.0) | np.argmax(a) | np.max(a)
np.dot(a * 1, a * 1) | a.astype(int) - 1 | a[0] & a[1] | np.prod(a) | a / 2 | np.count_nonzero(a)
np.concatenate([a, [1.5]]) | -a.astype(int) | a == a | np.multiply(a, a)
"""


@pytest.mark.parametrize("expression", [e.replace("<or>", "|") for e in split(BOOLS)])
def test_truth_values(expression):
    check_values(eval(f"lambda a: {expression}", {"np": np}), B)


@pytest.mark.parametrize("f", [lambda a: a - a, lambda a: -a, lambda a: +a, lambda a: np.subtract(True, a)])
def test_truth_values_have_no_difference(f):
    for values in (f, lambda a: f(a)):
        with pytest.raises(TypeError):
            check_values(values, B)


def test_logical_or_of_recorded_values():
    check_values(lambda a: (a > 0) | (a < -1), D)
    check_values(lambda a: ~(a > 0) ^ (a < -1), D)


@pytest.mark.parametrize("f", [lambda a: a & 1, lambda a: a | 2, lambda a: np.gcd(a, 2)])
def test_bit_operations_on_integers_are_refused(f):
    with pytest.raises((RecordingError, TypeError)):
        check_values(f, I)


@pytest.mark.parametrize(
    "f", [lambda a: a << 1, lambda a: a >> 2, lambda a: 3 << abs(a), lambda a: np.right_shift(-a, abs(a))]
)
def test_shifts_of_integers(f):
    check_values(f, I)
    with pytest.raises((RecordingError, TypeError)):
        check_values(f, I * 1.0)


@pytest.mark.parametrize("f", [lambda a: a - 2**60, lambda a: a * np.ones(2)])
def test_integers_that_floats_do_not_hold_are_refused(f):
    with pytest.raises(OverflowError, match=r"integer argument .* beyond 2⁵³ \(at .*test_numpy_ufuncs.py"):
        fad.jit(f)(np.array([2**60 + 1, 5]))
    with pytest.raises(OverflowError, match="integer result"):
        fad.jit(lambda a: a * a)(np.array([2**40, 5]))


def test_integer_powers():
    check_values(lambda a: abs(a) ** a * 1.0 if a.dtype == float else a**2, I)
    with pytest.raises(ValueError, match="negative integer powers"):
        check_values(lambda a: a**-1, I)


def test_every_table_ufunc_is_registered():
    for _, ufunc in ufuncs():
        assert ufunc.__name__ in UFUNCS


# ── options and methods of ufuncs ─────────────────────────────────────────────────────────────────────────────
def test_out_and_where_of_ufuncs():
    def f(a):
        out = np.zeros_like(a)
        np.exp(a, out=out)
        np.multiply(a, 2.0, out=out, where=a > 0)
        np.add(out, 1, out)
        return out

    check(f, lambda rng: [rng.normal(size=5)])


def test_out_of_functions():
    def f(a):
        out = np.zeros_like(a[0])
        np.sum(a, axis=0, out=out)
        again = np.empty_like(a[0])
        a.max(axis=0, out=again)
        return out, again, np.clip(a, 0, 1, out=np.empty_like(a)), np.dot(a[:, :2], a[:2], out=np.zeros_like(a))

    check(f, lambda rng: [rng.normal(size=(3, 3))])


@pytest.mark.parametrize(
    "f",
    [
        lambda a, out: np.exp(a, out=out),
        lambda a, out: np.sum(a, out=out[0]),
        lambda a, out: np.add.at(out, [0], a[0]),
    ],
)
def test_plain_arrays_take_no_recorded_results(f):
    outside = np.zeros(3)
    with pytest.raises(RecordingError, match=r"outside.*np\.zeros"):
        check_values(lambda a: f(a, outside), D)


def test_add_at():
    def f(a, b):
        out = np.zeros_like(a)
        np.add.at(out, np.array([0, 2, 0, -1]), b)
        np.subtract.at(out, [1, 1], a[:2])
        np.add.at(out, slice(0, 2), 1.0)
        grid = np.zeros((3, 2), like=a)
        np.add.at(grid, (np.array([0, 0, 2]), np.array([1, 1, 0])), a)
        np.add.at(grid, np.array([1, 1]), b[:2])
        return out, grid

    check(f, lambda rng: [rng.normal(size=3), rng.normal(size=4)])


@pytest.mark.parametrize("name", ["erf", "erfc", "ndtr"])
@pytest.mark.parametrize("x", [np.inf, -np.inf, 1e200, 45.0])
def test_error_functions_are_flat_at_their_ends(name, x):
    """Cut points at infinity: derivatives of all orders are 0, not 0 times infinity."""
    f = getattr(scipy.special, name)
    for _ in range(3):
        f = fad.grad(f)
        assert f(x) == 0
    assert np.isnan(f(np.nan))


def test_unsupported_functions_name_the_line_and_a_fix():
    for f, fix in [
        (lambda a: np.unique_counts(a), "np.unique"),
        (lambda a: np.nextafter(a, 1), "fad.primitive"), (lambda a: np.subtract.reduceat(a, [0]), "fad.primitive"),
        (lambda a: a.astype(int) & 255, "plain integers"),
        (lambda a: np.isin(a, [1]), "comparisons"),
    ]:  # fmt: skip
        with pytest.raises(RecordingError, match=rf"test_numpy_ufuncs\.py.*{fix}"):
            check_values(f, D)
