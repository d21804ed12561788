"""Straight-line code: unrolled rows, their elements in registers."""

from itertools import islice
from typing import Any

import numpy as np

from fastad.execution.native.code import unrolled_linear
from fastad.execution.native.code.function import Function
from fastad.execution.native.code.operations import _EMITTERS, ONE, ZERO, Block, Truth
from fastad.execution.native.code.packed import packed_function
from fastad.execution.native.code.unrolled import UNROLLED, reduced
from fastad.execution.native.planning.packing import width
from fastad.execution.native.planning.steps import ScalarStep
from fastad.primitives import PRIMITIVES, Elementwise, Form
from fastad.primitives.regions import parts

Key = tuple[int, int]

_FETCH_EVERY, _FETCH_LINES = 75, 28  # rows, and the cache lines that code of so many takes
_FETCH = "\n".join(
    ["declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)",
     "define internal void @fetch(ptr %code) noinline nounwind {",
     *(f"  %line{i} = getelementptr i8, ptr %code, i64 {64 * i}\n"
       f"  call void @llvm.prefetch.p0(ptr %line{i}, i32 0, i32 2, i32 1)" for i in range(_FETCH_LINES)),
     "  ret void", "}"]
)  # fmt: skip


class ScalarCode(Function):
    """The function of one chunk. `alone`: it is not to become a part of its caller."""

    alone = False

    def text(self, name: str, linkage: str = "internal ") -> str:
        whole = super().text(name, linkage)
        return whole.replace(" nounwind {", " noinline nounwind {", 1) if self.alone else whole

    def build(self, step: ScalarStep, following: str = "") -> "ScalarCode":
        """`following` is the function that runs next, where it is worth fetching ahead."""
        self.values: dict[Key, str] = {}
        self.entry = Block(self.module, alone=True)
        p, packed = self.p, set[int]()
        for number, r in enumerate(step.rows):
            if following and number % _FETCH_EVERY == 0:
                self._fetch(following, number // _FETCH_EVERY)
            primitive = PRIMITIVES[p.op[r]]
            if r in packed:
                continue
            if r in step.packs:
                packed.update(step.packs[r])
                self._pack(step.packs[r])
            elif isinstance(primitive, Elementwise):
                self._elementwise(r, primitive)
            elif r in p.picks:
                self._save_picks(r)
            elif r in p.copied:
                self._save(r, [ZERO if e is None else self.get(*e) for e in p.copied[r]])
            else:
                row = p.table.row(r)
                results = self._array(row)
                if results is not None:
                    self._save(r, results)
        return self

    def _fetch(self, function: str, part: int) -> None:
        """Bring a part of the next function's code nearer: code that runs once, in a program larger than the caches,
        is otherwise waited for line by line (measured: half as long again at 300,000 rows).

        It is a call, as the quick instruction selector of level 0 knows no prefetches: each costs 40 µs to compile.
        """
        self.module.declarations.setdefault("fetch", _FETCH)
        self.entry.do(f"call void @fetch(ptr getelementptr (i8, ptr @{function}, i64 {64 * _FETCH_LINES * part}))")

    # ── elements ─────────────────────────────────────────────────────────────────────────────────────────────
    def get(self, x: int, i: int) -> str:
        """Element i of a row."""
        return self.values.get((x, i)) or self._find(x, i)

    def _find(self, x: int, i: int) -> str:
        """Element i of a row that was not computed here, or that sees others' elements."""
        element = self.p.element(x, i)
        if element is None:
            return ZERO
        found = self.values.get(element)
        if found is None:
            found = self.values[element] = self._load(*element)
        self.values[x, i] = found
        return found

    def _load(self, x: int, i: int) -> str:
        return self.constant(x, i) or self.entry.emit(f"load double, ptr {self.pointer(x, i)}")

    def all(self, x: int) -> list[str]:
        return [self.entry.number(self.get(x, i)) for i in range(self.p.size[x])]

    def _save(self, r: int, results: list[str]) -> None:
        for i, value in enumerate(results):
            self.values[r, i] = value
        if r in self.memory.places:
            for i, value in enumerate(results):
                self.entry.do(f"store double {self.entry.number(value)}, ptr {self.pointer(r, i)}")

    def _save_picks(self, r: int) -> None:
        if r in self.memory.places:
            for i in range(self.p.size[r]):
                value = self.entry.number(self.get(r, i))
                self.entry.do(f"store double {value}, ptr {self.pointer(r, i)}")

    # ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _elementwise(self, r: int, primitive: Elementwise) -> None:
        p, get, block = self.p, self.get, self.entry
        emitter = _EMITTERS[primitive.name]
        operands = (p.a[r], p.b[r], p.c[r])[: primitive.arity]
        if p.size[r] == 1:
            self._save(r, [emitter(block, *[get(x, 0) for x in operands])])
            return
        self._save(
            r, [emitter(block, *[get(x, i if p.size[x] > 1 else 0) for x in operands]) for i in range(p.size[r])]
        )

    def _pack(self, rows: list[int]) -> None:
        """Rows of one primitive, by as few calls as can be."""
        p, row = self.p, PRIMITIVES[self.p.op[rows[0]]]
        assert isinstance(row, Elementwise)
        elements = [(r, i) for r in rows for i in range(p.size[r])]
        results: list[str] = []
        lanes = width(row)
        for part in (elements[at : at + lanes] for at in range(0, len(elements), lanes)):
            columns = (p.a, p.b, p.c)[: row.arity]
            results += self._call_packed(row, [[self._operand(column[r], i) for r, i in part] for column in columns])
        values = iter(results)
        for r in rows:
            self._save(r, list(islice(values, p.size[r])))

    def _operand(self, x: int, i: int) -> str:
        """What element i of a row needs of an operand."""
        return self.entry.number(self.get(x, i if self.p.size[x] > 1 else 0))

    def _call_packed(self, row: Elementwise, operands: list[list[str]]) -> list[str]:
        """The values of a primitive for lists of operands."""
        block, count = self.entry, len(operands[0])
        if count == 1:
            return [block.apply(row.name, *(x for (x,) in operands))]
        place = f"%pack{next(self.module.names)}"
        block.lines.insert(0, f"  {place} = alloca [8 x double], align 64")  # first: others are made at run time
        arguments = ", ".join(f"double {x}" for xs in operands for x in xs)
        block.do(f"call void @{packed_function(self.module, row, count)}({arguments}, ptr {place})")
        places = [place, *(block.emit(f"getelementptr double, ptr {place}, i64 {i}") for i in range(1, count))]
        return [block.emit(f"load double, ptr {at}") for at in places]

    def _array(self, row: Any) -> list[str] | None:
        """The elements of a row of an array primitive; None if they are stored already."""
        if row.form is Form.PIECES:
            self._assemble(row)
        elif row.form is Form.GUARD:
            self._guard(row)
        else:
            return reduced(self, row) if row.form is Form.REDUCTION else UNROLLED[row.name](self, row)
        return None

    def _assemble(self, row: Any) -> None:
        """Numbers stored to their places in an array that starts as zeros."""
        covered = sum(self.p.size[x] for x in row.operands)
        start = self.pointer(row.index)
        if covered < row.size:
            self.module.declare("llvm.memset.p0.i64", "void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self.entry.do(f"call void @llvm.memset.p0.i64(ptr {start}, i8 0, i64 {8 * row.size}, i1 false)")
        for x, own in zip(row.operands, row.regions, strict=True):
            offset, shape, strides = parts(own)
            for i, index in enumerate(np.ndindex(shape)):
                to = self.pointer(row.index, offset + sum(k * s for k, s in zip(index, strides, strict=True)))
                self.entry.do(f"store double {self.entry.number(self.get(x, i))}, ptr {to}")

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────
    def _guard(self, row: Any) -> None:
        x, y = row.operands
        for i in range(self.p.size[x]):
            a, b = self.get(x, i), self.get(y, i)
            self.stop_if(self._differ(a, b), row.index + 1)

    def _differ(self, a: str, b: str) -> str:
        """Whether two numbers differ, where NaN equals NaN."""
        block = self.entry
        if type(a) is Truth and b in _TRUTH:
            return block.emit(f"xor i1 {a}, {_TRUTH[b]}")
        a, b = block.number(a), block.number(b)
        different = block.emit(f"fcmp une double {a}, {b}")
        known = block.emit(f"fcmp ord double {a}, {a}")
        other = block.emit(f"fcmp ord double {b}, {b}")
        return block.emit(f"and i1 {different}, {block.emit(f'or i1 {known}, {other}')}")


_ = unrolled_linear
_TRUTH = {ONE: "true", ZERO: "false"}
