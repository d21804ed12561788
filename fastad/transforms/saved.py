"""Saved functions: the tables of all recorded paths, and the structures of arguments and results as JSON."""

import json
import os
import tempfile
from typing import Any

from fastad.errors import ShapeError, TableError
from fastad.execution.compiled import Compiled, GuardFailed, Plan
from fastad.tables.reference import Stopped
from fastad.tables.store import load_many, save_many
from fastad.tables.table import Table
from fastad.transforms.base import Path, Transformed
from fastad.transforms.call import Call, flatten, unflatten
from fastad.transforms.program import Fixed, Program, run_by_numpy

_SCALARS = (str, int, float, bool, type(None))


class Loaded(Transformed):
    """A function from a file. It can be called and differentiated, without its source, for the saved structures of
    arguments."""

    def __init__(self, name: str, entries: list[tuple[dict[str, Any], Program]]) -> None:
        super().__init__(_no_source)
        self.__name__ = name
        self._entries = entries

    def program(self, call: Call) -> Program:
        signature = _signature(call)
        wanted = json.dumps(signature)  # compared as text, because True == 1
        fitting = [p for s, p in self._entries if json.dumps(s) == wanted]
        if not fitting:
            known = "; ".join(sorted({_readable(s) for s, _ in self._entries}))
            raise ShapeError(
                f"{self.__name__} was saved for arguments {known}, not for {_readable(signature)}; call it with these "
                "and save it again"
            )
        for takes in (_takes, _takes_by_numpy):
            for program in fitting:
                if takes(program, call):
                    return program
        raise TableError(
            f"{self.__name__}: these arguments lead to a path that was not recorded before saving; call the original "
            "function with them and save it again"
        )


def _no_source() -> None:
    """In place of the source of a loaded function."""


def _takes(program: Program, call: Call) -> bool:
    """Whether a call passes the guards of a path."""
    if not program.table.guards:
        return True
    try:
        Compiled(Plan(program.table), "sweep")([*program.gather(call.inputs), *program.table.captured])
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


def save(function: Transformed, target: Any) -> None:
    """Write the recorded paths of a function to a file: those for what it reads from outside now."""
    if isinstance(function, Loaded) and not function._paths:
        return _save_entries(function, target)
    tables: dict[str, Table] = {}
    entries = []
    now = function._outside.read().key
    for (call_key, seen), first in list(function._paths.items()):
        for path in _with_successors(first) if seen == now else ():
            number = f"path{len(tables)}"
            tables[number] = path.program.table
            entries.append(_described(call_key, path.program, number))
    if not tables:
        raise TableError(
            f"{function.__name__} has no recording for the values that it refers to now: call it once before saving"
        )
    save_many(tables, {"name": function.__name__, "entries": entries}, target)


def _save_entries(function: Loaded, target: Any) -> None:
    """Write a loaded function that has not been called: all that it was loaded with."""
    tables = {f"path{k}": program.table for k, (_, program) in enumerate(function._entries)}
    entries = [_entry(s, p, f"path{k}") for k, (s, p) in enumerate(function._entries)]
    save_many(tables, {"name": function.__name__, "entries": entries}, target)


def _with_successors(path: Path) -> list[Path]:
    own = [path] if path.is_current() else []
    return [*own, *(p for after in path.after.values() for p in _with_successors(after))]


def _described(call_key: Any, program: Program, number: str) -> dict[str, Any]:
    tree, *kinds = call_key
    return _entry(_encode(unflatten(tree, [_encode_kind(k) for k in kinds])), program, number)


def _entry(arguments: Any, program: Program, number: str) -> dict[str, Any]:
    return {
        "table": number,
        "arguments": arguments,
        "sources": list(program.sources),
        "result": _encode(unflatten(program.out_tree, [_encode_leaf(x) for x in program.out_leaves]), keep_order=True),
    }


def load(path: Any) -> Loaded:
    """A function saved by `.save(path)`. It can be called and differentiated without its source.

    Raises `TableError` if the file is not a saved function. Nothing is unpickled, so a file cannot run code.

    >>> import os, tempfile, numpy as np, fastad as fad
    >>> f = fad.jit(lambda x: np.sum(x**2))
    >>> _ = f(np.ones(3))
    >>> path = os.path.join(tempfile.mkdtemp(), "f.npz")
    >>> f.save(path)
    >>> fad.grad(fad.load(path))(np.ones(3))
    array([2., 2., 2.])
    """
    tables, meta = load_many(path)
    try:
        entries = [_restored(entry, tables) for entry in meta["entries"]]
        return Loaded(str(meta["name"]), entries)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise TableError(f"{os.fspath(path)} is not a saved function: {error}") from None


def _restored(entry: dict[str, Any], tables: dict[str, Table]) -> tuple[dict[str, Any], Program]:
    table = tables[entry["table"]]
    _readable(entry["arguments"])  # raises unless this describes arguments
    leaves, tree = flatten(_decode(entry["result"]))
    out_leaves = tuple(None if x.output else Fixed(x.value) for x in leaves)
    sources = tuple(int(n) for n in entry["sources"])
    if len(sources) != table.explicit_inputs or sorted(sources) != list(range(len(sources))):
        raise ValueError("the inputs do not fit the table")
    if sum(x is None for x in out_leaves) != len(table.outputs):
        raise ValueError("the results do not fit the table")
    return entry["arguments"], Program(Plan(table), sources, (), tree, out_leaves)


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
    return {"list": list, "tuple": tuple}[key](_decode(x) for x in value)


def _signature(call: Call) -> Any:
    tree, *kinds = call.key
    return _encode(unflatten(tree, [_encode_kind(k) for k in kinds]))


def _readable(signature: Any) -> str:
    if "input" in signature:
        shape, dtype = signature["input"]
        return f"{dtype}{shape}"
    ((key, value),) = signature.items()
    if key in ("list", "tuple"):
        return f"({', '.join(_readable(x) for x in value)})"
    return f"{{{', '.join(f'{k}: {_readable(v)}' for k, v in value)}}}" if key == "dict" else repr(value)


# ── pickling ──────────────────────────────────────────────────────────────────────────────────────────────────
def to_bytes(function: Transformed) -> bytes:
    """The saved file as bytes, for pickles of a transformed function."""
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "function.npz")
        save(function, name)
        with open(name, "rb") as file:
            return file.read()


def restore(data: bytes, tier: str, threads: int | None) -> Loaded:
    """The function that `to_bytes` saved."""
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "function.npz")
        with open(name, "wb") as file:
            file.write(data)
        loaded = load(name)
    loaded.tier, loaded.threads = tier, threads
    return loaded
