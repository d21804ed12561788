"""Dense linear algebra: every row by the laws, the recorded functions against NumPy and SciPy, errors, composition."""
import itertools
import re

import numpy as np
import pytest
import scipy.linalg

import fastad as fad
from fastad.execution.compiled import Compiled
from fastad.execution.request import Request
from fastad.primitives import array_rows, primitive
from fastad.primitives.fourier import roots_of_unity
from fastad.tables.builder import Builder
from fastad.tables.passes.batch import batch_table
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import evaluate

RNG = np.random.default_rng(8)
EXAMPLES = [(row.name, k) for row in array_rows() for k in range(len(row.examples))]
TIERS = ("sweep", "native")
# Rows of several results, by the first of these: a domain that is called so is a value of the row.
MAKERS = {}
for made in array_rows():
    if made.parts:
        MAKERS.setdefault(made.parts(made.examples[0][0])[1][0].name, made)


def made_with(maker, statics, x):
    """Static integers of the row that makes factors of the matrices x, for a row that needs them."""
    count = int(np.prod(x.shape[:-2]))  # matrices that systems share are fewer
    return count, *statics[1 : len(maker.statics)]


def sample(key, shape):
    """Values of a domain of the primitive table."""
    x = RNG.normal(size=shape)
    if key == "symmetric":
        return x + np.swapaxes(x, -1, -2)
    if key in ("low", "high", "zeros"):
        return 0 * x if key == "zeros" else RNG.uniform(size=shape) + (2 if key == "high" else 0)
    if key == "roots":
        return roots_of_unity(shape[-1])
    if key == "pivots":
        n = shape[-1]
        return np.floor(RNG.uniform(np.arange(n), n, size=shape))
    if key == "regular":
        return x + 3 * np.eye(shape[-1])
    return x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1]) if key == "definite" else x


def one_row(name, number):
    """The table of one example, with factors computed from the matrix as users do, and values to run it on."""
    row = primitive(name)
    statics, shape, shapes = row.examples[number]
    b, refs, values = Builder(), [], []
    for key, own in zip(row.domain, shapes, strict=True):
        if key in MAKERS:
            if not values:  # a row of the factors alone: the matrix is an input of the table all the same
                values.append(sample(MAKERS[key].domain[0], (*statics[:1], statics[1], statics[1])))
                refs.append(b.input(values[0].shape))
            refs.append(b.emit(MAKERS[key].name, (refs[0],), made_with(MAKERS[key], statics, values[0]), own))
        else:
            values.append(sample(key, own))
            refs.append(b.input(own))
    return b.table([b.emit(name, refs[-row.arity :], statics, shape)]), values


def run(table, values, tier):
    return Compiled(Request(table), tier)(values)


def wrt_of(table, name):
    """Inputs by which a row is differentiable."""
    row = primitive(name)
    kept = [k for k, key in enumerate(row.domain) if key not in MAKERS]
    if not kept:
        return [0]
    return [i for i, k in enumerate(kept) if row.is_differentiable(k)]


def parts(name, number, x):
    """What of a value is differentiable: integers are not."""
    row = primitive(name)
    if not row.parts:
        return x
    _, results = row.parts(row.examples[number][0])
    return x[..., : sum(np.prod(result.shape, dtype=int) for result in results if result.dtype == "d")]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_rows_compute_what_their_definition_says(name, number, tier):
    table, values = one_row(name, number)
    np.testing.assert_allclose(run(table, values, tier)[0], evaluate(table, values)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_rows_have_their_derivatives(name, number, tier):
    """Tangents against central differences, adjoints by the dot-product law, and the same of the derived tables."""
    table, values = one_row(name, number)
    wrt = wrt_of(table, name)
    directions = [RNG.normal(size=values[i].shape) for i in wrt]
    out, tangent = run(tangent_table(table, wrt), [*values, *directions], tier)
    up, down = ([v.copy() for v in values] for _ in range(2))
    h = 1e-5
    for i, d in zip(wrt, directions, strict=True):
        up[i] += h * d
        down[i] -= h * d
    difference = (evaluate(table, up)[0] - evaluate(table, down)[0]) / (2 * h)
    np.testing.assert_allclose(parts(name, number, tangent), parts(name, number, difference), rtol=1e-6, atol=1e-6)
    seed = RNG.normal(size=out.shape)
    bars = run(adjoint_table(table, wrt), [*values, seed], tier)[1:]
    left, right = np.sum(seed * tangent), sum(np.sum(x * d) for x, d in zip(bars, directions, strict=True))
    assert left == pytest.approx(right, rel=1e-9, abs=1e-10)


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_rows_have_second_derivatives(name, number):
    """The adjoint of the tangent, and the tangent of the adjoint, of one scalar."""
    table, values = one_row(name, number)
    wrt = wrt_of(table, name)
    seed = RNG.normal(size=table.output_types[0].shape)
    once = adjoint_table(table, wrt)
    directions = [RNG.normal(size=values[i].shape) for i in wrt]
    twice = tangent_table(once, wrt)
    given = [*values, seed, *directions]
    moved = run(twice, given, "native")[len(once.outputs) + 1 :]
    h = 1e-5
    ends = []
    for sign in (1, -1):
        shifted = [v.copy() for v in values]
        for i, d in zip(wrt, directions, strict=True):
            shifted[i] += sign * h * d
        ends.append(run(once, [*shifted, seed], "native")[1:])
    for x, up, down in zip(moved, *ends, strict=True):
        np.testing.assert_allclose(x, (up - down) / (2 * h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_rows_over_lanes_are_the_rows_of_the_lanes(name, number):
    table, values = one_row(name, number)
    lanes = 3
    for mask in range(1, 2 ** len(values)):
        flags = [bool(mask >> k & 1) for k in range(len(values))]
        many = [[one_row(name, number)[1][k] for _ in range(lanes)] if f else v
                for k, (v, f) in enumerate(zip(values, flags, strict=True))]
        wide, _ = batch_table(table, flags, lanes)
        found = run(wide, [np.array(x) if f else x for x, f in zip(many, flags, strict=True)], "native")[0]
        for lane in range(lanes):
            own = [x[lane] if f else x for x, f in zip(many, flags, strict=True)]
            np.testing.assert_allclose(found[lane], evaluate(table, own)[0], rtol=1e-9, atol=1e-11)


# ── recorded functions ────────────────────────────────────────────────────────────────────────────────────────
def matrices(n, lead=()):
    return RNG.normal(size=(*lead, n, n)) + (2 + n) * np.eye(n)


SHAPES = [((), ()), ((), (2,)), ((4,), ()), ((4,), (2,)), ((2, 1), (2,))]  # leading axes of the matrices, columns


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 45])
@pytest.mark.parametrize(("lead", "columns"), SHAPES)
@pytest.mark.parametrize("tier", TIERS)
def test_functions_are_numpys(n, lead, columns, tier):
    A, b = matrices(n, lead), RNG.normal(size=(n, *columns)) if not lead else RNG.normal(size=(3, *lead, n, 2))
    S = A @ np.swapaxes(A, -1, -2)

    def everything(A, b, S):
        return np.linalg.solve(A, b), *np.linalg.slogdet(A), np.linalg.cholesky(S), np.linalg.cholesky(S, upper=True)

    for found, expected in zip(fad.jit(everything, tier=tier)(A, b, S), everything(A, b, S), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [1, 3, 4, 45, 97])
@pytest.mark.parametrize("tier", TIERS)
def test_factors_are_scipys(n, tier):
    A, b = matrices(n), RNG.normal(size=n)
    lu, piv = fad.jit(fad.linalg.lu_factor, tier=tier)(A)
    expected = scipy.linalg.lu_factor(A)
    np.testing.assert_allclose(lu, expected[0], rtol=1e-10, atol=1e-12)
    assert piv.tolist() == expected[1].tolist()
    for found, known in zip(fad.linalg.lu_factor(A), expected, strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-10, atol=1e-12)
    for trans in (0, 1):
        x = fad.jit(lambda lu, piv, b, t=trans: fad.linalg.lu_solve((lu, piv), b, trans=t), tier=tier)(lu, piv, b)
        np.testing.assert_allclose(x, scipy.linalg.lu_solve(expected, b, trans=trans), rtol=1e-9)
        np.testing.assert_allclose(fad.linalg.lu_solve((lu, piv), b, trans=trans), x, rtol=1e-9)
        for lower in (False, True):
            y = fad.jit(lambda A, b, t=trans, low=lower: fad.linalg.solve_triangular(A, b, t, low), tier=tier)(A, b)
            np.testing.assert_allclose(y, scipy.linalg.solve_triangular(A, b, trans, lower), rtol=1e-9)


def test_pivoting_is_needed_and_done():
    """A zero in the corner, and rows whose order is turned."""
    A = np.array([[0.0, 2.0, 1.0], [1e-20, 1.0, 3.0], [5.0, 1.0, 1.0]])
    for tier in TIERS:
        for trans in (False, True):
            M = A.T if trans else A
            x = fad.jit(np.linalg.solve, tier=tier)(M, np.ones(3))
            np.testing.assert_allclose(x, np.linalg.solve(M, np.ones(3)))
        for sign in (1, -1):
            sign_found, log = fad.jit(np.linalg.slogdet, tier=tier)(sign * A)
            expected = np.linalg.slogdet(sign * A)
            assert (sign_found, log) == (expected[0], pytest.approx(expected[1]))


def test_float32_stays():
    A = matrices(3).astype(np.float32)
    f = fad.jit(lambda A: (np.linalg.solve(A, np.ones(3, np.float32)), np.linalg.cholesky(A @ A.T)))
    assert [x.dtype for x in f(A)] == [np.float32] * 2


def test_solutions_have_the_precision_of_matrix_and_right_side_recorded_or_not():
    own = fad.linalg
    solvers = [
        lambda A, b: own.lu_solve(own.lu_factor(A), b), lambda A, b: own.lu_solve(own.lu_factor(A), b, trans=1),
        lambda A, b: own.cho_solve(own.cho_factor(A @ A.T), b), own.solve_triangular, np.linalg.solve,
        lambda A, b: own.solve_banded((0, 0), np.diag(A)[None], b),
    ]  # fmt: skip
    A, kinds = np.eye(3) * 2, (np.float32, np.float64)
    for solver in solvers:
        for one, two in itertools.product(kinds, kinds):
            args = A.astype(one), np.ones(3, two)
            assert solver(*args).dtype == fad.jit(solver)(*args).dtype == np.result_type(one, two)


@pytest.mark.parametrize("tier", TIERS)
def test_gradients_to_second_order(tier):
    def f(A, b):
        x = np.linalg.solve(A, b)
        lu, piv = fad.linalg.lu_factor(A)
        y = fad.linalg.lu_solve((lu, piv), b, trans=1)
        return x @ y + np.linalg.slogdet(A)[1] + np.sum(np.sin(np.linalg.cholesky(A @ A.T + np.eye(len(b)))))

    for n in (2, 3, 5):
        fad.check_grads(fad.jit(f, tier=tier), (matrices(n), RNG.normal(size=n)))


def test_only_one_triangle_is_read():
    A = matrices(3)
    S = A @ A.T
    g = fad.grad(lambda S: np.sum(np.linalg.cholesky(S)))(S)
    assert not np.triu(g, 1).any()
    g = fad.grad(lambda S: np.sum(np.linalg.cholesky(S, upper=True)))(S)
    assert not np.tril(g, -1).any()


def test_one_factorisation_serves_values_tangents_and_adjoints():
    """The gradient of a program that solves, and asks for a determinant, factorises once."""
    A, ones = matrices(5), np.ones(5)
    table = fad.trace(fad.grad(lambda A, b: b @ np.linalg.solve(A, b) + np.linalg.slogdet(A)[1]), A, ones)
    assert sum(row.name == "lu" for row in table.rows()) == 1
    twice = fad.trace(lambda A, v: fad.hvp(lambda A: np.sum(np.linalg.solve(A, ones)), A, v), A, np.eye(5))
    assert sum(row.name == "lu" for row in twice.rows()) == 1


# ── composition ───────────────────────────────────────────────────────────────────────────────────────────────
def test_inside_vmap_scan_files_numba_and_costs(tmp_path):
    import numba

    A, b = matrices(3, (5,)), RNG.normal(size=(5, 3))
    energy = lambda A, b: b @ np.linalg.solve(A, b)
    expected = np.array([fad.grad(energy)(A[k], b[k]) for k in range(5)])
    np.testing.assert_allclose(fad.vmap(fad.grad(energy))(A, b), expected, rtol=1e-9)
    np.testing.assert_allclose(fad.vmap(fad.grad(energy), in_axes=(None, 0))(A[0], b)[0], expected[0], rtol=1e-9)

    def steps(A, b):
        state, _ = fad.scan(lambda x, _: (np.linalg.solve(A, x), None), b, None, length=4)
        return np.sum(state**2)

    fad.check_grads(steps, (A[0], b[0]))
    gradient = fad.grad(steps)
    value = gradient(A[0], b[0])
    gradient.save(tmp_path / "steps.npz")
    np.testing.assert_array_equal(fad.load(tmp_path / "steps.npz")(A[0], b[0]), value)
    compiled = fad.jit(energy)
    compiled(A[0], b[0])
    inner = compiled.numba_function
    assert numba.njit(lambda A, b: inner(A, b))(A[0], b[0]) == pytest.approx(energy(A[0], b[0]))
    with pytest.raises(fad.SingularMatrixError, match="singular"):
        numba.njit(lambda A, b: inner(A, b))(np.ones((3, 3)), b[0])
    cost = fad.trace(np.linalg.solve, matrices(10), np.ones(10)).cost().value.once
    assert cost.multiplications == 9 * 10 * 19 // 6 + 2 * 45
    assert cost.divisions == 45 + 10


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_singular_matrix_names_the_line_and_the_condition():
    A = np.array([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(fad.SingularMatrixError, match=r"singular.*condition number.*test_linalg.py"):
        fad.jit(np.linalg.solve)(A, np.ones(2))
    assert issubclass(fad.SingularMatrixError, np.linalg.LinAlgError)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("n", [2, 3, 5, 50])
def test_a_replay_that_meets_a_singular_matrix_says_so(tier, n):
    f = fad.jit(lambda A: np.sum(np.linalg.solve(A, np.ones(n))), tier=tier)
    f(matrices(n))
    with pytest.raises(fad.SingularMatrixError, match=r"singular.*condition number.*test_linalg.py"):
        f(np.ones((n, n)))
    g = fad.jit(lambda A: np.sum(np.linalg.cholesky(A)), tier=tier)
    g(np.eye(n))
    with pytest.raises(fad.NotPositiveDefiniteError, match=r"not positive definite.*eigenvalue.*test_linalg.py"):
        g(-np.eye(n))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("n", [2, 3, 5])
def test_one_bad_matrix_of_a_stack_is_found(tier, n):
    good, bad = matrices(n, (7,)), matrices(n, (7,))
    bad[4] = 1.0
    f = fad.jit(lambda A: np.linalg.solve(A, np.ones((n, 2))), tier=tier)
    np.testing.assert_allclose(f(good), np.linalg.solve(good, np.ones((n, 2))), rtol=1e-10)
    with pytest.raises(fad.SingularMatrixError, match=r"singular.*test_linalg.py"):
        f(bad)


@pytest.mark.parametrize("tier", TIERS)
def test_a_singular_matrix_inside_a_loop(tier):
    def f(A):
        x, _ = fad.scan(lambda x, _: (np.linalg.solve(A, x), None), np.ones(2), None, length=3)
        return np.sum(x)

    f = fad.jit(f, tier=tier)
    f(matrices(2))
    with pytest.raises(fad.SingularMatrixError, match=r"singular.*condition number.*test_linalg.py"):
        f(np.ones((2, 2)))


@pytest.mark.parametrize("tier", TIERS)
def test_nan_passes_through(tier):
    A = matrices(3)
    f = fad.jit(lambda A: (np.linalg.solve(A, np.ones(3)), *np.linalg.slogdet(A)), tier=tier)
    f(A)
    A[1, 1] = np.nan
    assert all(np.isnan(x).any() for x in f(A))
    with pytest.raises(fad.NanError), fad.debug.nans():
        f(A)


LU = fad.linalg.lu_factor(np.eye(3))
WRONG = {
    "solve, not square": (np.linalg.solve, (2, 3), (2,), "solve: .*(2, 3).*not square.*Pass a square one"),
    "solve, no matrix": (np.linalg.solve, (3,), (3,), "solve: .*(3,).*no matrix.*np.diag"),
    "solve, longer": (np.linalg.solve, (2, 2), (3,), "(2, 2).*(3,).*right sides of 3.*shape (2,)"),
    "solve, stacks": (np.linalg.solve, (2, 3, 3), (4, 3, 1), "(2, 3, 3).*(4, 3, 1).*do not broadcast.*shape (2, 3, k)"),
    "solve, a number": (np.linalg.solve, (2, 2), (), "a number.*2 elements"),
    "cholesky": (lambda a, b: np.linalg.cholesky(a), (2, 3), (), "cholesky: .*(2, 3).*not square"),
    "slogdet": (lambda a, b: np.linalg.slogdet(a), (3, 2), (), "slogdet: .*(3, 2).*not square"),
    "lu_factor": (lambda a, b: fad.linalg.lu_factor(a), (3, 2), (), "lu_factor: .*(3, 2).*not square"),
    "lu_solve": (lambda a, b: fad.linalg.lu_solve(LU, b + a), (), (2,), "lu_solve: .*(3, 3).*(2,).*shape (3,)"),
    "triangle": (fad.linalg.solve_triangular, (3, 3), (2, 4), "solve_triangular: .*(3, 3).*(2, 4).*shape (3, k)"),
    "matmul": (np.matmul, (2, 3), (2, 4), "matmul of shapes (2, 3) and (2, 4): 3 .* 2 .*Swap .* of the first"),
    "matmul, second": (np.matmul, (2, 3), (4, 3), "(2, 3) and (4, 3): 3 .* 4 .*Swap the last two axes of the second"),
    "matmul, vectors": (lambda a, b: a @ b, (3,), (4,), "matmul of shapes (3,) and (4,).*Make these two sizes equal"),
    "matmul, numbers": (lambda a, b: np.matmul(a, b), (), (4,), "matmul of shapes () and (4,).*with *"),
    "dot": (np.dot, (2, 3), (4,), "dot of shapes (2, 3) and (4,): 3 (axis 1) is not 4 (axis 0)"),
    "inner": (np.inner, (2, 3), (2, 4), "inner of shapes (2, 3) and (2, 4): 3 (axis 1) is not 4 (axis 1)"),
    "tensordot": (lambda a, b: np.tensordot(a, b, 1), (2, 3), (4, 5), "tensordot of .*(2, 3) and (4, 5).*Name axes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shapes_are_named_with_the_line_and_the_fix(name):
    f, a, b, message = WRONG[name]
    pattern = re.sub(r"([()*])", r"\\\1", message.replace(".*", "…")).replace("…", ".*")
    own = lambda a, b: f(a, b) * 1.0
    with pytest.raises(fad.ShapeError, match=pattern) as caught:
        fad.jit(own)(np.ones(a), np.ones(b))
    assert "test_linalg.py:" in str(caught.value)
    with pytest.raises(ValueError):  # as NumPy's
        fad.jit(own)(np.ones(a), np.ones(b))


def test_what_is_not_square_raises_numpys_error_too():
    with pytest.raises(np.linalg.LinAlgError):
        fad.jit(np.linalg.solve)(np.ones((2, 3)), np.ones(2))


def test_wrong_transposes_are_named():
    with pytest.raises(ValueError, match="trans"):
        fad.linalg.lu_solve(fad.linalg.lu_factor(np.eye(2)), np.ones(2), trans=5)


def deficient(n):
    """A matrix of too low a rank, of numbers whose products are rounded."""
    A = RNG.integers(-4, 5, size=(n, n)) / 10
    A[-1] = A[0] * RNG.integers(1, 4) - (A[1] if n > 2 else 0)
    return A


def outcome(f, A):
    try:
        return f(A)
    except np.linalg.LinAlgError as error:
        return type(error)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("n", [2, 3, 4, 6, 41])
def test_a_replay_finds_singular_what_the_recording_does(tier, n):
    """Nothing hangs on how products are rounded: neither singularity nor signs differ from the definition's."""
    solve, sign, factor = (
        lambda A: np.linalg.solve(A, np.ones(n)),
        lambda A: np.linalg.slogdet(A)[0],
        np.linalg.cholesky,
    )
    kept = [fad.jit(f, tier=tier) for f in (solve, sign, factor)]
    for f in kept:
        f(np.eye(n))
    for _ in range(20):
        A = deficient(n)
        for f, known, given in zip((solve, sign, factor), kept, (A, A, A @ A.T), strict=True):
            first, again = outcome(fad.jit(f, tier="sweep"), given), outcome(known, given)
            assert type(first) is type(again)
            if f is sign:
                assert first == again


def test_what_may_not_run_raises_only_where_it_runs():
    zeros, ones, eye = np.zeros((3, 3)), np.ones(3), 2 * np.eye(3)

    def guarded(A, b):
        return fad.cond(np.linalg.slogdet(A)[0] != 0, lambda: np.linalg.solve(A, b), lambda: b * 0)

    assert fad.jit(guarded)(zeros, ones).tolist() == [0, 0, 0]
    gradient = fad.grad(lambda A, b: np.sum(guarded(A, b)), argnums=(0, 1))
    np.testing.assert_allclose(gradient(eye, ones)[1], 0.5)
    assert not any(x.any() for x in gradient(zeros, ones))
    never = fad.jit(lambda A, b: fad.fori_loop(0, 0, lambda k, x: np.linalg.solve(A, x), b))
    assert never(zeros, ones).tolist() == [1] * 3
    with pytest.raises(fad.SingularMatrixError):
        fad.jit(lambda A, b: fad.fori_loop(0, 1, lambda k, x: np.linalg.solve(A, x), b))(zeros, ones)


@pytest.mark.parametrize("tier", TIERS)
def test_a_singular_matrix_inside_a_long_loop(tier):
    """Too long to be run again in Python, so the error lists what can fail inside."""
    f = fad.jit(lambda A, xs: fad.scan(lambda x, _: (np.linalg.solve(A, x), None), np.ones(2), xs)[0], tier=tier)
    xs = np.zeros(300_000)
    f(np.eye(2), xs)
    with pytest.raises(fad.SingularMatrixError, match=r"scan, recorded at .*singular matrix.*test_linalg.py"):
        f(np.zeros((2, 2)), xs)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("n", [2, 3, 20, 39, 40])
def test_the_factor_of_nan_is_nan(tier, n):
    f = fad.jit(np.linalg.cholesky, tier=tier)
    f(np.eye(n))
    assert np.isnan(f(np.full((n, n), np.nan))).any()
    assert np.isnan(fad.jit(np.linalg.cholesky, tier=tier)(np.full((n, n), np.nan))).any()


def test_signs_have_no_derivative():
    zeros = np.zeros((2, 2))
    assert not fad.grad(lambda A: np.linalg.slogdet(A)[0])(zeros).any()
    assert fad.jvp(lambda A: np.linalg.slogdet(A)[0], (zeros,), (np.eye(2),)) == (0, 0)


def test_pivots_that_are_none_are_named():
    for piv in (np.array([0, 1, 7]), np.array([-1, 1, 2])):
        with pytest.raises(fad.IndexRangeError, match="pivots"):
            fad.jit(lambda p: fad.linalg.lu_solve((np.eye(3), p), np.ones(3)))(piv)
    with pytest.raises(fad.ShapeError, match="pivots of shape"):
        fad.jit(lambda A: fad.linalg.lu_solve((A, np.array([0, 1])), np.ones(3)))(np.eye(3))
