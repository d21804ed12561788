"""Functions of a kernel: arguments, statements, the result."""

import ast
from typing import Any

from fastad.execution.translation.code import Widened
from fastad.execution.translation.expressions import Expressions
from fastad.execution.translation.flags import Source
from fastad.execution.translation.kinds import (
    DOUBLE,
    ELEMENTS,
    INTEGER,
    NOTHING,
    Record,
    UntranslatableError,
    Value,
    View,
    parts,
    types_of,
)

_RESULT = "return"  # as a name of a variable


class Function(Expressions):
    """A function for arguments of given kinds: `text`, `kind` of the result, names of the functions that it calls."""

    def __init__(self, module: Any, source: Source, tree: ast.FunctionDef, kinds: tuple[Any, ...], name: str) -> None:
        super().__init__(module)
        self.name, self._tree, self._kinds = name, tree, kinds
        self.names = source.py_func.__globals__
        self.contracts = source.contracts and module.fused
        arguments = tree.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or len(arguments.args) != len(kinds):
            raise UntranslatableError(f"the arguments of {tree.name}")
        self._parameters = [argument.arg for argument in arguments.args]
        given = _assignments(tree)
        self.locals = frozenset([*self._parameters, *given])
        self._once = {word for word, count in given.items() if count == 1 and word not in self._parameters}
        while True:
            try:
                self._write(given)
                return
            except Widened:
                continue

    def _write(self, given: dict[str, int]) -> None:
        self.clear()
        self.bound, self.callees = {}, set()
        self._loops: list[tuple[str, str]] = []  # where `continue` and `break` lead
        self._heads: list[str] = []
        for k, (word, kind) in enumerate(zip(self._parameters, self._kinds, strict=True)):
            own = Value(kind, tuple(f"%a{k}.{i}" for i in range(len(types_of(kind)))))
            self._heads += [f"{t} {operand}" for t, operand in zip(types_of(kind), own.operands, strict=True)]
            if word in given:
                self.assign(word, own)
            else:
                self.bound[word] = own
        self._top = True
        self._block(self._tree.body)
        if not self.closed:
            self._finish(Value(NOTHING, ()))

    @property
    def kind(self) -> Any:
        return self.kinds.get(_RESULT, NOTHING)

    def definition(self, linkage: str = "internal ") -> str:
        results = types_of(self.kind)
        whole = results[0] if len(results) == 1 else (f"{{ {', '.join(results)} }}" if results else "void")
        heads = ", ".join(self._heads)
        return f"define {linkage}{whole} @{self.name}({heads}) nounwind {{\nentry:\n{self.text()}\n}}\n"

    def _finish(self, value: Value) -> None:
        kind = self.widen(_RESULT, value.kind)
        value, results = self.convert(value, kind), types_of(kind)
        if len(results) <= 1:
            self.line(f"ret {results[0]} {value.only}" if results else "ret void")
        else:
            whole, built = f"{{ {', '.join(results)} }}", "undef"
            for k, (own, operand) in enumerate(zip(results, value.operands, strict=True)):
                built = self.define(f"insertvalue {whole} {built}, {own} {operand}, {k}")
            self.line(f"ret {whole} {built}")
        self.closed = True

    # ── statements ───────────────────────────────────────────────────────────────────────────────────────────
    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.closed:
                return
            write = getattr(self, "_" + type(statement).__name__, None)
            if write is None:
                raise UntranslatableError(f"{type(statement).__name__} in {self._tree.name}")
            write(statement)

    def _inner(self, statements: list[ast.stmt]) -> None:
        top, self._top = self._top, False
        self._block(statements)
        self._top = top

    def _Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def _Pass(self, node: ast.Pass) -> None:
        pass

    def _Return(self, node: ast.Return) -> None:
        self._finish(Value(NOTHING, ()) if node.value is None else self.value(node.value))

    def _If(self, node: ast.If) -> None:
        if self.module.jumps and (cases := _cases(node, self)) is not None:
            self._switch(*cases)
            return
        yes, no, end = self.label(), self.label(), self.label()
        self.decide(node.test, yes, no)
        self.start(yes)
        self._inner(node.body)
        self.jump(end)
        self.start(no)
        self._inner(node.orelse)
        self.start(end)

    def _switch(self, word: ast.expr, cases: list["Case"], others: list[ast.stmt]) -> None:
        """A chain of comparisons of an integer with constants, as one jump."""
        own = self.value(word)
        labels, last, end = [self.label() for _ in cases], self.label(), self.label()
        listed, known = [], set()
        for label, (numbers, _) in zip(labels, cases, strict=True):
            listed += [f"i64 {number}, label %{label}" for number in numbers if number not in known]
            known |= set(numbers)
        self.select_label(own.only, last, listed, labels)
        for label, (_, body) in zip(labels, cases, strict=True):
            self.start(label)
            self._inner(body)
            self.jump(end)
        self.start(last)
        self._inner(others)
        self.start(end)

    def _While(self, node: ast.While) -> None:
        head, body, end = self.label(), self.label(), self.label()
        self.start(head)
        if self.static(node.test):
            self.jump(body)
        else:
            self.decide(node.test, body, end)
        self._loop(body, head, end, node.body)
        self.jump(head)
        self.start(end)

    def _loop(self, body: str, following: str, end: str, statements: list[ast.stmt]) -> None:
        self.start(body)
        self._loops.append((following, end))
        self._inner(statements)
        self._loops.pop()

    def _Break(self, node: ast.Break) -> None:
        self.jump(self._loops[-1][1])

    def _Continue(self, node: ast.Continue) -> None:
        self.jump(self._loops[-1][0])

    def _For(self, node: ast.For) -> None:
        """Over a range."""
        call, target = node.iter, node.target
        if not isinstance(call, ast.Call) or self.named(call.func) is not range or not isinstance(target, ast.Name):
            raise UntranslatableError(f"a loop over {ast.unparse(call)}")
        given = [self.integer(self.value(own)) for own in call.args]
        first, stop = ("0", given[0]) if len(given) == 1 else given[:2]
        step = given[2] if len(given) == 3 else "1"
        counter = self.place(INTEGER)
        self.put(counter, Value(INTEGER, (first,)))
        head, body, following, end = self.label(), self.label(), self.label(), self.label()
        self.start(head)
        k = self.get(counter)
        self.fork(self._goes_on(k.only, stop, step), body, end)
        self.start(body)
        self.assign(target.id, k)
        self._loop(self.label(), following, end, node.body)
        self.start(following)
        if not self.closed:
            self.put(counter, Value(INTEGER, (self.define(f"add nsw i64 {self.get(counter).only}, {step}"),)))
            self.jump(head)
        self.start(end)

    def _goes_on(self, k: str, stop: str, step: str) -> str:
        """Whether a range is not over."""
        if step.lstrip("-").isdigit():
            return self.define(f"icmp {'slt' if int(step) > 0 else 'sgt'} i64 {k}, {stop}")
        up, down = (self.define(f"icmp {test} i64 {k}, {stop}") for test in ("slt", "sgt"))
        return self.define(f"select i1 {self.define(f'icmp sgt i64 {step}, 0')}, i1 {up}, i1 {down}")

    # ── assignments ──────────────────────────────────────────────────────────────────────────────────────────
    def _Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._give(target, value)

    def _AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            self.assign(target.id, self.combine(node.op, self._Name(target), node.value))
            return
        element, where = self._place_of(target)
        self.store(element, where, self.combine(node.op, self.load(element, where), node.value))

    def _give(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if self._top and target.id in self._once:
                self.bound[target.id] = value
            else:
                self.assign(target.id, value)
        elif isinstance(target, ast.Tuple):
            values = parts(value)
            if len(values) != len(target.elts):
                raise UntranslatableError(ast.unparse(target))
            for own, part in zip(target.elts, values, strict=True):
                self._give(own, part)
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            self._fill(target, value)
        else:
            element, where = self._place_of(target)
            self.store(element, where, value)

    def _place_of(self, target: ast.expr) -> tuple[str, str]:
        """Kind and place of what is assigned to."""
        if isinstance(target, ast.Subscript):
            return self.element(self.value(target.value), target.slice)
        if isinstance(target, ast.Attribute):
            own = self.value(target.value)
            if isinstance(own.kind, Record):
                kind, where = self.field(own, target.attr)
                if kind == INTEGER:
                    self.module.changed.add(own.kind.dtype)
                    return "int64", where
        raise UntranslatableError(ast.unparse(target))

    def _fill(self, target: ast.Subscript, value: Value) -> None:
        """Give all elements of a part of a vector the same number."""
        own = self.value(target)
        if not isinstance(own.kind, View) or value.kind not in (INTEGER, DOUBLE):
            raise UntranslatableError(ast.unparse(target))
        element = own.kind.element
        if value.only in ("0", f"0x{0:016X}"):
            self.module.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            size = self.define(f"mul nsw i64 {own.operands[1]}, {ELEMENTS[element][1]}")
            self.line(f"call void @llvm.memset.p0.i64(ptr {own.operands[0]}, i8 0, i64 {size}, i1 false)")
            return
        for_each = self.place(INTEGER)
        self.put(for_each, Value(INTEGER, ("0",)))
        head, body, end = self.label(), self.label(), self.label()
        self.start(head)
        k = self.get(for_each).only
        self.fork(self.define(f"icmp slt i64 {k}, {own.operands[1]}"), body, end)
        self.start(body)
        where = self.define(f"getelementptr inbounds {ELEMENTS[element][0]}, ptr {own.operands[0]}, i64 {k}")
        self.store(element, where, value)
        self.put(for_each, Value(INTEGER, (self.define(f"add nsw i64 {k}, 1"),)))
        self.jump(head)
        self.start(end)


def _assignments(tree: ast.FunctionDef) -> dict[str, int]:
    """How often a function gives a value to each of its variables."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = found.get(node.id, 0) + 1
    return found


_FEWEST_CASES = 4
Case = tuple[list[int], list[ast.stmt]]  # the constants, and what is done for them


def _cases(node: ast.If, body: Expressions) -> tuple[ast.Name, list[Case], list[ast.stmt]] | None:
    """Variable, cases and the rest of a chain of comparisons of one integer variable with constants, if it is long."""
    word: ast.Name | None = None
    cases: list[Case] = []
    rest: list[ast.stmt] = [node]
    while len(rest) == 1 and isinstance(own := rest[0], ast.If):
        found = _compared(own.test, body)
        if found is None or (word is not None and found[0].id != word.id):
            break
        word, numbers = found
        cases.append((numbers, own.body))
        rest = own.orelse
    if word is None or len(cases) < _FEWEST_CASES or body.value(word).kind != INTEGER:
        return None
    return word, cases, rest


def _compared(test: ast.expr, body: Expressions) -> tuple[ast.Name, list[int]] | None:
    """The variable of a test, and the constants with which it is compared: `v == 1`, `v == 1 or v == 2`."""
    alternatives = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [test]
    numbers, words = [], []
    for own in alternatives:
        if not (isinstance(own, ast.Compare) and len(own.ops) == 1 and isinstance(own.ops[0], ast.Eq)):
            return None
        number, word = body.static(own.comparators[0]), own.left
        if not isinstance(word, ast.Name) or word.id not in body.locals or type(number) is not int:
            return None
        numbers.append(number)
        words.append(word)
    return (words[0], numbers) if len({word.id for word in words}) == 1 else None
