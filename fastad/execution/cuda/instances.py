"""The function that runs one instance of a program: finds its arguments in arrays of all instances, calls the program's
kernel, and writes its results.

An array has one element, or one run of elements, for each instance. Two strides tell where: those from one instance to
the next, and from one element to the next, in elements. So arrays may lie as NumPy has them (a row for each instance),
or turned (a column for each instance: then neighbouring threads read neighbouring numbers); with a stride of 0 all
instances share an argument. What a program keeps meanwhile lies on the thread's stack. That is local memory, which
NVIDIA's hardware interleaves by threads, so that equal offsets of neighbouring threads are neighbours (CUDA C++
Programming Guide, Device Memory Accesses, Local Memory), and LLVM and ptxas keep in registers what they can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastad.execution.layout import Slot

ENTRY = "fastad_instances"
LEADING = 3  # arguments of a kernel before those of arrays
_MOST_WORDS = 500  # arguments that a kernel takes as parameters
_UNROLLED = 64  # elements that are copied one by one

# What arrays may hold: by NumPy's character LLVM's type, and the instructions from it to a number and back.
_KINDS = {
    "d": ("double", "fptrunc", "fpext"), "f": ("float", "fpext", "fptrunc"), "q": ("i64", "sitofp", "fptosi"),
    "i": ("i32", "sitofp", "fptosi"), "?": ("i8", "uitofp", "fptoui"),
}  # fmt: skip
KINDS = tuple(_KINDS)

# All take the number of instances; the order in which they are run, as 32-bit integers, or null; where the code of
# each goes, as 32-bit integers; and for every argument and result a pointer and the two strides. A kernel's parameters
# are at most 4 KiB (CUDA C++ Programming Guide, Function Parameters): those of more arrays are in memory.
_DEVICE = """
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()

define ptx_kernel void @{entry}(i64 %count, ptr noalias readonly %order, ptr noalias %codes{parameters}) {{
start:
{loads}
  %t32 = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %n32 = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %b32 = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %t = zext i32 %t32 to i64
  %n = zext i32 %n32 to i64
  %b = zext i32 %b32 to i64
  %before = mul i64 %b, %n
  %at = add i64 %before, %t
  %inside = icmp ult i64 %at, %count
  br i1 %inside, label %run, label %end
run:
  call void @{entry}.one(i64 %at, ptr %order, ptr %codes{arguments})
  ret void
end:
  ret void
}}
"""
_HOST = """
define void @{entry}(i64 %count, ptr %order, ptr %codes, ptr %all) {{
start:
{loads}
  br label %head
head:
  %at = phi i64 [ 0, %start ], [ %next, %run ]
  %inside = icmp ult i64 %at, %count
  br i1 %inside, label %run, label %end
run:
  call void @{entry}.one(i64 %at, ptr %order, ptr %codes{arguments})
  %next = add i64 %at, 1
  br label %head
end:
  ret void
}}
"""


def are_in_memory(words: int) -> bool:
    """Whether a kernel of so many arguments finds those of its arrays in memory, at the address that it takes behind
    the leading ones."""
    return words > _MOST_WORDS


Copy = Callable[[str, str], None]  # of an element from one place to another


@dataclass(frozen=True)
class Array:
    """An argument or result: its place in the kernel's vector, and the kind of its elements."""

    slot: Slot
    kind: str = "d"


class InstanceText:
    """The text for a kernel with these arguments and results: `device` and `host`, whose common part is `one`. The
    kernel computes in numbers of the type `number`, which are 8 bytes apart in its vectors."""

    def __init__(
        self, kernel: str, work: int, inputs: Sequence[Array], outputs: Sequence[Array], number: str = "double"
    ) -> None:
        self._number = number
        self._lines: list[str] = []
        self._count = 0
        arrays = [(f"in{k}", a) for k, a in enumerate(inputs)] + [(f"out{k}", a) for k, a in enumerate(outputs)]
        self._names = [name for name, _ in arrays]
        sizes = [sum(1 if a.slot.by_reference else a.slot.size for a in own) for own in (inputs, outputs)]
        for name, size in (("in", sizes[0]), ("out", sizes[1]), ("work", work)):
            self._lines.append(f"  %{name} = alloca [{max(size, 1)} x i64], align 16")
        self._lines += [
            "  %ordered = icmp ne ptr %order, null", "  br i1 %ordered, label %read, label %go", "read:",
            "  %order.at = getelementptr i32, ptr %order, i64 %at", "  %listed32 = load i32, ptr %order.at",
            "  %listed = zext i32 %listed32 to i64", "  br label %go", "go:",
            "  %lane = phi i64 [ %at, %start ], [ %listed, %read ]",
        ]  # fmt: skip
        for name, array in arrays:
            self._start(name, array)
        for k, array in enumerate(inputs):
            self._take(f"in{k}", array)
        self._lines += [
            f"  %code = call i64 @{kernel}(ptr null, ptr %in, ptr %out, ptr %work)",
            "  %code32 = trunc i64 %code to i32", "  %code.at = getelementptr i32, ptr %codes, i64 %lane",
            "  store i32 %code32, ptr %code.at",
        ]  # fmt: skip
        for k, array in enumerate(outputs):
            self._give(f"out{k}", array)
        self.one = self._text()

    @property
    def device(self) -> str:
        parameters = "".join(
            f", ptr noalias {'' if name.startswith('out') else 'readonly '}%{name}, i64 %{name}.lane, i64 %{name}.step"
            for name in self._names
        )
        loads = ""
        if are_in_memory(LEADING + len(_PARTS) * len(self._names)):
            parameters, loads = ", ptr noalias readonly %all", self._loads
        return self.one + _DEVICE.format(
            entry=ENTRY, parameters=parameters, arguments=self._arguments, loads=loads
        )

    @property
    def host(self) -> str:
        return self.one + _HOST.format(entry=ENTRY, loads=self._loads, arguments=self._arguments)

    @property
    def _loads(self) -> str:
        """Instructions that read the pointers and strides of all arrays from memory."""
        loads = []
        words = [(kind, f"{name}{part}") for name in self._names for kind, part in _PARTS]
        for k, (kind, word) in enumerate(words):
            loads.append(f"  %{word}.at = getelementptr i64, ptr %all, i64 {k}")
            loads.append(f"  %{word} = load {kind}, ptr %{word}.at")
        return "\n".join(loads)

    @property
    def _arguments(self) -> str:
        return "".join(f", {kind} %{name}{part}" for name in self._names for kind, part in _PARTS)

    def _text(self) -> str:
        head = f"define internal void @{ENTRY}.one(i64 %at, ptr %order, ptr %codes{self._arguments}) alwaysinline {{"
        return "\n".join([head, "start:", *self._lines, "  ret void", "}"]) + "\n"

    # ── arrays ───────────────────────────────────────────────────────────────────────────────────────────────
    def _emit(self, text: str) -> str:
        self._count += 1
        self._lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def _start(self, name: str, array: Array) -> None:
        """Where the instance's elements start; what goes by reference is reached from there."""
        type_ = _KINDS[array.kind][0]
        self._lines.append(f"  %{name}.first = mul i64 %lane, %{name}.lane")
        self._lines.append(f"  %{name}.own = getelementptr {type_}, ptr %{name}, i64 %{name}.first")
        if array.slot.by_reference:
            vector = name.rstrip("0123456789")
            place = self._emit(f"getelementptr double, ptr %{vector}, i64 {array.slot.offset}")
            self._lines.append(f"  store ptr %{name}.own, ptr {place}")

    def _take(self, name: str, array: Array) -> None:
        def one(outside: str, inside: str) -> None:
            type_, convert, _ = _KINDS[array.kind]
            x = self._emit(f"load {type_}, ptr {outside}")
            if type_ != self._number:
                x = self._emit(f"{convert} {type_} {x} to {self._number}")
            self._lines.append(f"  store {self._number} {x}, ptr {inside}")

        self._each(name, "in", array, one)

    def _give(self, name: str, array: Array) -> None:
        def one(outside: str, inside: str) -> None:
            type_, _, convert = _KINDS[array.kind]
            x = self._emit(f"load {self._number}, ptr {inside}")
            if type_ != self._number:
                x = self._emit(f"{convert} {self._number} {x} to {type_}")
            self._lines.append(f"  store {type_} {x}, ptr {outside}")

        self._each(name, "out", array, one)

    def _each(self, name: str, vector: str, array: Array, one: Copy) -> None:
        """`one(place in the array, place in the kernel's vector)` for each element."""
        slot, type_ = array.slot, _KINDS[array.kind][0]
        if slot.by_reference:
            return
        if slot.size <= _UNROLLED:
            for k in range(slot.size):
                self._element(name, vector, type_, slot.offset, str(k), one)
            return
        own = f"{name}.loop"
        self._lines += [
            f"  br label %{own}.before", f"{own}.before:", f"  br label %{own}", f"{own}:",
            f"  %{own}.k = phi i64 [ 0, %{own}.before ], [ %{own}.next, %{own} ]",
        ]  # fmt: skip
        self._element(name, vector, type_, slot.offset, f"%{own}.k", one)
        self._lines += [
            f"  %{own}.next = add i64 %{own}.k, 1", f"  %{own}.more = icmp ult i64 %{own}.next, {slot.size}",
            f"  br i1 %{own}.more, label %{own}, label %{own}.end", f"{own}.end:",
        ]  # fmt: skip

    def _element(self, name: str, vector: str, type_: str, offset: int, k: str, one: Copy) -> None:
        far = self._emit(f"mul i64 %{name}.step, {k}")
        outside = self._emit(f"getelementptr {type_}, ptr %{name}.own, i64 {far}")
        start = self._emit(f"getelementptr double, ptr %{vector}, i64 {offset}")
        one(outside, self._emit(f"getelementptr double, ptr {start}, i64 {k}"))


_PARTS = (("ptr", ""), ("i64", ".lane"), ("i64", ".step"))
