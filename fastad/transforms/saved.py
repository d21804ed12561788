"""Saved functions: the tables of all recorded paths, and the structures of arguments and results as JSON."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from fastad.errors import ShapeError, TableError
from fastad.execution.compiled import Compiled
from fastad.execution.executors import SWEEP
from fastad.execution.kernel import GuardFailed
from fastad.execution.request import Request
from fastad.recording.complex_operands import Parts, is_complex_result
from fastad.recording.source import at_line
from fastad.tables.reference import Stopped
from fastad.tables.table import Table
from fastad.transforms.call import Call, flatten, unflatten
from fastad.transforms.program import Fixed, Program, run_by_numpy

T = TypeVar("T")
_SCALARS = (str, int, float, bool, type(None))


_CHANGING = {"input": [[], "n"]}


class Unrecorded(TableError):
    """The arguments lead to a path that was not recorded before the function was saved."""


Entry = tuple[dict[str, Any], Program]  # a signature as JSON, and the program for it


def program_for(name: str, entries: list[Entry], call: Call) -> Program:
    """The program that was saved for calls like this one."""
    signature = _signature(call.key)
    wanted = json.dumps(signature)  # as text, True and 1 differ
    fitting = [p for s, p in entries if json.dumps(s) == wanted]
    if not fitting:
        known = "; ".join(sorted({_arguments(s) for s, _ in entries}))
        raise ShapeError(
            f"{name} was saved for arguments {known}, not for {_arguments(signature)}{at_line()}; call the "
            "original function with these and save it again"
        )
    for takes in (_takes, _takes_by_numpy):
        for program in fitting:
            if takes(program, call):
                return program
    raise Unrecorded(
        f"{name}: these arguments lead to a path that was not recorded before saving; call the original function with "
        "them and save it again"
    )


def with_inputs(entries: list[Entry], call: Call) -> Call:
    """The call with those of its integers as inputs that were inputs of the saved function."""
    for signature, _ in entries:
        codes = list(_codes(signature))
        if len(codes) == len(call.leaves):
            pairs = enumerate(zip(call.leaves, codes, strict=True))
            found = call.changing([k for k, (x, code) in pairs if type(x) is int and code == _CHANGING])
            if json.dumps(_signature(found.key)) == json.dumps(signature):
                return found
    return call


def _codes(signature: Any) -> Iterator[Any]:
    """The encoded leaves of a signature, in order."""
    ((key, value),) = signature.items()
    if key in ("list", "tuple", "dict", "complex"):
        for part in value:
            yield from _codes(part[1] if key == "dict" else part)
    else:
        yield signature


def _takes(program: Program, call: Call) -> bool:
    """Whether a call passes the guards of a path."""
    if not program.table.guards:
        return True
    try:
        Compiled(Request(program.table), SWEEP.name)([*program.gather(call.inputs), *program.table.captured])
    except GuardFailed:
        return False
    return True


def _takes_by_numpy(program: Program, call: Call) -> bool:
    """`_takes`, computed by NumPy as in the recording: kernels may round differently, and a guard may then fail."""
    try:
        run_by_numpy(program, call.inputs)
    except Stopped:
        return False
    return True


def described(call_key: Any, program: Program) -> Entry:
    """What is saved of a path that was recorded for calls with this key."""
    return _signature(call_key), program


def save(name: str, entries: list[Entry], target: Any) -> None:
    """Write programs to a file, with the signatures that they were recorded for."""
    tables = {f"path{k}": program.table for k, (_, program) in enumerate(entries)}
    listed = [_entry(signature, program, f"path{k}") for k, (signature, program) in enumerate(entries)]
    from fastad.tables.files.store import save_many

    save_many(tables, {"name": name, "entries": listed}, target)


def _entry(arguments: Any, program: Program, number: str) -> dict[str, Any]:
    return {
        "table": number,
        "arguments": arguments,
        "sources": list(program.sources),
        "result": _encode(unflatten(program.out_tree, [_encode_leaf(x) for x in program.out_leaves]), keep_order=True),
    }


def load(path: Any) -> tuple[str, list[Entry]]:
    """Name and programs from a file; raises `TableError` if it is not a saved function."""
    from fastad.tables.files.store import load_many

    tables, meta = load_many(path)
    try:
        return str(meta["name"]), [_restored(entry, tables) for entry in meta["entries"]]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise TableError(f"{os.fspath(path)} is not a saved function: {error}") from None


def _restored(entry: dict[str, Any], tables: dict[str, Table]) -> Entry:
    table = tables[entry["table"]]
    _readable(entry["arguments"])  # raises unless this describes arguments
    leaves, tree = flatten(_decode(entry["result"]))
    out_leaves = tuple(None if x.output else Fixed(x.value) for x in leaves)
    sources = tuple(int(n) for n in entry["sources"])
    if len(sources) != table.explicit_inputs or sorted(sources) != list(range(len(sources))):
        raise ValueError("the inputs do not fit the table")
    if sum(x is None for x in out_leaves) != len(table.outputs):
        raise ValueError("the results do not fit the table")
    return entry["arguments"], Program(Request(table), sources, (), tree, out_leaves)


# ── structures as JSON ────────────────────────────────────────────────────────────────────────────────────────
class _Leaf:
    """A leaf of a result: an output of the table, or a static value."""

    def __init__(self, value: Any = None, output: bool = False) -> None:
        self.value, self.output = value, output


class _Coded(dict[str, Any]):
    """An encoded leaf: a dict with one key. A class of its own, because a user's dict may have the same key."""


def _encode_kind(kind: tuple[Any, ...]) -> dict[str, Any]:
    if kind[0] == "input":
        return _Coded(input=[list(kind[1]), kind[2]])
    if not isinstance(kind[2], _SCALARS):
        raise TableError(
            f"a static argument of type {kind[1].__name__} cannot be saved; use numbers, text, None and arrays"
        )
    return _Coded(static=kind[2])


def _encode_leaf(leaf: Any) -> dict[str, Any]:
    if leaf is None:
        return _Coded(output=True)
    if not isinstance(leaf.value, _SCALARS):
        raise TableError(
            f"a result of type {type(leaf.value).__name__} cannot be saved; return arrays, numbers, text or None"
        )
    return _Coded(static=leaf.value)


def _encode(tree: Any, keep_order: bool = False) -> Any:
    """A pytree of encoded leaves as JSON. Equal arguments give the same text."""
    if isinstance(tree, _Coded):
        return tree
    if type(tree) in (list, tuple):
        return {type(tree).__name__: [_encode(x, keep_order) for x in tree]}
    if type(tree) is dict and all(isinstance(k, str) for k in tree):
        items = tree.items() if keep_order else sorted(tree.items())
        return {"dict": [[k, _encode(v, keep_order)] for k, v in items]}
    if is_complex_result(tree):
        return {"complex": [_encode(tree.real), _encode(tree.imag)]}
    raise TableError(
        f"arguments and results of type {type(tree).__name__} cannot be saved; use lists, tuples and dicts"
    )


def _decode(node: Any) -> Any:
    ((key, value),) = node.items()
    if key == "output":
        return _Leaf(output=True)
    if key == "static":
        return _Leaf(value)
    if key == "dict":
        return {str(k): _decode(v) for k, v in value}
    if key == "complex":
        real, imag = map(_decode, value)
        return Parts(real, imag)
    return {"list": list, "tuple": tuple}[key](_decode(x) for x in value)


def _signature(call_key: Any) -> Any:
    tree, *kinds = call_key
    return _encode(unflatten(tree, [_encode_kind(k) for k in kinds]))


def _arguments(signature: Any) -> str:
    positional, keywords = signature["tuple"]
    return _readable(positional) + (f" and {_readable(keywords)}" if keywords["dict"] else "")


def _readable(signature: Any) -> str:
    if "input" in signature:
        shape, dtype = signature["input"]
        return f"{'int' if dtype == 'n' else np.dtype(dtype).name}{shape or ''}"
    ((key, value),) = signature.items()
    if key == "complex":
        return f"complex {_readable(value[0])}"
    if key in ("list", "tuple"):
        return f"({', '.join(_readable(x) for x in value)})"
    return f"{{{', '.join(f'{k}: {_readable(v)}' for k, v in value)}}}" if key == "dict" else repr(value)


# ── pickling ──────────────────────────────────────────────────────────────────────────────────────────────────
def to_bytes(write: Callable[[str], None]) -> bytes:
    """What `write(name)` writes to a file of that name; this is what a compiled function pickles as."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "function.npz")
        write(name)
        with open(name, "rb") as file:
            return file.read()


def from_bytes(data: bytes, read: Callable[[str], T]) -> T:
    """What `read(name)` finds in a file of that name that has these bytes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "function.npz")
        with open(name, "wb") as file:
            file.write(data)
        return read(name)
