"""The same workloads in JAX, PyTorch, CasADi and autograd, each in the form that is usual and fast there.

JAX and autograd run the source of bench.functions. PyTorch's versions use its own fused functions. CasADi's are
symbolic expressions, evaluated into prepared buffers.
"""
from functools import cache, partial

import numpy as np

from bench import functions
from bench.registry import contender
from bench.workloads import ALL, BY_NAME, Workload

EVERY = tuple(BY_NAME)


def without(*names):
    return tuple(name for name in EVERY if name not in names)


# ---- JAX: double precision, jit, default threads ------------------------------------------------------------------
@cache
def jax_functions():
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    return functions.functions_with(jnp, jax.lax.scan)


def jax_transformed(work: Workload, what: str, mode: str = ""):
    """The jitted transformation, and the arguments after the first, which stay on the device."""
    module = jax_functions()
    import jax

    f = work.function(module)
    args = work.args
    if work.name == "gmm":  # integers and the prior's numbers are constants
        places, wishart = args[2:]
        args, f = args[:2], lambda params, X, g=f: g(params, X, places, wishart)
    transform = {
        "primal": lambda f: f, "grad": jax.grad, "value_and_grad": jax.value_and_grad,
        "jacobian": jax.jacfwd if mode == "fwd" else jax.jacrev, "hessian": jax.hessian,
    }[what]
    return jax.jit(transform(f)), args[0], jax.tree.map(jax.numpy.asarray, args[1:])


# XLA took 450 s to compile the program of 1,000 rows here, 12 s for the determinant at n=6
JAX_WORKLOADS = without("program-1e3", "program-1e5", "determinant")
LINEAR = tuple(name for name in EVERY if name.startswith(("solve-", "cholesky-")))
NO_LOOPS = without("lv-scan", "leaves")  # for libraries without a scan


@contender("jax", JAX_WORKLOADS)
def jax_device(work, what, mode="fwd"):
    """Inputs and results stay JAX arrays."""
    run, x, rest = jax_transformed(work, what, mode)
    import jax

    x = jax.tree.map(jax.numpy.asarray, x)
    wait = jax.block_until_ready
    return lambda: wait(run(x, *rest))


@contender("jax-numpy", tuple(name for name in JAX_WORKLOADS if name != "leaves"), package="jax")  # 40 s to compile
def jax_numpy(work, what, mode="fwd"):
    """NumPy in and out for what is differentiated and its derivative; the data stay JAX arrays."""
    run, x, rest = jax_transformed(work, what, mode)
    import jax

    if what == "value_and_grad" and isinstance(x, np.ndarray):

        def call():
            value, gradient = run(x, *rest)
            return np.asarray(value), np.asarray(gradient)

    elif isinstance(x, np.ndarray):

        def call():
            return np.asarray(run(x, *rest))

    else:

        def call():
            return jax.tree.map(np.asarray, run(x, *rest))

    return call


contender("jax-rev", ("jacobian",), package="jax", primal=False)(partial(jax_device, mode="rev"))


# ---- PyTorch: eager autograd, double precision, default threads ---------------------------------------------------
def torch_rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def torch_sin_exp(x):
    import torch

    return (torch.sin(x) * torch.exp(-x * x)).sum()


def torch_logistic(w, X, y):
    from torch.nn.functional import softplus

    return softplus(-y * (X @ w), threshold=40.0).mean()


def torch_mlp(params, X, labels):
    import torch
    from torch.nn.functional import cross_entropy

    h = X
    for W, b in params[:-1]:
        h = torch.tanh(torch.addmm(b, h, W))
    W, b = params[-1]
    return cross_entropy(torch.addmm(b, h, W), labels)


def torch_gmm(params, X, places, wishart):
    import torch

    alphas, means, icf = params
    gamma, m = wishart
    n, d = X.shape
    K = alphas.shape[0]
    sums, diagonal, lower = icf[:, :d].sum(1), icf[:, :d].exp(), icf[:, d:]
    Q = torch.cat([diagonal, lower, torch.zeros((K, 1), dtype=icf.dtype)], 1)[:, places].reshape(K, d, d)
    scaled = torch.matmul(X - means[:, None, :], Q.transpose(1, 2))
    terms = alphas[:, None] + sums[:, None] - 0.5 * (scaled * scaled).sum(2)
    prior = 0.5 * gamma**2 * ((diagonal**2).sum() + (lower**2).sum()) - m * sums.sum()
    value = torch.logsumexp(terms, 0).sum() - n * torch.logsumexp(alphas, 0)
    return value - n * d * 0.5 * 1.8378770664093453 - prior


def torch_field(x, A, B):
    import torch

    h = torch.tanh(A @ x)
    return torch.exp(-h * h) * (B @ h) + torch.sin(x)


def torch_energy(x, A, B):
    import torch

    h = torch.tanh(A @ x)
    return torch.log1p(h * h).sum() + 0.5 * (h @ (B @ h)) + (torch.cos(x) * h).sum()


TORCH = {
    "rosenbrock-2": torch_rosenbrock, "rosenbrock-100": torch_rosenbrock, "rosenbrock-1e6": torch_rosenbrock,
    "sin-exp": torch_sin_exp, "logistic": torch_logistic, "mlp": torch_mlp, "gmm": torch_gmm,
    "jacobian": torch_field, "hessian": torch_energy,
}


def torch_function(work: Workload):
    import torch

    if work.name in TORCH:
        return TORCH[work.name]
    return work.function(functions.functions_with(torch))  # scalar programs: the same source


def torch_to_numpy(result):
    import torch

    if isinstance(result, (tuple, list)):
        return [torch_to_numpy(part) for part in result]
    return result.detach().numpy() if isinstance(result, torch.Tensor) else result


@contender("torch", tuple(name for name in NO_LOOPS if name not in LINEAR), to_numpy=torch_to_numpy)
def torch_eager(work, what):
    """`torch.autograd.grad` on leaf tensors that share memory with NumPy; torch.func for Jacobians and Hessians."""
    import optree
    import torch

    f = torch_function(work)
    args = optree.tree_map(lambda a: torch.from_numpy(a) if isinstance(a, np.ndarray) else a, work.args)
    if work.name == "mlp":
        args = (*args[:2], torch.argmax(args[2], 1))
    x, rest = args[0], args[1:]
    if what == "primal":

        def call():
            with torch.no_grad():
                return f(x, *rest)

        return call
    if what in ("jacobian", "hessian"):
        transform = torch.func.jacrev(f) if what == "jacobian" else torch.func.hessian(f)
        return lambda: transform(x, *rest)
    tensors = optree.tree_leaves(x)
    for tensor in tensors:
        tensor.requires_grad_(True)

    def call():
        value = f(x, *rest)
        return value, torch.autograd.grad(value, tensors)

    return call if what == "value_and_grad" else lambda: call()[1]


# ---- CasADi: expressions, evaluated into prepared buffers ---------------------------------------------------------
CASADI = ("rosenbrock-2", "rosenbrock-100", "program-1e3", "program-1e5", "determinant", "jacobian", "hessian")


class CasadiNames:
    """The few NumPy functions that the scalar programs use."""

    __name__ = "casadi"

    def __init__(self):
        import casadi

        for name in ("sin", "cos", "exp", "tanh", "sqrt", "log"):
            setattr(self, name, getattr(casadi, name))


def casadi_expressions(work: Workload):
    """The symbol and the expression of f (scalar SX; constants of the workload folded in)."""
    import casadi as ca

    first, *rest = work.args
    if work.name == "determinant":
        x = ca.SX.sym("x", first.shape[1], first.shape[0])  # CasADi stores columns, NumPy rows
        return x, functions.determinant(x.T)
    x = ca.SX.sym("x", first.size)
    if work.name.startswith("rosenbrock"):
        return x, ca.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    if work.rows is not None:
        parts = ca.vertsplit(x)
        return x, work.function(functions.functions_with(CasadiNames()))(parts)
    A, B = (ca.DM(matrix) for matrix in rest)
    h = ca.tanh(A @ x)
    if work.name == "jacobian":
        return x, ca.exp(-h * h) * (B @ h) + ca.sin(x)
    return x, ca.sum1(ca.log1p(h * h)) + 0.5 * ca.dot(h, B @ h) + ca.dot(ca.cos(x), h)


@contender("casadi", CASADI)
def casadi_buffers(work, what):
    """CasADi's virtual machine with `Function.buffer()`: no argument conversion in the call."""
    import casadi as ca

    x, y = casadi_expressions(work)
    outputs = {
        "primal": lambda: [y], "value_and_grad": lambda: [y, ca.gradient(y, x)],
        "jacobian": lambda: [ca.densify(ca.jacobian(y, x)).T], "hessian": lambda: [ca.densify(ca.hessian(y, x)[0])],
    }[what]()
    prepared = ca.Function("f", [x], outputs)
    buffer, call = prepared.buffer()
    point = np.ascontiguousarray(work.args[0]).copy()
    results = [np.zeros(out.shape if min(out.shape) > 1 else out.numel()) for out in outputs]
    buffer.set_arg(0, memoryview(point.ravel()))
    for i, result in enumerate(results):
        buffer.set_res(i, memoryview(result.reshape(-1)))

    def run(keep=(prepared, buffer, point)):
        call()
        return results

    return run


# ---- autograd: NumPy's own functions, traced at every call --------------------------------------------------------
@contender("autograd", NO_LOOPS)
def autograd_traced(work, what):
    import autograd
    import autograd.numpy as anp

    f = work.function(functions.functions_with(anp))
    if what == "primal":  # untraced: plain NumPy
        return partial(work.numpy_function, *work.args)
    transformed = getattr(autograd, what)(f)
    return partial(transformed, *work.args)


assert set(TORCH) | set(CASADI) <= {work.name for work in ALL}
