"""fastad programs as layers of PyTorch and JAX, against the same programs written in these."""

import importlib.util

import numpy as np
import pytest
from test_readme import ROOT, blocks

import fastad as fad

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")

WEIGHTS = np.array([[0.3, -1.2, 0.7], [1.1, 0.4, -0.5]])
POINT = np.array([0.6, -0.3, 1.4])


def dense(p, x, power=2):
    """Results in a dict, one of them no float, the other two of different shapes."""
    return {"a": np.sin(p["w"] @ x) * p["b"] ** power, "n": np.sum(x * x) * p["b"], "largest": np.argmax(x)}


def relax(rate):
    """A right-hand side of an ODE whose solution at three times is the layer's result."""
    return fad.solve_ivp(lambda t, y, k: -k * y, (0, 1), np.ones(2), args=(rate,), t_eval=[0.25, 0.5, 1.0]).y


# ---- JAX ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        yield jax


def _total(out):
    return out["a"].sum() ** 2 + out["n"]


JAX_TRANSFORMS = {
    "value": lambda jax, f: f,
    "grad": lambda jax, f: jax.grad(f, (0, 1)),
    "jit grad": lambda jax, f: jax.jit(jax.grad(f, (0, 1))),
    "forward over reverse": lambda jax, f: jax.jit(jax.hessian(f, 1)),
    "reverse over reverse": lambda jax, f: jax.jacrev(jax.jacrev(f, 1), 0),
    "forward over forward": lambda jax, f: jax.jacfwd(jax.jacfwd(f, 1), 0),
    "reverse over forward": lambda jax, f: jax.jacrev(jax.jacfwd(f, 1), 1),
    "third order": lambda jax, f: jax.grad(lambda p, x: jax.hessian(f, 1)(p, x).sum(), (0, 1)),
    "checkpoint": lambda jax, f: jax.grad(jax.checkpoint(f), 1),
}


@needs_jax
@pytest.mark.parametrize("name", JAX_TRANSFORMS)
def test_jax_derivatives_are_those_of_the_same_program_in_jax(jax, name):
    jnp, transform = jax.numpy, JAX_TRANSFORMS[name]

    def peer(p, x):
        return _total({"a": jnp.sin(p["w"] @ x) * p["b"] ** 2, "n": jnp.sum(x * x) * p["b"]})

    layer = fad.interop.jax_function(dense)
    arguments = {"w": WEIGHTS, "b": 1.7}, POINT
    ours = transform(jax, lambda p, x: _total(layer(p, x)))(*arguments)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(transform(jax, peer)(*arguments)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@needs_jax
@pytest.mark.parametrize("jitted", [False, True])
def test_jax_batches(jax, jitted):
    jnp, layer = jax.numpy, fad.interop.jax_function(lambda w, x: (w @ x, np.sum(np.exp(x))))
    points = jnp.stack([POINT, 2 * POINT], axis=1)

    def total(f):
        def loss(w, xs):
            product, scalar = jax.vmap(f, in_axes=(None, 1))(w, xs)
            return jnp.sum(jnp.sin(product)) * jnp.sum(scalar)

        gradient = jax.grad(loss, (0, 1))
        return (jax.jit(gradient) if jitted else gradient)(WEIGHTS, points)

    for a, b in zip(total(layer), total(lambda w, x: (w @ x, jnp.sum(jnp.exp(x)))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    matrix = jax.jit(jax.vmap(jax.hessian(lambda x: layer(WEIGHTS, x)[1]), in_axes=1))(points)
    np.testing.assert_allclose(matrix[1], np.diag(np.exp(2 * POINT)), rtol=1e-12)


@needs_jax
def test_jax_keeps_dtypes_and_static_arguments(jax):
    layer = fad.interop.jax_function(lambda x, n, name: {name: x**n, "index": np.argmax(x)})
    out = jax.jit(layer, static_argnums=(1, 2))(jax.numpy.ones(3, "float32"), 3, "cube")
    assert out["cube"].dtype == "float32" and out["index"].shape == ()
    with jax.enable_x64(False):  # JAX has neither float64 nor int64 here
        single = layer(jax.numpy.ones(3), 2, "square")
        assert single["square"].dtype == "float32" and single["index"].dtype == "int32"


@needs_jax
def test_jax_is_told_the_shapes_where_random_arguments_are_outside_of_the_domain(jax):
    def scaled(x):
        return np.linalg.cholesky(np.diag(x - 10.0)) @ x

    with pytest.raises(Exception, match="random values") as caught:
        jax.jit(fad.interop.jax_function(scaled))(jax.numpy.full(2, 11.0))
    assert "result_shape" in "".join(caught.value.__notes__)
    layer = fad.interop.jax_function(scaled, jax.ShapeDtypeStruct((2,), "float64"))
    np.testing.assert_allclose(jax.jit(jax.jacobian(layer))(np.full(2, 11.0)), np.eye(2) * (1 + 11 / 2))


@needs_jax
def test_a_layer_that_solves_an_ode_trains_in_a_jitted_jax_function(jax):
    layer = fad.interop.jax_function(relax)
    target = np.exp(-np.outer([1.0, 2.0], [0.25, 0.5, 1.0]))

    @jax.jit
    def step(rate):
        value, gradient = jax.value_and_grad(lambda k: ((layer(k) - target) ** 2).sum())(rate)
        return value, rate - 2 * gradient

    rate = jax.numpy.array([0.5, 0.5])
    for _ in range(150):
        _, rate = step(rate)
    np.testing.assert_allclose(rate, [1.0, 2.0], atol=2e-3)
    np.testing.assert_allclose(jax.jacobian(layer)(rate), fad.jacobian(relax)(np.asarray(rate)), rtol=1e-12)


# ---- PyTorch -----------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def _variable(torch, value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def _torch_loss(torch, layered):
    layer = fad.interop.torch_function(dense)

    def peer(p, x):
        return {"a": torch.sin(p["w"] @ x) * p["b"] ** 2, "n": (x * x).sum() * p["b"]}

    return lambda w, b, x: _total((layer if layered else peer)({"w": w, "b": b}, x))


@needs_torch
def test_torch_derivatives_of_derivatives(torch):
    variables = _variable(torch, WEIGHTS), _variable(torch, 1.7), _variable(torch, POINT)
    found = []
    for layered in (True, False):
        first = torch.autograd.grad(_torch_loss(torch, layered)(*variables), variables, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in first), variables, create_graph=True)
        third = torch.autograd.grad(second[1], variables)
        found.append([*first, *second, *third])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-10)
    assert torch.autograd.gradgradcheck(_torch_loss(torch, True), variables)


TORCH_TRANSFORMS = {
    "grad": lambda func, f, x: func.grad(f)(x),
    "jvp": lambda func, f, x: func.jvp(f, (x,), (2 * x,))[1],
    "hessian": lambda func, f, x: func.hessian(f)(x),
    "jacrev of jacrev": lambda func, f, x: func.jacrev(func.jacrev(f))(x),
    "vmap of grad": lambda func, f, x: func.vmap(func.grad(f))(x.repeat(3, 1)),
}


@needs_torch
@pytest.mark.parametrize("name", TORCH_TRANSFORMS)
def test_torch_func(torch, name):
    w, b, x = (torch.tensor(value, dtype=torch.float64) for value in (WEIGHTS, 1.7, POINT))

    def found(loss):
        return TORCH_TRANSFORMS[name](torch.func, lambda x: loss(w, b, x), x)

    ours, peer = (found(_torch_loss(torch, layered)) for layered in (True, False))
    np.testing.assert_allclose(ours, peer, rtol=1e-11)


@needs_torch
def test_a_layer_that_solves_an_ode_trains_in_a_torch_module(torch):
    class Relaxation(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rate = torch.nn.Parameter(torch.full((2,), 0.5, dtype=torch.float64))
            self.solve = fad.interop.torch_function(relax)

        def forward(self):
            return self.solve(self.rate)

    model = Relaxation()
    target = torch.exp(-torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([0.25, 0.5, 1.0])))
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    for _ in range(150):
        optimizer.zero_grad()
        ((model() - target) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(model.rate.detach(), [1.0, 2.0], atol=2e-3)
    jacobian = torch.func.jacrev(model.solve)(model.rate.detach())
    np.testing.assert_allclose(jacobian, fad.jacobian(relax)(model.rate.detach().numpy()), rtol=1e-12)


@needs_torch
def test_torch_dtypes_and_what_is_refused(torch):
    layer = fad.interop.torch_function(lambda x, n=2: (x**n, np.argmax(x)))
    cube, index = layer(torch.ones(3, requires_grad=True), 3)
    assert cube.dtype == torch.float32 and not index.requires_grad
    with pytest.raises(TypeError, match=r"torch.float16; pass tensor.double\(\)"):
        layer(torch.ones(3).half())
    with pytest.raises(TypeError, match="without a tensor"):
        layer(np.ones(3))


@needs_torch
def test_many_layers_are_no_reason_to_warn(torch):
    for k in range(70):
        fad.interop.torch_function(lambda x, k=k: x * k)(torch.ones(2))


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_what_is_missing_is_said(name, monkeypatch):
    import sys

    for module in list(sys.modules):
        if module.split(".")[0] == name or module == f"fastad.interop.{name}_layer":
            monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"fastad.interop.{name}_layer", raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'fastad\[{name}\]'"):
        getattr(fad.interop, f"{name}_function")(np.sin)


@needs_torch
@needs_jax
def test_the_examples_of_the_docs_run():
    names = {"np": np, "fad": fad}
    for _, code in blocks(ROOT / "docs" / "beside-others.md", "py"):
        exec(code, names)
    rate = names["Relaxation"]()().detach().numpy()
    np.testing.assert_allclose(rate, np.exp(-0.5 * np.array([[0.5, 1.0]] * 2)), rtol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("name", ["jnp.sin", "jax.jit", "jax.vmap", "jax.grad", "lax.sin", "jnp.array", "operator"])
def test_functions_of_jax_inside_are_refused_with_the_line(name):
    import jax
    import jax.numpy as jnp

    functions = {
        "jnp.sin": jnp.sin, "jax.jit": jax.jit(jnp.cos), "jax.vmap": jax.vmap(jnp.sin), "lax.sin": jax.lax.sin,
        "jax.grad": jax.grad(lambda x: jnp.sum(x * x)), "jnp.array": jnp.array, "operator": lambda x: x * jnp.ones(3),
    }

    def f(x):
        return np.sum(functions[name](x))

    with pytest.raises(fad.RecordingError, match=r"np instead of jnp") as found:
        fad.grad(f)(np.ones(3))
    assert __file__ in str(found.value)
