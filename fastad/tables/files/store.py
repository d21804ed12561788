"""Op tables in files: `.npz` archives of plain arrays, which any NumPy can read and which cannot run code.

Layout, version 2. `header` is JSON text (as bytes): the format's name and version, the caller's `meta`, and for every
table its name, value types, source lines, inputs, results, the names of its primitives, and which of the shared
`captured.<k>` arrays it refers to. The tables of sub-programs come before the tables that call them; `subs` has their
numbers, or describes drivers (see `stored_subs`), whose arrays of integers are `integers.<k>`; `rules` are the
derivative rules of sub-programs that have some. `<t>.op`, `<t>.a`, … are the columns and pools of table t. Opcodes are
positions in the table's own list of primitive names, since an opcode may mean another primitive in another version of
fastad.

A file can be wrong, by accident or on purpose. So nothing is unpickled; entries must be uncompressed, so that none is
larger than the file; sizes are checked before memory is allocated; and every table is validated.
"""

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastad.errors import TableError
from fastad.primitives import PRIMITIVES
from fastad.tables.columns import COLUMNS, DTYPES, POOLS, Line, ValueType
from fastad.tables.composites.sub import Sub
from fastad.tables.files.stored_subs import Describer, Restorer, plain_parts
from fastad.tables.table import Table
from fastad.tables.validate import check_types

FORMAT, VERSION = "fastad op tables", 2
_ARRAYS = COLUMNS | POOLS
_ONE = "table"  # name of the table in a file that holds a single one
_SUB = ""  # name of the tables of sub-programs


def save(table: Table, path: str | os.PathLike[str]) -> None:
    """Write a table to the file `path`. Captured arrays are saved by value.

    >>> import os, tempfile
    >>> from fastad.tables.builder import Builder
    >>> b = Builder()
    >>> table = b.table([b.emit("sin", [b.input((3,))])])
    >>> path = os.path.join(tempfile.mkdtemp(), "sine.npz")
    >>> save(table, path)
    >>> load(path) == table
    True
    """
    save_many({_ONE: table}, {}, path)


def load(path: str | os.PathLike[str]) -> Table:
    """Read a table that `save` wrote. Raises `TableError` if the file is not a valid table (see `load_many`)."""
    tables, _ = load_many(path)
    if list(tables) != [_ONE]:
        raise TableError(f"{os.fspath(path)} holds the tables of a saved function; use fastad.load(path)")
    return tables[_ONE]


def save_many(tables: Mapping[str, Table], meta: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write tables, by name, and `meta` (any JSON value) to one file.

    An array that several tables capture is written once. The file appears only when it is complete.
    """
    shared: dict[tuple[int, str], np.ndarray] = {}
    keep: list[Any] = []  # captured objects, which must live as long as their ids are used
    arrays: dict[str, np.ndarray] = {}
    described = []
    numbers: dict[str, int] = {}
    describe = Describer(numbers)
    for number, (name, table) in enumerate(_with_subs(tables, numbers)):
        names, positions = np.unique(table.columns["op"], return_inverse=True)
        arrays |= {f"{number}.{key}": x for key, x in (table.columns | table.pools).items()}
        arrays[f"{number}.op"] = positions.astype(np.uint16)
        captured = [_share(shared, x, kind) for x, kind in zip(table.captured, table.inputs[table.explicit_inputs :])]
        keep.extend(table.captured)
        subs = [describe(sub) for sub in table.subs]
        own = {"ops": [PRIMITIVES[i].name for i in names], "captured": captured, "subs": subs}
        described.append(_describe(table, name) | own)
    arrays |= {f"captured.{k}": x for k, x in enumerate(shared.values())} | describe.arrays
    parts = {"meta": dict(meta), "tables": described, "rules": describe.rules}
    header = json.dumps({"format": FORMAT, "version": VERSION, **parts})
    arrays["header"] = np.frombuffer(header.encode(), np.uint8)
    _write(path, arrays)


def load_many(path: str | os.PathLike[str]) -> tuple[dict[str, Table], dict[str, Any]]:
    """Read the tables and the `meta` that `save_many` wrote.

    Raises `TableError`, which names the file, if the file is damaged, has another format or version, or holds a table
    that is not a valid program; `OSError` if it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except Exception as error:  # whatever a parser raises for these bytes, the file is not valid
            reason = str(error) or type(error).__name__
            raise TableError(f"{os.fspath(path)} is not a valid fastad file: {reason}") from error


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────
def _with_subs(tables: Mapping[str, Table], numbers: dict[str, int]) -> list[tuple[str, Table]]:
    """All tables, those of sub-programs first. `numbers` gets the positions of the latter, by their keys."""
    found: list[tuple[str, Table]] = []
    ruled: list[Sub] = []
    for table in tables.values():
        _collect_subs(table.subs, found, numbers, ruled)
    while ruled:  # last, as a rule may call the sub-program that it is for
        _collect_subs(ruled.pop().rules.parts, found, numbers, ruled)
    return [*found, *tables.items()]


def _collect_subs(
    subs: Iterable[Sub], found: list[tuple[str, Table]], numbers: dict[str, int], ruled: list[Sub]
) -> None:
    for sub in (part for composite in subs for part in plain_parts(composite)):
        if sub.table is None:
            raise TableError(f"{sub.name} calls Python code, which cannot be saved; write it with NumPy")
        if sub.key not in numbers:
            _collect_subs(sub.table.subs, found, numbers, ruled)
            numbers[sub.key] = len(found)
            found.append((_SUB, sub.table))
            if sub.rules is not None:
                ruled.append(sub)


def _describe(table: Table, name: str) -> dict[str, Any]:
    return {
        "name": name, "types": table.types, "lines": table.lines, "inputs": table.inputs, "outputs": table.outputs
    }  # fmt: skip


def _share(shared: dict[tuple[int, str], np.ndarray], x: Any, kind: ValueType) -> int:
    """The number of the captured array x among those in the file."""
    key = (id(x), kind.dtype)
    if key not in shared:
        dtype: Any = DTYPES[kind.dtype]
        data = np.ascontiguousarray(x, dtype).reshape(np.shape(x))
        if data.shape != kind.shape:
            raise TableError(
                f"a captured array has shape {data.shape} now, but had shape {kind.shape} when it was recorded; "
                "call the function again before saving"
            )
        shared[key] = data
    return list(shared).index(key)


def _write(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write a temporary file and rename it, so that a reader never sees an incomplete file."""
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    """The mask for permissions of new files. The system returns it only when it is set."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────
def _read(file: BinaryIO) -> tuple[dict[str, Table], dict[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        _check_sizes(archive, file)
        header = json.loads(_array(archive, "header", np.uint8).tobytes())
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise TableError("its header does not say that it holds op tables")
        if header.get("version") != VERSION:
            raise TableError(
                f"its format has version {header.get('version')!r}; this version of fastad reads {VERSION}"
            )
        described, meta = _typed(header, "tables", list), _typed(header, "meta", dict)
        cache: dict[int, np.ndarray] = {}
        everything: list[tuple[str, Table]] = []
        rules = _typed(header, "rules", list) if "rules" in header else []
        restore = Restorer(everything, rules, lambda name: _array(archive, name, np.int64))
        for number, one in enumerate(described):
            everything.append((_typed(one, "name", str), _table(archive, number, one, cache, restore)))
        restore.check_rules()
        tables = {name: table for name, table in everything if name != _SUB}
        if len(tables) != sum(name != _SUB for name, _ in everything):
            raise TableError("two tables have the same name")
        return tables, meta


def _check_sizes(archive: zipfile.ZipFile, file: BinaryIO) -> None:
    """TableError if an entry claims more bytes than the file has: then reading it might take any amount of memory."""
    members = archive.infolist()
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
        raise TableError("an entry is compressed or encrypted")
    if len({m.filename for m in members}) != len(members):
        raise TableError("two entries have the same name")
    if sum(m.file_size for m in members) > os.fstat(file.fileno()).st_size:
        raise TableError("the entries are larger than the file")


def _array(archive: zipfile.ZipFile, name: str, dtype: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """An array of the archive, of exactly this dtype and this shape (None: one-dimensional)."""
    with archive.open(f"{name}.npy") as entry:
        if np.lib.format.read_magic(entry) != (1, 0):
            raise TableError(f"array {name!r} is in another version of NumPy's format")
        found, fortran, kind = np.lib.format.read_array_header_1_0(entry)
        if kind != dtype or fortran or (len(found) != 1 if shape is None else found != shape):
            raise TableError(f"array {name!r} has an unexpected dtype or shape")
        data = entry.read()
    if min(found, default=0) < 0 or len(data) != math.prod(found) * kind.itemsize:
        raise TableError(f"array {name!r} does not have the size that its header says")
    return np.frombuffer(data, dtype).reshape(found)


def _table(
    archive: zipfile.ZipFile, number: int, described: Any, cache: dict[int, np.ndarray], restore: Restorer
) -> Table:
    names = _typed(described, "ops", list)
    known = {row.name: code for code, row in enumerate(PRIMITIVES)}
    unknown = sorted(str(name) for name in names if not isinstance(name, str) or name not in known)
    if unknown:
        raise TableError(f"this version of fastad has no primitive {', '.join(unknown[:5])}")
    arrays = {key: _array(archive, f"{number}.{key}", dtype) for key, dtype in _ARRAYS.items()}
    arrays["op"] = _remapped(arrays["op"], [known[name] for name in names])
    types = _types(_typed(described, "types", list))
    inputs = _types(_typed(described, "inputs", list))
    check_types((*types, *inputs))
    captured = _captured(archive, _typed(described, "captured", list), inputs, cache)
    return Table(
        {key: arrays[key] for key in COLUMNS}, {key: arrays[key] for key in POOLS}, types,
        _lines(_typed(described, "lines", list)), inputs, _integers(_typed(described, "outputs", list)), captured,
        tuple(map(restore, _typed(described, "subs", list))),
    )  # fmt: skip


def _remapped(op: np.ndarray, codes: list[int]) -> np.ndarray:
    if len(op) and op.max() >= len(codes):
        raise TableError("a row has an unknown primitive")
    return np.array(codes, np.uint16)[op] if codes else op


def _captured(
    archive: zipfile.ZipFile, numbers: list[Any], inputs: tuple[ValueType, ...], cache: dict[int, np.ndarray]
) -> tuple[np.ndarray, ...]:
    if len(numbers) > len(inputs):
        raise TableError("there are more captured arrays than inputs")
    found = []
    for k, kind in zip(_integers(numbers), inputs[len(inputs) - len(numbers) :], strict=True):
        if k not in cache:
            cache[k] = _array(archive, f"captured.{k}", DTYPES[kind.dtype], kind.shape)
        found.append(cache[k])
    return tuple(found)


# ── JSON values of the expected kinds ─────────────────────────────────────────────────────────────────────────
def _typed(described: Any, key: str, kind: type) -> Any:
    value = described.get(key) if isinstance(described, dict) else None
    if not isinstance(value, kind):
        raise TableError(f"its header has no valid {key!r}")
    return value


def _integers(values: Iterable[Any]) -> tuple[int, ...]:
    found = tuple(values)
    if any(type(x) is not int for x in found):
        raise TableError("its header has a value that should be an integer")
    return found


def _types(values: list[Any]) -> tuple[ValueType, ...]:
    if any(not isinstance(v, list) or len(v) != 2 or not isinstance(v[0], list) for v in values):
        raise TableError("its header has an invalid value type")
    return tuple(ValueType(_integers(shape), dtype) for shape, dtype in values)


def _lines(values: list[Any]) -> tuple[Line, ...]:
    for v in values:
        if not isinstance(v, list) or [type(x) for x in v] != [str, int, str, str]:
            raise TableError("its header has an invalid source line")
    return tuple(Line(*v) for v in values)
