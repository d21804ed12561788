"""SciPy's interpolators at recorded points, and its integrals of recorded samples."""

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


def test_recorded_data_is_refused_with_the_fix():
    with pytest.raises(fad.RecordingError, match=r"CubicSpline.*np\.interp.*B @ values"):
        fad.grad(lambda y: interpolate.CubicSpline(X, y)(2.0))(Y)
    B = interpolate.make_interp_spline(X, np.eye(len(X)))(2.0)
    np.testing.assert_allclose(fad.grad(lambda y: B @ y)(Y), B)


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
