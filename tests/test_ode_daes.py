"""Mass matrices, differential-algebraic equations of index 1, and Jacobians that the user gives."""

import numpy as np
import pytest
from scipy import sparse

import fastad as fad

RATES = np.array([0.04, 1e4, 3e7])
END = [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]


def conserved(t, y, k=RATES):
    """ROBER with the conservation of mass in the place of its third equation."""
    first, second, third = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
    return np.array([second - first, first - second - third, y[0] + y[1] + y[2] - 1.0])


def as_it_is(m):
    return m


MASSES = [np.diag, as_it_is, lambda m: np.diag(m).tolist(), lambda m: sparse.csr_array(np.diag(m)), fad.sparse.diags]


@pytest.mark.parametrize("form", MASSES, ids=["dense", "diagonal", "list", "SciPy's", "sparse"])
def test_algebraic_equations_and_consistent_initial_values(form):
    """y₃ is wrong at the start: the library finds what the algebraic equation says."""
    mass = form(np.array([1.0, 1.0, 0.0]))
    options = {"mass": mass, "rtol": 1e-8, "atol": 1e-15}
    sol = fad.solve_ivp(conserved, (0, 1e11), [1.0, 0, 0.3], "Rodas5P", [0.0, 1e11], **options)
    assert sol.success
    np.testing.assert_allclose(sol.y[:, 0], [1.0, 0.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(sol.y[:, -1], END, rtol=2e-7)


def test_null_spaces_of_a_singular_matrix():
    """M = P diag(1, 1, 0) Q: the same system in other coordinates, with other combinations of its equations."""
    rng = np.random.default_rng(1)
    p, q = rng.normal(size=(2, 3, 3))
    mass = p @ np.diag([1.0, 1.0, 0.0]) @ q
    fun = lambda t, x: p @ conserved(t, q @ x)
    start = np.linalg.solve(q, [1.0, 0.0, 0.4])
    sol = fad.solve_ivp(fun, (0, 40.0), start, "Rodas5P", [0.0, 40.0], mass=mass, rtol=1e-9, atol=1e-12)
    plain = fad.solve_ivp(
        conserved, (0, 40.0), [1.0, 0, 0], "Rodas5P", [0.0, 40.0], mass=[1, 1, 0], rtol=1e-9, atol=1e-12
    )
    np.testing.assert_allclose(q @ sol.y, plain.y, rtol=1e-6, atol=1e-8)


def test_a_regular_mass_matrix_is_a_product_with_its_inverse():
    mass = np.array([[2.0, 0.5, 0.0], [0.1, 1.0, 0.3], [0.0, 0.2, 3.0]])
    fun = lambda t, y: np.array([-y[0] * y[1], y[0] - y[2] ** 2, np.sin(t) - y[1]])
    sol = fad.solve_ivp(fun, (0, 2), [1.0, 0.5, 0.2], "Rodas5P", [2.0], mass=mass, rtol=1e-9, atol=1e-11)
    inverse = np.linalg.inv(mass)
    other = fad.solve_ivp(lambda t, y: inverse @ fun(t, y), (0, 2), [1.0, 0.5, 0.2], "Dopri8", [2.0], rtol=1e-11)
    np.testing.assert_allclose(sol.y, other.y, rtol=1e-7)


def pendulum(y0, mass, g, adjoint="discrete"):
    fun = lambda t, y: np.array([y[1], -g * np.sin(y[0]) - 0.1 * y[2], y[2] ** 3 + y[2] - y[0] ** 2])
    sol = fad.solve_ivp(fun, (0, 1.0), y0, "Rodas5P", [0.5, 1.0], mass=mass, adjoint=adjoint, rtol=1e-10, atol=1e-10)
    return np.sum(sol.y * [[1.0], [2.0], [3.0]])


POINT = (np.array([1.0, 0.0, 0.3]), np.array([1.0, 1.2, 0.0]), 2.0)


@pytest.mark.parametrize("form", [as_it_is, np.diag, fad.sparse.diags], ids=["diagonal", "dense", "sparse"])
@pytest.mark.parametrize("adjoint", ["discrete", "forward"])
def test_derivatives_of_a_dae(adjoint, form):
    f = lambda y0, m, g: pendulum(y0, form(m), g, adjoint)
    found = fad.grad(f, argnums=(0, 1, 2))(*POINT)
    h = 1e-5
    for k in range(2):
        for i in range(3 - k):  # a mass that is not 0 any more makes another equation
            up, down = ([x + s * h * np.eye(3)[i] if j == k else x for j, x in enumerate(POINT)] for s in (1, -1))
            assert found[k][i] == pytest.approx((f(*up) - f(*down)) / (2 * h), rel=2e-5, abs=1e-8)
    assert found[0][2] == pytest.approx(0.0, abs=1e-12)  # the start of an algebraic component is only a guess
    slope = (f(*POINT[:2], 2.0 + h) - f(*POINT[:2], 2.0 - h)) / (2 * h)
    assert found[2] == pytest.approx(slope, rel=1e-6)


def test_second_derivatives_of_a_dae():
    f = lambda g: pendulum(*POINT[:2], g)
    slope = (fad.grad(f)(2.0 + 1e-4) - fad.grad(f)(2.0 - 1e-4)) / 2e-4
    assert fad.grad(fad.grad(f))(2.0) == pytest.approx(slope, rel=1e-5)


def test_jumps_are_made_consistent():
    def after(k):
        refill = fad.ode.Event(lambda t, y: y[0] - 0.9, jump=lambda t, y: np.array([1.0, y[1], 7.0]))
        fun = lambda t, y: np.array([-k * y[0] * y[2], y[0], y[2] - y[0] ** 2])
        options = {"events": refill, "mass": [1.0, 1.0, 0.0], "rtol": 1e-9, "atol": 1e-11}
        return fad.solve_ivp(fun, (0, 1.0), [1.0, 0, 0], "Rodas5P", [1.0], **options).y[:, -1]

    end = after(0.5)
    assert end[2] == pytest.approx(end[0] ** 2, rel=1e-8)
    first = lambda k: after(k)[0]
    assert fad.grad(first)(0.5) == pytest.approx((first(0.5 + 1e-5) - first(0.5 - 1e-5)) / 2e-5, rel=1e-5)


def test_an_ensemble_of_daes():
    f = lambda g: pendulum(*POINT[:2], g)
    gs = np.array([1.0, 2.0, 2.5])
    np.testing.assert_allclose(fad.vmap(f)(gs), [f(g) for g in gs], rtol=1e-9)


# ── what fails ────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_index_above_one_is_an_error():
    fun = lambda t, y: np.array([y[1], y[0] - np.sin(t)])
    with pytest.raises(fad.SingularMatrixError, match="index of the differential-algebraic equation is above 1"):
        fad.solve_ivp(fun, (0, 1), [0.0, 1.0], "Rodas5P", mass=[1.0, 0.0])


def test_an_equation_without_a_solution_is_an_error():
    fun = lambda t, y: np.array([-y[0], y[1] ** 2 + 1.0])
    with pytest.raises((fad.SingularMatrixError, fad.ConvergenceError), match="no consistent initial values"):
        fad.solve_ivp(fun, (0, 1), [1.0, 1.0], "Rodas5P", mass=[1.0, 0.0])


@pytest.mark.parametrize(
    ("mass", "message"),
    [(np.ones(2), "mass has shape"), (np.ones((3, 2)), "mass has shape"),
     (sparse.eye_array(4), "must be"), (np.full((3, 3), np.nan), "finite"),
     ([1.0, np.nan, 1.0], "finite"), (sparse.csr_array(np.diag([1.0, np.inf, 1.0])), "finite")],
)  # fmt: skip
def test_wrong_masses(mass, message):
    with pytest.raises(fad.ShapeError, match=message):
        fad.solve_ivp(conserved, (0, 1), [1.0, 0, 0], "Rodas5P", mass=mass)


def test_explicit_methods_take_no_mass():
    with pytest.raises(fad.ShapeError, match="Rodas5P"):
        fad.solve_ivp(conserved, (0, 1), [1.0, 0, 0], mass=np.eye(3))


# ── Jacobians of the user's ───────────────────────────────────────────────────────────────────────────────────
def linear(t, y, a):
    return a @ y


A = np.array([[-1.0, 2.0, 0.0], [0.0, -3.0, 0.5], [0.0, 0.1, -1.0]])


@pytest.mark.parametrize(
    "jac", [A, A.tolist(), sparse.csr_array(A), lambda t, y, a: a, lambda t, y, a: sparse.csr_array(a)]
)
def test_the_jacobian_of_the_user(jac):
    options = {"args": (A,), "t_eval": [1.0]}
    own = fad.solve_ivp(linear, (0, 1), np.ones(3), "Rodas5P", **options)
    given = fad.solve_ivp(linear, (0, 1), np.ones(3), "Rodas5P", jac=jac, jac_sparsity=A != 0.0, **options)
    np.testing.assert_array_equal(given.y, own.y)


def test_a_wrong_jacobian_or_pattern_names_the_element():
    wrong = A.copy()
    wrong[1, 2] = 0.7
    with pytest.raises(
        fad.ShapeError, match=r"element \[1, 2\] is 0.7, and the derivative of component 1 by y\[2\] is 0.5"
    ):
        fad.solve_ivp(linear, (0, 1), np.ones(3), "Rodas5P", args=(A,), jac=wrong)
    with pytest.raises(fad.ShapeError, match="expected to have shape"):
        fad.solve_ivp(linear, (0, 1), np.ones(3), "Rodas5P", args=(A,), jac=np.eye(2))
    pair = lambda t, y: np.array([y[1], -y[0]])
    with pytest.raises(fad.ShapeError, match=r"no element \[0, 1\]"):
        fad.solve_ivp(pair, (0, 1), np.ones(2), "Rodas5P", jac_sparsity=np.eye(2))


# ── mass matrices that depend on the state ────────────────────────────────────────────────────────────────────
def cart(t, y, m):
    """Force of a pendulum on a cart, whose mass matrix depends on its angle: y = (x, angle, speeds)."""
    return np.array([y[2], y[3], y[3] ** 2 * np.sin(y[1]) - y[0], -9.81 * np.sin(y[1])])


def inertia(t, y, m):
    c = np.cos(y[1])
    lead = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    zero = 0.0 * c
    below = np.array([[zero, zero, m + 1.0 + zero, c], [zero, zero, c, 1.0 + zero]])
    return np.concatenate([lead, below])


@pytest.mark.parametrize("method", ["Rodas5P", "Radau", "Kvaerno5", "BDF"])
def test_a_mass_matrix_that_depends_on_the_state(method):
    y0, points = np.array([0.1, 1.0, 0.0, 0.0]), np.array([0.4, 1.0])

    def end(m, y0):
        given = {"args": (m,), "mass": inertia, "rtol": 1e-9, "atol": 1e-11}
        return fad.solve_ivp(cart, (0, 1.0), y0, method, points, **given).y

    def solved(t, y, m):
        return np.linalg.solve(inertia(t, y, m), cart(t, y, m))

    other = lambda m, y0: fad.solve_ivp(solved, (0, 1.0), y0, "Dopri8", points, args=(m,), rtol=1e-11, atol=1e-13).y
    np.testing.assert_allclose(end(2.0, y0), other(2.0, y0), rtol=1e-6, atol=1e-8)
    by_m, by_y0 = fad.grad(lambda *x: np.sum(end(*x) ** 2), argnums=(0, 1))(2.0, y0)
    their_m, their_y0 = fad.grad(lambda *x: np.sum(other(*x) ** 2), argnums=(0, 1))(2.0, y0)
    assert by_m == pytest.approx(their_m, rel=1e-5)
    np.testing.assert_allclose(by_y0, their_y0, rtol=1e-5, atol=1e-7)


def test_dense_output_and_events_with_a_mass_matrix_that_depends_on_the_state():
    down = lambda t, y, m: y[1]
    sol = fad.solve_ivp(
        cart, (0, 1.0), [0.1, 1.0, 0.0, 0.0], "Rodas5P", args=(2.0,), mass=inertia, events=down, dense_output=True
    )
    assert sol.y.shape[0] == 4 and len(sol.t_events[0]) == 1
    np.testing.assert_allclose(sol.sol(sol.t_events[0][0])[1], 0.0, atol=1e-8)
    np.testing.assert_allclose(sol.sol(sol.t), sol.y, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [({"mass": lambda t, y, k: np.zeros((3, 3))}, fad.SingularMatrixError, "singular at the start"),
     ({"mass": lambda t, y, k: np.eye(2)}, fad.ShapeError, "shape"),
     ({"mass": lambda t, y, k: np.eye(3), "jac": np.eye(3)}, fad.ShapeError, "leave jac"),
     ({"mass": np.eye(3), "adjoint": "interpolating"}, fad.ShapeError, "takes no mass matrix")],
)  # fmt: skip
def test_what_mass_matrices_cannot_do(options, error, message):
    with pytest.raises(error, match=message):
        fad.solve_ivp(conserved, (0, 1), [1.0, 0, 0], "Rodas5P", args=(RATES,), **options)


@pytest.mark.parametrize(
    "mass", [np.array([1.0, 2.0]), lambda t, y: np.array([1.0, 2.0 + y[1]])], ids=["const", "moving"]
)
def test_with_a_mass_matrix_auto_is_its_stiff_method(mass):
    own, stiff = (
        fad.solve_ivp(lambda t, y: [-y[0], 1.0], (0, 1), [1.0, 0.5], m, mass=mass) for m in ("auto", "Rodas5P")
    )
    assert np.array_equal(own.y, stiff.y) and own.stats == stiff.stats and own.nfev == stiff.nfev > len(own.t)
