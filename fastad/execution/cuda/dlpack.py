"""DLPack: capsules by which libraries hand arrays to each other without a copy (dlpack.h, version 0.8)."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
ON_DEVICE = (CUDA, CUDA_MANAGED)
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_NAME, _USED = b"dltensor", b"used_dltensor"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    pass


_DELETER = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))
_CAPSULE_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_new, _pointer = ctypes.pythonapi.PyCapsule_New, ctypes.pythonapi.PyCapsule_GetPointer
_is_valid, _rename = ctypes.pythonapi.PyCapsule_IsValid, ctypes.pythonapi.PyCapsule_SetName
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p)
_rename.restype, _rename.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p)

_held: dict[int, Any] = {}  # what consumers still use, by the address of its description


def capsule(keeper: Any, address: int, shape: Sequence[int], dtype: np.dtype[Any], device: tuple[int, int]) -> Any:
    """A capsule of contiguous memory, which `keeper` holds until the consumer has done with it."""
    managed = _Managed()
    sizes = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    managed.tensor = _Tensor(
        address, *device, len(shape), _CODES[dtype.kind], 8 * dtype.itemsize, 1,
        ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)), None, 0,
    )  # fmt: skip
    managed.deleter = _release
    where = ctypes.addressof(managed)
    _held[where] = managed, sizes, keeper
    return _new(where, _NAME, ctypes.cast(_drop, ctypes.c_void_p))


@_DELETER
def _release(managed: Any) -> None:
    """The consumer has done with it."""
    _held.pop(ctypes.addressof(managed.contents), None)


@_CAPSULE_DELETER
def _drop(capsule: int) -> None:
    """The capsule goes; if nobody has consumed it, so does what it describes."""
    if _is_valid(capsule, _NAME):
        _held.pop(_pointer(capsule, _NAME), None)


class _Consumed:
    """Another library's memory; it is told when this goes."""

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.contents.deleter:
            self.managed.contents.deleter(self.managed)


def read(x: Any, stream: int) -> tuple[int, tuple[int, ...], np.dtype[Any], tuple[int, ...] | None, Any]:
    """Address, shape, dtype, strides in bytes (None: contiguous) and keeper of an array that has `__dlpack__`, which
    work on a stream may read."""
    found = x.__dlpack__(stream=stream)
    managed = ctypes.cast(_pointer(id(found), _NAME), ctypes.POINTER(_Managed))
    _rename(id(found), _USED)
    keeper = _Consumed(managed)
    t = managed.contents.tensor
    kinds = {code: kind for kind, code in _CODES.items()}
    if t.code not in kinds or t.lanes != 1:
        raise TypeError(f"an array on the device has a dtype that NumPy has not (DLPack's code {t.code})")
    dtype = np.dtype(f"{kinds[t.code]}{t.bits // 8}")
    shape = tuple(t.shape[: t.ndim])
    strides = tuple(dtype.itemsize * n for n in t.strides[: t.ndim]) if t.strides else None
    return (t.data or 0) + t.byte_offset, shape, dtype, strides, keeper
