"""Object code linked into this process: ELF files for x86-64, as LLVM writes them for position-independent code.

LLVM's own linker does this for other systems (see `jitlink`); here its library need not even be loaded. Sources: System
V ABI, chapters "Object Files" and "Program Loading", and its AMD64 supplement, section 4.4, "Relocation".
"""

import ctypes
import mmap
import platform
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fastad.errors import CompileError

IS_KNOWN = sys.platform.startswith("linux") and platform.machine() == "x86_64" and sys.maxsize > 2**32

_SECTION = np.dtype(
    [("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"), ("size", "<u8"),
     ("link", "<u4"), ("info", "<u4"), ("alignment", "<u8"), ("entry", "<u8")]
)  # fmt: skip
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_RELOCATION = np.dtype([("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8")])

_SYMBOLS, _RELOCATIONS, _NO_BITS = 2, 4, 8  # types of sections
_UNWIND = b".eh_frame"  # the name of a section
_WRITE, _ALLOCATE, _THREAD_LOCAL = 1, 2, 0x400  # flags of sections
_UNDEFINED, _ABSOLUTE, _RESERVED = 0, 0xFFF1, 0xFF00  # sections of symbols

# Types of relocations, by what is written: S symbol's address, A addend, P place, G entry of the table of addresses,
# L a jump to the symbol.
_ADDRESS = (1,)  # S + A, 8 bytes
_DISTANCE = (2,)  # S + A − P, 4 bytes
_FAR_DISTANCE = (24,)  # the same, 8 bytes
_CALL = (4,)  # L + A − P, 4 bytes
_ENTRY = (9, 41, 42)  # G + A − P, 4 bytes

_KNOWN = _ADDRESS, _DISTANCE, _FAR_DISTANCE, _CALL, _ENTRY

_READ_AND_RUN = 5  # protection of memory
_JUMP = struct.Struct("<BBi")  # jmp *distance(%rip)


class UnlinkableError(Exception):
    """An object has what is not known here."""


class Object(NamedTuple):
    """The parts of an object that matter here."""

    code: bytes
    sections: np.ndarray
    symbols: np.ndarray
    names: list[str]


class Linked(NamedTuple):
    """Memory with code in it, and the addresses of functions. Keep it as long as they are called."""

    memory: mmap.mmap
    addresses: dict[str, int]


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────
def read(code: bytes) -> Object:
    """The sections and symbols of an object; CompileError if it is damaged."""
    if code[:6] != b"\x7fELF\x02\x01":
        raise CompileError("object code is damaged: it is not an ELF file")
    try:
        (start,) = struct.unpack_from("<Q", code, 0x28)
        (count,) = struct.unpack_from("<H", code, 0x3C)
        if not count:  # more than the field holds
            count = int(np.frombuffer(code, _SECTION, 1, start)["size"][0])
        sections = np.frombuffer(code, _SECTION, count, start)
        return Object(code, sections, *_symbols(code, sections))
    except (struct.error, IndexError, ValueError, OverflowError, MemoryError) as error:
        raise CompileError(f"object code is damaged: {error}") from None


def _symbols(code: bytes, sections: np.ndarray) -> tuple[np.ndarray, list[str]]:
    tables = sections[sections["type"] == _SYMBOLS]
    if len(tables) != 1:
        raise ValueError(f"{len(tables)} tables of symbols")
    symbols = _contents(code, tables[0]).view(_SYMBOL)
    strings = int(sections[tables[0]["link"]]["offset"])
    starts = [strings + name for name in symbols["name"].tolist()]
    return symbols, [code[at : code.index(b"\0", at)].decode("ascii") for at in starts]


def _contents(code: bytes, section: np.void) -> np.ndarray:
    return np.frombuffer(code, np.uint8, int(section["size"]), int(section["offset"]))


def undefined(found: Object) -> list[str]:
    """Names that an object needs from elsewhere. The first symbol is a placeholder, undefined by convention."""
    return [found.names[k] for k in np.flatnonzero(found.symbols["section"] == _UNDEFINED).tolist() if k > 0]


# ── linking ───────────────────────────────────────────────────────────────────────────────────────────────────
def link(found: Object, names: Iterable[str], externals: dict[str, int]) -> Linked:
    """Put an object into memory; `externals` has the addresses of what it needs from elsewhere.

    Raises CompileError if one of `names` is missing or the object is damaged, UnlinkableError if it has what is not
    known here.
    """
    try:
        return _Linking(found, externals).linked(names)
    except (IndexError, ValueError, OverflowError, OSError, MemoryError, struct.error) as error:
        raise CompileError(f"object code does not link: {error}") from None


class _Linking:
    """Layout of the memory: sections that nothing writes, jumps, addresses; on pages of their own, the other sections.

    Every external function has a jump, since it may be farther away than a distance of 4 bytes reaches, and every
    symbol that is asked for in this way has an entry in the table of addresses.
    """

    def __init__(self, found: Object, externals: dict[str, int]) -> None:
        self.object = found
        self.loaded = _loaded(found)
        self._refuse()
        self.relocations = self._relocations()
        self.starts, size = self._layout()
        self.memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.bytes = np.frombuffer(self.memory, np.uint8)
        self.base = int(self.bytes.ctypes.data)
        self.addresses = self._addresses(externals)

    def linked(self, names: Iterable[str]) -> Linked:
        for at, start in self.starts.items():
            section = self.object.sections[at]
            if section["type"] != _NO_BITS:
                self.bytes[start : start + int(section["size"])] = _contents(self.object.code, section)
        self._write_entries()
        for at, relocations in self.relocations:
            self._relocate(self.starts[at], int(self.object.sections[at]["size"]), relocations)
        _protect(self.base, self.written)
        known = {self.object.names[k]: k for k in np.flatnonzero(self.object.symbols["section"]).tolist()}
        if missing := [name for name in names if name not in known]:
            raise CompileError(f"object code has no function {', '.join(missing)}")
        return Linked(self.memory, {name: int(self.addresses[known[name]]) for name in names})

    def _refuse(self) -> None:
        own = self.object.symbols["section"]
        if np.any(self.object.sections["flags"] & _THREAD_LOCAL) or np.any((own >= _RESERVED) & (own != _ABSOLUTE)):
            raise UnlinkableError("variables of threads and common symbols are not known here")

    def _relocations(self) -> list[tuple[int, np.ndarray]]:
        """By section; those of the tables for unwinding, which nothing reads, are left out."""
        tables = self.object.sections[self.object.sections["type"] == _RELOCATIONS]
        own = [(int(table["info"]), _contents(self.object.code, table).view(_RELOCATION)) for table in tables]
        return [(at, found) for at, found in own if at in self.loaded]

    def _layout(self) -> tuple[dict[int, int], int]:
        starts: dict[int, int] = {}
        fixed = [k for k in self.loaded if not self.object.sections[k]["flags"] & _WRITE]
        at = self._place(fixed, 0, starts)
        self.jumps = at = _up(at, 8)
        self.table = at = at + 8 * len(self.object.symbols)
        self.written = _up(at + 8 * len(self.object.symbols), mmap.PAGESIZE)
        changed = [k for k in self.loaded if self.object.sections[k]["flags"] & _WRITE]
        return starts, self._place(changed, self.written, starts)

    def _place(self, sections: list[int], at: int, starts: dict[int, int]) -> int:
        for k in sections:
            at = _up(at, max(int(self.object.sections[k]["alignment"]), 1))
            starts[k] = at
            at += int(self.object.sections[k]["size"])
        return at

    def _addresses(self, externals: dict[str, int]) -> np.ndarray:
        """Of all symbols."""
        symbols = self.object.symbols
        offsets = np.zeros(len(self.object.sections), np.int64)
        for k, start in self.starts.items():
            offsets[k] = self.base + start
        own = symbols["section"].astype(np.int64)
        values = symbols["value"].astype(np.int64)
        placed = own < _RESERVED
        values[placed] += offsets[own[placed]]
        for k in np.flatnonzero(own == _UNDEFINED).tolist():
            values[k] = np.uint64(externals.get(self.object.names[k], 0)).astype(np.int64)
        return values

    def _write_entries(self) -> None:
        """The table of addresses, and jumps through it."""
        count, size = len(self.addresses), _JUMP.size
        self.bytes[self.table : self.table + 8 * count] = self.addresses.view(np.uint8)
        distance = self.table - self.jumps - size  # the same from every jump, as both take 8 bytes
        one = np.frombuffer(_JUMP.pack(0xFF, 0x25, distance) + b"\xcc\xcc", np.uint8)
        self.bytes[self.jumps : self.table] = np.tile(one, count)

    def _relocate(self, start: int, size: int, relocations: np.ndarray) -> None:
        types, symbols = relocations["type"], relocations["symbol"].astype(np.int64)
        places = relocations["offset"].astype(np.int64)
        if unknown := set(types.tolist()).difference(*_KNOWN):
            raise UnlinkableError(f"relocations of type {min(unknown)} are not known here")
        widths = np.where(_are(types, _ADDRESS + _FAR_DISTANCE), 8, 4)
        if np.any(places < 0) or np.any(places + widths > size):
            raise ValueError("a relocation lies outside of its section")
        is_external = self.object.symbols["section"][symbols] == _UNDEFINED
        targets = self.addresses[symbols]
        jumps, entries = self.base + self.jumps + 8 * symbols, self.base + self.table + 8 * symbols
        here = self.base + start + places
        kinds = (
            (_ADDRESS, 8, targets, 0), (_FAR_DISTANCE, 8, targets, here), (_DISTANCE, 4, targets, here),
            (_CALL, 4, np.where(is_external, jumps, targets), here), (_ENTRY, 4, entries, here),
        )  # fmt: skip
        for kind, width, values, origin in kinds:
            chosen = _are(types, kind)
            found = (values + relocations["addend"] - origin)[chosen]
            if width == 4 and np.any(found != found.astype(np.int32)):
                raise UnlinkableError("something is too far away")
            octets = found.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
            self.bytes[(start + places[chosen])[:, None] + np.arange(width)] = octets


def _loaded(found: Object) -> list[int]:
    """The sections that are put into memory: empty ones, which may be pointed at, but no tables for unwinding."""
    (strings,) = struct.unpack_from("<H", found.code, 0x3E)
    if strings >= _RESERVED:
        raise UnlinkableError("so many sections are not known here")
    start, loaded = int(found.sections[strings]["offset"]), []
    for k in np.flatnonzero(found.sections["flags"] & _ALLOCATE).tolist():
        name = start + int(found.sections[k]["name"])
        if found.code[name : name + len(_UNWIND)] != _UNWIND:
            loaded.append(k)
    return loaded


def _are(types: np.ndarray, kinds: Sequence[int]) -> np.ndarray:
    """Whether each of the types is one of a few. (`np.isin` sorts, which is 200 kB of code.)"""
    found = types == kinds[0]
    for kind in kinds[1:]:
        found |= types == kind
    return found


def _up(at: int, alignment: int) -> int:
    return -(-at // alignment) * alignment


def _protect(base: int, size: int) -> None:
    """Code and constants can be run and read, and no longer be written."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(size), _READ_AND_RUN):
        raise CompileError(f"memory cannot be made executable (error {ctypes.get_errno()})")
