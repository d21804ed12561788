"""NumPy's functions of geometry, of joining and of choosing elements, on recorded values."""

import numpy as np
import pytest
from recording_tools import check
from test_numpy_functions import function, general, split

import fastad as fad

SHAPING = """
np.reshape(x, (4, 3)) | x.reshape(2, -1) | x.reshape((6, 2)) | np.reshape(x.T, -1) | np.reshape(x, (4, 3), order="F")
x.reshape(-1, order="F") | np.reshape(s, (1, 1)) | x[:, ::2].reshape(3, 2, 1) | x.ravel() | np.ravel(x.T)
np.ravel(x, "F") | x.T.ravel("K") | x.T.ravel("A") | x.ravel("A") | x.T.reshape(-1, order="A")
x.flatten() | x.T.flatten() | np.transpose(x) | np.transpose(c, (1, 2, 0))
c.transpose(2, 0, 1) | c.T | x.transpose() | np.permute_dims(c, (2, 0, 1)) | np.swapaxes(c, 0, 2) | c.swapaxes(-1, 0)
np.moveaxis(c, 0, -1) | np.moveaxis(c, (0, 1), (1, 2)) | np.rollaxis(c, 2) | np.squeeze(x[None, :, None])
np.squeeze(x[None], axis=0) | np.expand_dims(x, (0, 2)) | np.matrix_transpose(c) | np.broadcast_to(v, (3, 4))
np.broadcast_to(s, (2, 2)) | np.broadcast_arrays(x, v) | np.atleast_1d(s) | np.atleast_2d(v) | np.atleast_3d(v, x)
np.flip(x) | np.flip(x, 1) | np.fliplr(x) | np.flipud(x) | np.rot90(x) | np.rot90(x, 2) | np.rot90(c, -1, (1, 2))
np.diagonal(x) | np.diagonal(c, 1, 1, 2) | x.diagonal(-1) | np.linalg.diagonal(c) | np.linalg.matrix_transpose(c)
np.unstack(c, axis=1) | np.split(x, 2, axis=1) | np.split(v, [1, 3]) | np.array_split(v, 3) | np.hsplit(x, 2)
np.vsplit(x, 3) | np.dsplit(c, 2) | np.lib.stride_tricks.sliding_window_view(v, 2)
np.lib.stride_tricks.sliding_window_view(x, (2, 2)) | np.copy(x) | x.copy() | x.astype(np.float32) | x.astype(int)
x.astype(bool) | (x > 0).astype(float) | x.real | x.imag | x.conj() | np.real(x) | np.imag(x)
np.array(x, copy=True, like=x) | np.shape(x) | np.ndim(x) | np.size(x) | np.size(x, 1) | len(x) | x.nbytes
x.itemsize
"""

JOINING = """
np.concatenate([x, z]) | np.concatenate([x, z], axis=1) | np.concatenate([x, z], axis=None)
np.concatenate([x, np.ones((3, 2))], axis=-1) | np.concatenate([x > 0, z]) | np.concat([v, w])
np.concatenate((v, [s, t], [1.0])) | np.concatenate([v[:0], v]) | np.concatenate([x.T, y[:, :2]], axis=1)
np.concatenate([v, w], dtype=np.float32) | np.concatenate(x) | np.stack([x, z]) | np.stack([x, z], axis=-1)
np.stack([s, t]) | np.stack([s, 1.0, t], axis=0) | np.stack(list(x)) | np.vstack([v, w]) | np.hstack([v, w])
np.hstack([x, z]) | np.hstack([s, v]) | np.dstack([x, z]) | np.dstack([v, w]) | np.column_stack([v, w])
np.column_stack([x, m[:, 0]]) | np.block([[x, z], [z, x]]) | np.block([v, w]) | np.block([[x], [v]])
np.block([[s, t], [t, s]]) | np.block([[m, np.zeros((3, 1))], [np.ones((1, 3)), s]]) | np.append(v, w)
np.append(x, 1.0) | np.append(x, z, axis=1) | np.insert(v, 1, s) | np.insert(v, [1, 3], [7.0, 8.0])
np.insert(x, 1, v, axis=0) | np.insert(x, 1, m[0], axis=1) | np.insert(v, 1, w[:2])
np.insert(x, [1, 2], m[:, :2], axis=1) | np.insert(v, slice(0, 3), s) | np.insert(v, -1, 2) | np.delete(v, 1)
np.delete(x, [0, 2], axis=1) | np.delete(x, slice(0, 2), axis=0) | np.delete(x, 3)
np.delete(v, [True, False, False, True]) | np.tile(v, 2) | np.tile(x, (2, 1, 2)) | np.tile(s, 3) | np.repeat(v, 2)
np.repeat(x, 2, axis=0) | np.repeat(x, [1, 0, 2], axis=0) | x.repeat(3) | np.repeat(x, 0, axis=1)
np.resize(v, (2, 5)) | np.resize(x, 3) | np.roll(v, 1) | np.roll(x, 2) | np.roll(x, -1, axis=1)
np.roll(x, (1, 2), axis=(0, 1)) | np.roll(x, 1, axis=(0, 1)) | np.roll(v, 9) | np.pad(v, 2)
np.pad(x, ((1, 2), (0, 3))) | np.pad(x, 1, constant_values=3.0) | np.pad(v, (1, 2), constant_values=(4, 5))
np.pad(v, 1, constant_values=s) | np.pad(x, ((1, 0), (2, 1)), constant_values=((1, 2), (3, 4)))
np.pad(x, 1, mode="edge") | np.pad(x, (2, 1), mode="reflect") | np.pad(v, 6, mode="reflect")
np.pad(v, 5, mode="symmetric") | np.pad(x, ((0, 2), (7, 1)), mode="wrap") | np.pad(v, 0) | np.diag(v) | np.diag(v, 1)
np.diag(v, -2) | np.diag(x) | np.diag(x, 1) | np.diagflat(x) | np.tril(x) | np.triu(x, 1) | np.tril(c, -1)
np.triu(c) | np.tril(x > 0) | np.meshgrid(v, m[0]) | np.meshgrid(v, m[0], indexing="ij")
np.meshgrid(v, m[0], sparse=True) | np.meshgrid(v, m[0], w[:2]) | np.meshgrid(v) | np.vander(v)
np.vander(v, 3, increasing=True) | np.vander(v, 1)
"""

CREATION = """
np.zeros_like(x) + x | np.ones_like(x) * s | np.full_like(x, 3.0) + x | np.full_like(x, s) | np.empty_like(x).shape
np.zeros(3, like=x) | np.ones((2, 2), like=x) * s | np.full((2, 2), s, like=x) | np.full(3, 2, like=x)
np.full(3, 2.5, like=x) | np.eye(3, like=x) @ x | np.identity(3, like=x) @ x | np.arange(4, like=x) * v
np.arange(0.0, 1.0, 0.25, like=x) + v | np.array([s, t, 1.0], like=x) | np.array([[s, t], [t, s]], like=x)
np.asarray([1.0, 2.0], like=x) | np.asarray(x, like=x) | np.tri(3, like=x) @ x | np.array([1, 2], like=x)
np.array(x, ndmin=3, like=x) | np.array([s, t]) | np.array([[s, t], [t, 2.0]]) * 2 | np.sin(np.array([s, t]))
np.zeros_like(x, dtype=int) | np.zeros_like(x, shape=(2, 2)) | np.zeros_like(x > 0) | np.full(3, s) * 2
np.zeros((2, 3), dtype=np.float32, like=x) | np.zeros(4, dtype=int, like=x) | np.linspace(s, t, 5)
np.linspace(0, s, 4, endpoint=False) | np.linspace(v, w, 3) | np.linspace(v, w, 3, axis=1) | np.linspace(s, t, 1)
np.linspace(s, t, 0) | np.linspace(s, 1, 5, retstep=True) | np.logspace(s, t, 4) | np.logspace(0, s, 3, base=2.0)
np.geomspace(np.exp(s), np.exp(t), 4) | np.geomspace(-np.exp(s), -1.0, 4) | np.linspace(s, t, 5).dtype
np.linspace(0.0, 1.0, 5) * s | np.arange(s, s + 2.2, 0.5, like=x) | np.arange(s, 9.1, np.exp(t) + 0.1, like=x)
np.arange(3.1 + np.exp(s), like=x) * s | np.arange(np.argmax(v), 6, like=x) * s
np.arange(s, -7.3, step=-np.exp(t), like=x)
"""

SELECTING = """
np.where(x > 0, x, z) | np.where(x > 0, x, 0) | np.where(x > 0, 1.0, 2.0) | np.where(v > 0, x, s) | np.where(x > 0)
np.where(x, 1, 2) | np.where(np.arange(4) > 1, v, 0.0) | np.where(True, s, t) | np.where(x > 0, 1, 2) | np.take(v, 2)
np.take(v, [0, -1, 1]) | np.take(x, [[0, 1], [2, 3]]) | np.take(x, [0, 2], axis=1) | np.take(c, 1, axis=-1)
np.take(v, [5, -7], mode="wrap") | np.take(v, [5, -7], mode="clip") | x.take([1, 1])
np.take(x, np.argsort(v), axis=1) | np.take([1.0, 2.0, 3.0, 4.0], np.argsort(v)) | np.take(x, np.array(1), axis=0)
np.take_along_axis(x, np.argsort(z, axis=1), 1) | np.take_along_axis(x, np.array([[0, 1, 1, 0]]), 0)
np.take_along_axis(x, np.array([[-1], [0], [2]]), 1)
np.take_along_axis(x, np.argmax(z, axis=1, keepdims=True), axis=1) | np.take_along_axis(x, np.array([3, 2]), None)
np.take_along_axis(c, np.argsort(c, axis=0), 0) | np.compress([True, False, True], x, axis=0)
np.compress(v > 0, x, axis=1) | np.compress([0, 1, 1], v) | np.extract(x > 0, x) | np.choose([0, 1, 0, 1], [v, w])
np.choose((v > 0).astype(int), [v, w]) | np.choose([0, 3, -1, 1], [v, w], mode="clip")
np.choose([0, 3, -1, 1], [v, w], mode="wrap") | np.select([x > 1, x > 0], [x, z], 7.0)
np.select([x > 1, x > 0], [x * x, 2 * x]) | np.piecewise(v, [v < 0, v >= 0], [lambda a: -a, lambda a: a * a])
np.piecewise(x, [x < 0], [lambda a: -a, 3.0]) | np.piecewise(s, [s < 0], [lambda a: -a, lambda a: a])
np.piecewise(v, v > 0, [np.exp, np.sin]) | np.sort(v) | np.sort(x) | np.sort(x, axis=0) | np.sort(c, axis=1)
np.sort(x, axis=None) | np.argsort(v) | np.argsort(x, axis=0) | v.argsort() | np.argsort(x, axis=None)
np.sort(v)[::-1] | np.partition(v, 2)[2] | np.lexsort((v, w)) | np.lexsort((np.array([0, 1, 0, 1]), v))
np.sort(v[:0]) | np.argmax(x) | np.argmax(x, axis=0) | x.argmin() | np.argmin(c, axis=1, keepdims=True) | np.argmax(v)
v[np.argmax(v)] | np.nanargmax(x, axis=1) | np.nonzero(x > 0) | (x > 0).nonzero() | np.flatnonzero(v > 0)
np.argwhere(x > 0) | np.count_nonzero(x > 0) | np.count_nonzero(x, axis=1) | np.searchsorted(np.arange(4.0), v)
np.searchsorted(np.sort(v), w) | np.searchsorted(np.sort(v), x, side="right") | np.sort(v).searchsorted(0.3)
np.searchsorted(v, w, sorter=np.argsort(v)) | np.digitize(v, np.array([-1.0, 0.0, 1.0]))
np.digitize(v, np.array([1.0, 0.0, -1.0]), right=True) | np.bincount(np.array([0, 2, 2, 5]), v)
np.bincount((v > 0).astype(int)) | np.bincount(np.array([1, 1, 0, 0]), weights=v, minlength=4) | np.clip(x, -0.5, 0.5)
np.clip(x, None, 0.5) | np.clip(x, 0.1, None) | x.clip(-1, 1) | np.clip(x, v - 1, v + 1) | np.clip(x, s, 9)
np.clip(x, min=-0.5) | x.clip(max=0.4) | np.all(x > 0) | np.any(x > 0, axis=0) | (x > -9).all()
np.any(x, axis=1, keepdims=True) | np.logical_and.reduce(x > 0, axis=1) | np.logical_or.reduce(x > 0)
"""


@pytest.mark.parametrize("expression", split(SHAPING))
def test_shapes(expression):
    f, used = function(expression)
    check(f, general(used), differentiate=".astype" not in expression)


@pytest.mark.parametrize("expression", split(JOINING))
def test_joining(expression):
    f, used = function(expression)
    check(f, general(used), differentiate="float32" not in expression)


@pytest.mark.parametrize("expression", split(CREATION))
def test_creation(expression):
    f, used = function(expression)
    check(f, general(used))


@pytest.mark.parametrize("expression", split(SELECTING))
def test_selecting(expression):
    f, used = function(expression)
    check(f, general(used))


ROUNDING = """
np.round(x * 10) | np.round(x * 10, 2) | np.around(x * 100, -1) | x.round(1) | round(v[0], 2) | np.fix(x * 3)
np.floor(x * 3) | np.rint(x * 3) | np.trunc(x * 3) | np.ceil(x * 3) | np.round(np.arange(4) * v, 3) | np.nan_to_num(x)
np.nan_to_num(np.log(x)) | np.nan_to_num(1 / (x * 0), posinf=1.0) | np.isneginf(x) | np.isposinf(np.log(x * 0))
np.sinc(x) | np.angle(x) | np.angle(x, deg=True) | np.unwrap(v * 9) | np.unwrap(x * 5, axis=0) | np.isreal(x)
np.iscomplex(x) | np.real_if_close(x) | np.isclose(x, x + 1e-9) | np.isclose(x, z) | np.allclose(x, z)
np.array_equal(x, x) | np.array_equal(x, v) | np.array_equiv(x, x) | np.result_type(x, 1.0)
np.can_cast(x, np.float32) | np.iscomplexobj(x) | np.isrealobj(x) | np.common_type(x, z) | np.min_scalar_type(x)
np.apply_along_axis(np.sum, 0, x) | np.apply_along_axis(lambda a: a[::-1] * 2, 1, x)
np.apply_over_axes(np.sum, c, (0, 2)) | np.may_share_memory(x, x) | np.shares_memory(x, x.T) | np.shares_memory(x, z)
"""

NUMERICAL = """
np.interp(v, np.arange(-3.0, 4.0), np.sin(np.arange(-3.0, 4.0))) | np.interp(x, np.sort(v), w)
np.interp(0.3, [0.0, 1.0], np.stack([s, t])) | np.interp(v, np.array([0.0, 0.5]), w[:2], left=-1.0, right=s)
np.interp(v * 5, np.array([0.5, 2.0, 3.0]), m[0], period=4.0) | np.interp(v, [0.5], [s]) | np.diff(v)
np.diff(x, axis=0) | np.diff(x, 2) | np.diff(v, prepend=0.0) | np.diff(v, append=s)
np.diff(x, axis=0, prepend=x[:1]) | np.diff(x > 0) | np.diff(v, 0) | np.diff(v, 4) | np.ediff1d(x)
np.ediff1d(v, to_end=1.0, to_begin=[s, t]) | np.gradient(v) | np.gradient(x) | np.gradient(x, axis=1)
np.gradient(v, 0.5) | np.gradient(v, s) | np.gradient(v, np.array([0.0, 1.0, 3.0, 4.5])) | np.gradient(v, np.sort(w))
np.gradient(x, 2.0, 0.5) | np.gradient(v, edge_order=2) | np.gradient(v, np.array([0.0, 1.0, 3.0, 4.5]), edge_order=2)
np.gradient(x, m[0].cumsum(), v.cumsum(), edge_order=2) | np.gradient(np.arange(5) * s)
np.gradient(v, np.arange(4.0)) | np.trapezoid(v) | np.trapezoid(x, axis=0) | np.trapezoid(v, w) | np.trapezoid(x, v)
np.trapezoid(x, z) | np.trapezoid(v, dx=0.5) | np.trapezoid(x, dx=s) | np.trapezoid(x, m[0], axis=0)
np.convolve(v, w) | np.convolve(v, w[:2], "same") | np.convolve(v, w[:3], "same") | np.convolve(w[:2], v, "valid")
np.convolve(v, [1.0, 2.0]) | np.convolve(v, w, "same") | np.convolve(s, v) | np.correlate(v, w)
np.correlate(v, w[:2], "full") | np.correlate(w[:2], v, "full") | np.correlate(w[:3], v, "same")
np.correlate(v, w[:2], "same") | np.correlate(w[:2], v) | np.polyval(v, 0.7) | np.polyval(v, x)
np.polyval([1.0, 2.0, 3.0], s) | np.polyval([1, 2], x) | np.polyder(v) | np.polyder(v, 2) | np.polyint(v)
np.polyint(v, 2, [s, t]) | np.polymul(v, w) | np.polyadd(v, w[:2]) | np.polysub(v[:2], w)
"""


@pytest.mark.parametrize("expression", split(ROUNDING))
def test_rounding_and_queries(expression):
    f, used = function(expression)
    check(f, general(used), differentiate="round" not in expression and "posinf" not in expression)


@pytest.mark.parametrize("expression", split(NUMERICAL))
def test_numerical(expression):
    f, used = function(expression)
    check(f, general(used))


def test_a_range_is_recorded_again_only_for_another_length():
    f = fad.jit(lambda a: np.arange(a, a + 2.5, like=a) ** 2)
    for a in (0.25, 0.5, -3.0, 8.0):
        np.testing.assert_array_equal(f(a), np.arange(a, a + 2.5) ** 2)
    assert f.stats()["paths"] == 1
    grow = fad.grad(lambda a: np.sum(np.arange(0.5, a, like=a)) * a)
    assert [grow(a) for a in (1.0, 2.0, 3.0)] == [0.5, 2.0, 4.5]
