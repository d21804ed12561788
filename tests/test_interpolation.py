"""SciPy's interpolators at recorded points and of recorded data, and its integrals of recorded samples."""

import numpy as np
import pytest
from scipy import integrate, interpolate

import fastad as fad

RNG = np.random.default_rng(5)
X = np.cumsum(RNG.uniform(0.2, 1.0, 9))
Y, TABLE = np.sin(X) + 2.0, np.stack([np.sin(X), np.cos(X), X**2], axis=1)
AT = np.concatenate([RNG.uniform(X[0], X[-1], 6), X[[0, 3]]])
KINDS = {
    "CubicSpline": interpolate.CubicSpline, "PchipInterpolator": interpolate.PchipInterpolator,
    "Akima1DInterpolator": interpolate.Akima1DInterpolator, "make_interp_spline": interpolate.make_interp_spline,
    "quintic": lambda x, y, axis=0: interpolate.make_interp_spline(x, y, 5, axis=axis),
    "natural": lambda x, y, axis=0: interpolate.CubicSpline(x, y, axis=axis, bc_type="natural"),
    "hermite": lambda x, y, axis=0: interpolate.CubicHermiteSpline(x, y, np.zeros(np.shape(y)), axis=axis),
}  # fmt: skip


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("name", KINDS)
def test_splines_and_their_derivatives(name, tier):
    spline = KINDS[name](X, Y)
    jit = lambda f: fad.jit(f, tier=tier)
    np.testing.assert_allclose(jit(spline)(AT), spline(AT), rtol=1e-12)
    each = lambda f: fad.vmap(fad.grad(f))
    np.testing.assert_allclose(jit(each(lambda x: spline(x)))(AT), spline(AT, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(jit(each(fad.grad(lambda x: spline(x))))(AT), spline(AT, 2), rtol=1e-9, atol=1e-10)
    for nu in (1, 2):
        np.testing.assert_allclose(jit(lambda x, nu=nu: spline(x, nu))(AT), spline(AT, nu), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_tables_along_an_axis_and_points_outside(name):
    spline, points = KINDS[name](X, TABLE.T, axis=1), np.stack([AT[:4], AT[4:]])
    np.testing.assert_allclose(fad.jit(spline)(points), spline(points), rtol=1e-12)
    np.testing.assert_allclose(fad.jit(spline)(2.0), spline(2.0), rtol=1e-12)
    outside = np.array([X[0] - 0.5, X[-1], X[-1] + 0.7, np.nan])
    for extrapolate in (True, False, "periodic"):
        found = fad.jit(lambda x, how=extrapolate: spline(x, extrapolate=how))(outside)
        np.testing.assert_allclose(found, spline(outside, extrapolate=extrapolate), rtol=1e-9)


def test_breakpoints_that_fall():
    falling = interpolate.PPoly(np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([3.0, 2.0, 0.0]))
    points = np.array([3.0, 2.5, 2.0, 1.0, 0.0, -1.0, 4.0])
    np.testing.assert_allclose(fad.jit(falling)(points), falling(points))


@pytest.mark.filterwarnings("ignore:interp1d was recorded")
@pytest.mark.parametrize("kind", ["linear", "nearest", "nearest-up", "previous", "next", "zero", "slinear", "cubic", 2])
@pytest.mark.parametrize("fill", ["extrapolate", (1.0, 2.0), np.nan])
@pytest.mark.parametrize("y, axis", [(Y, 0), (TABLE.T, 1)])
def test_interp1d(kind, fill, y, axis):
    f = interpolate.interp1d(X, y, kind, axis, fill_value=fill, bounds_error=False)
    points = np.concatenate([AT, [X[0] - 0.3, X[-1] + 0.3, X[-1]]])
    np.testing.assert_allclose(fad.jit(f)(points), f(points), rtol=1e-10)
    np.testing.assert_allclose(fad.jit(f)(AT[0]), f(AT[0]), rtol=1e-10)
    inner, h = AT[:6], 1e-6
    slopes = (f(inner + h) - f(inner - h)) / (2 * h)
    found = fad.vmap(fad.jacobian(lambda x: f(x)), out_axes=-1)(inner)
    np.testing.assert_allclose(found, slopes, rtol=1e-5, atol=1e-7)


def test_points_out_of_bounds_are_an_error_where_they_are_one():
    f = fad.jit(interpolate.interp1d(X, Y))
    assert f(X[3] + 0.01) > 0
    with pytest.raises(ValueError, match="above the interpolation range"):
        f(X[-1] + 1.0)


def test_fitted_splines():
    smooth = interpolate.UnivariateSpline(X, Y, s=0.01)
    tck = interpolate.splrep(X, Y)
    np.testing.assert_allclose(fad.jit(smooth)(AT), smooth(AT), rtol=1e-12)
    np.testing.assert_allclose(fad.jit(lambda x: interpolate.splev(x, tck, 1))(AT), interpolate.splev(AT, tck, 1))
    with pytest.raises(fad.RecordingError, match="Use ext=0"):
        fad.jit(lambda x: interpolate.splev(x, tck, ext=2))(AT)


@pytest.mark.parametrize("name", [*KINDS, "interp1d"])
def test_another_spline_is_read(name):
    """Replays look at the data of a spline: of another one in the same place, and of one whose data has changed."""
    make = interpolate.interp1d if name == "interp1d" else KINDS[name]
    spline = make(X, Y)
    f = fad.jit(lambda x: spline(x))
    assert f(2.0) == pytest.approx(spline(2.0))
    spline = make(X, Y**2)
    assert f(2.0) == pytest.approx(spline(2.0))


@pytest.mark.parametrize("name", ["CubicSpline", "PchipInterpolator", "make_interp_spline", "interp1d"])
def test_forcing_of_an_ode(name):
    force = interpolate.interp1d(X, Y) if name == "interp1d" else KINDS[name](X, Y)

    def end(k):
        f = lambda t, y: -k * y + force(t)
        return fad.solve_ivp(f, (X[0], X[-1]), [1.0], rtol=1e-9, atol=1e-11, max_step=0.1).y[0, -1]

    with_sensitivity = lambda t, z: [-0.7 * z[0] + force(t), -0.7 * z[1] - z[0]]
    y, slope = integrate.solve_ivp(with_sensitivity, (X[0], X[-1]), [1.0, 0.0], rtol=1e-8, atol=1e-10).y[:, -1]
    assert fad.value_and_grad(end)(0.7) == pytest.approx((y, slope), rel=1e-4)  # steps do not see the kinks


OF_DATA = {
    **{name: make for name, make in KINDS.items() if name != "hermite"},
    "ends": lambda x, y: interpolate.CubicSpline(x, y, 0, ("clamped", (2, np.full(np.shape(y)[1:], 0.3)))),
    "periodic": lambda x, y: interpolate.CubicSpline(x, np.concatenate([y[:-1], y[:1]]), bc_type="periodic"),
    "makima": lambda x, y: interpolate.Akima1DInterpolator(x, y, method="makima"),
    "hermite": lambda x, y: interpolate.CubicHermiteSpline(x, y, y**2),
    "interp1d": lambda x, y: interpolate.interp1d(x, y, axis=0, fill_value="extrapolate"),
    "interp1d cubic": lambda x, y: interpolate.interp1d(x, y, "cubic", 0, fill_value=0.5, bounds_error=False),
    "nearest": lambda x, y: interpolate.interp1d(x[::-1], y[::-1], "nearest", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_DATA)
@pytest.mark.parametrize("y", [Y, TABLE], ids=["vector", "table"])
def test_recorded_data(name, y):
    """Values are SciPy's, and derivatives in data and points those of differences."""
    make, at = OF_DATA[name], 0.9 * AT[:6] + 0.1 * X[4]
    np.testing.assert_allclose(fad.jit(lambda y: make(X, y)(AT))(y), make(X, y)(AT), rtol=1e-10, atol=1e-12)
    fad.check_grads(lambda y, at: np.sum(make(X, y)(at) ** 2), (y, at), order=1)


@pytest.mark.parametrize("name", ["CubicSpline", "PchipInterpolator", "interp1d"])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_recorded_points_along_another_axis(name, n):
    make = interpolate.interp1d if name == "interp1d" else KINDS[name]
    f = lambda y: make(X[:n], y, axis=1)(X[:n] + 1e-3 * (X[n - 1] - X[:n]))
    np.testing.assert_allclose(fad.jit(f)(TABLE.T[:, :n]), f(TABLE.T[:, :n]), rtol=1e-12)


def test_polynomials_of_recorded_coefficients():
    def f(y):
        spline, piecewise = interpolate.CubicSpline(X, y), interpolate.PPoly(np.reshape(y[:8], (2, 4)), X[:5])
        basis = interpolate.BSpline(np.arange(13.0), y, 3)
        ends = spline.integrate(X[1], X[6] + 0.1), piecewise.integrate(X[0], X[2] + 0.1), basis(4.3), piecewise(X[1])
        return np.stack([*ends, spline.derivative()(2.0), spline.antiderivative(2)(2.0), spline(2.0, 2)])

    np.testing.assert_allclose(fad.jit(f)(Y), f(Y), rtol=1e-10)
    np.testing.assert_allclose(fad.jacobian(f)(Y), np.stack([f(row) for row in np.eye(len(Y))], 1), atol=1e-9)


def test_arguments_by_name():
    """SciPy's names are kept, for plain arguments while a function is recorded too."""
    makes = [
        lambda y: interpolate.CubicSpline(x=X, y=y), lambda y: interpolate.interp1d(x=X, y=y, kind="cubic"),
        lambda y: interpolate.PPoly(c=np.reshape(y[:8], (2, 4)), x=X[:5]),
        lambda y: interpolate.BSpline(t=np.arange(len(Y) + 4.0), c=y, k=3),
        lambda y: interpolate.InterpolatedUnivariateSpline(x=X, y=y),
        lambda y: interpolate.RegularGridInterpolator(points=(X,), values=y),
    ]  # fmt: skip
    f = lambda y: np.stack([np.sum(make(y)(X[2:3] + 0.1)) for make in makes])
    np.testing.assert_allclose(fad.jit(f)(Y), f(Y), rtol=1e-10)
    np.testing.assert_allclose(fad.jit(lambda y: f(Y) + y[0])(Y), f(Y) + Y[0], rtol=1e-10)
    with pytest.raises(fad.RecordingError, match="interp1d takes recorded data, but"):
        fad.jit(lambda y: interpolate.interp1d(X, Y, fill_value=y[0], bounds_error=False)(0.1))(Y)


def test_splines_of_fitpack_of_recorded_data():
    f = lambda y: np.stack([interpolate.splev(AT, interpolate.splrep(X, y)),
                            interpolate.InterpolatedUnivariateSpline(X, y)(AT)])  # fmt: skip
    np.testing.assert_allclose(fad.jit(f)(Y), f(Y), rtol=1e-10)
    for smoothing in (lambda y: interpolate.UnivariateSpline(X, y), lambda y: interpolate.splrep(X, y, s=0.1)):
        with pytest.raises(fad.RecordingError, match="design_matrix"):
            fad.jit(smoothing)(Y)


GRID = X[:5], -X[:4], X[:3]
VALUES = RNG.normal(size=(5, 4, 3, 2))
PLACES = np.stack([RNG.uniform(min(g), max(g), (2, 3)) for g in GRID], axis=-1)


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("method", ["linear", "nearest"])
def test_grids(method, tier):
    f = lambda points, values: interpolate.RegularGridInterpolator(GRID, values, method)(points)
    np.testing.assert_allclose(fad.jit(f, tier=tier)(PLACES, VALUES), f(PLACES, VALUES), rtol=1e-12)
    fad.check_grads(lambda p, v: np.sum(f(p, v) ** 2), (PLACES, VALUES), order=1)


def test_grids_and_points_outside():
    own = interpolate.RegularGridInterpolator(GRID, VALUES)
    beyond = PLACES + 3.0
    for fill in (None, np.nan, 0.5):
        f = lambda p, fill=fill: interpolate.interpn(GRID, VALUES, p, bounds_error=False, fill_value=fill)
        np.testing.assert_allclose(fad.jit(f)(beyond), f(beyond), rtol=1e-12)
    tuples = lambda x: own((x, GRID[1][1], GRID[2][0]))
    np.testing.assert_allclose(fad.jit(tuples)(X[1:3]), tuples(X[1:3]))
    line = interpolate.RegularGridInterpolator((X,), Y)
    np.testing.assert_allclose(fad.jit(lambda x: line(x))(AT), line(AT))
    with pytest.raises(ValueError, match="out of bounds in dimension"):
        fad.jit(lambda p: own(p))(beyond)
    with pytest.raises(fad.RecordingError, match="'linear' or 'nearest'"):
        fad.jit(lambda p: own(p, method="cubic"))(PLACES)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8])
@pytest.mark.parametrize("rule", [integrate.simpson, integrate.trapezoid, integrate.cumulative_trapezoid])
def test_integrals_of_samples(rule, n):
    y, x = np.sin(np.arange(3.0 * n)).reshape(3, n), X[:n]
    options = [{"x": x}, {"dx": 0.3}, {"x": np.stack([x, 2 * x, x**2])}, {}]
    if rule is integrate.cumulative_trapezoid:
        options.append({"x": x, "initial": 0})
    for given in options:
        np.testing.assert_allclose(fad.jit(lambda y, given=given: rule(y, **given))(y), rule(y, **given), rtol=1e-12)
    np.testing.assert_allclose(fad.jit(lambda y: rule(y.T, x=x, axis=0))(y), rule(y.T, x=x, axis=0), rtol=1e-12)
    fad.check_grads(lambda y, x: np.sum(rule(y[0], x=x) ** 2), (y, x), order=2)


@pytest.mark.parametrize("rule", [integrate.simpson, integrate.trapezoid, integrate.cumulative_trapezoid])
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_points_of_another_number_than_samples_are_an_error(rule, shape):
    """As in SciPy: Simpson's rule reads every other one, and would not notice."""
    points = np.broadcast_to(np.arange(4.0), shape)
    for run in (rule, fad.jit(lambda y, x: rule(y, x=x))):
        with pytest.raises(ValueError):
            run(np.ones((3, 6)), x=points)


@pytest.mark.parametrize("solver", ["root", "fsolve", "leastsq"])
def test_solvers_in_c_that_hide_the_error(solver):
    """MINPACK replaces what a function raises by an error of its own."""
    from scipy import optimize

    solve = getattr(optimize, solver)
    with pytest.raises(fad.RecordingError, match=rf"optimize\.{solver} converts.*Use fad\."):
        fad.grad(lambda a: np.sum(solve(lambda x: x**2 - a, np.ones(1)).x))(2.0)
