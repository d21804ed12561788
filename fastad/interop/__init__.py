"""fastad programs as layers of other frameworks: `fad.interop.torch_function(f)`, `fad.interop.jax_function(f)`.

Neither framework is imported before one of the two is called.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["jax_function", "torch_function"]


def torch_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, a function of NumPy arrays, as a function of PyTorch tensors that `torch.autograd` differentiates.

    Tensors, and tensors in dicts, lists and tuples, are arrays for f; other arguments (numbers, strings, None) reach f
    as they are. Results are tensors in the structure that f returns, on the device of the first tensor. CPU tensors are
    read without a copy. Derivatives of any order are fastad's, `torch.func.grad`, `jvp` and `vmap` included
    (a `torch.autograd.Function`, "Extending PyTorch" in its documentation).

    Raises ImportError without PyTorch (`pip install 'fastad[torch]'`), TypeError for half-precision and complex
    tensors.

    >>> import numpy as np, fastad as fad
    >>> layer = fad.interop.torch_function(lambda x: np.sum(np.sin(x) ** 2))            # doctest: +SKIP
    >>> import torch                                                                    # doctest: +SKIP
    >>> x = torch.ones(3, dtype=torch.float64, requires_grad=True)                      # doctest: +SKIP
    >>> layer(x).backward(); x.grad                                                     # doctest: +SKIP
    tensor([0.9093, 0.9093, 0.9093], dtype=torch.float64)
    """
    from fastad.interop.torch_layer import TorchLayer

    return TorchLayer(f)


def jax_function(f: Callable[..., Any], result_shape: Any = None) -> Callable[..., Any]:
    """f, a function of NumPy arrays, as a function of JAX arrays that `jax.grad`, `jvp`, `vmap` and `jit` transform.

    Arrays and floats, in any pytree, are arrays for f; other leaves (integers, strings) reach f as they are. Inside
    `jax.jit` f runs in a callback (`jax.pure_callback`), so it must be pure. JAX has to know the shapes of the results
    before it has values: they are found by recording f once at values drawn from (0.5, 1.5). Where f is not defined
    there, give them: `result_shape` is f's result with a `jax.ShapeDtypeStruct` for each array.

    Raises ImportError without JAX (`pip install 'fastad[jax]'`).

    >>> import numpy as np, fastad as fad
    >>> layer = fad.interop.jax_function(lambda x: np.sum(np.sin(x) ** 2))              # doctest: +SKIP
    >>> import jax                                                                      # doctest: +SKIP
    >>> jax.jit(jax.grad(layer))(jax.numpy.ones(3))                                     # doctest: +SKIP
    Array([0.9092974, 0.9092974, 0.9092974], dtype=float32)
    """
    from fastad.interop.jax_layer import JaxLayer

    return JaxLayer(f, result_shape)
