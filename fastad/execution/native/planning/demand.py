"""Demand: where each virtual row is computed, stored or loaded, found from its uses, last row first.

A context is (loop, way): `way` is empty where a row is wanted at the loop's own places, else the views it is seen
through. A row wanted in several contexts is computed in each if that is cheap, else stored by its home and loaded.
"""

from collections import defaultdict

from fastad.execution.native.planning.planner import MEMBERS, Planner
from fastad.execution.native.planning.steps import VIRTUAL, LoopStep
from fastad.primitives import PRIMITIVES

Context = tuple[int, tuple[int, ...]]

_LARGE, _MANY = 16_384, 4  # elements of an array, arrays: so many are not in the cache any more when they are read


class Demand:
    """The backward pass: `reads[loop]` are the rows in memory that a loop reads, `computes[loop]` the rows that it
    computes at its own places, in descending order."""

    def __init__(self, p: Planner) -> None:
        self.p = p
        self.contexts: dict[int, set[Context]] = defaultdict(set)
        self.reads: dict[int, set[int]] = defaultdict(set)
        self.computes: dict[int, list[int]] = defaultdict(list)

    def run(self) -> "Demand":
        for step in self.p.steps:
            if isinstance(step, LoopStep):
                for r in step.reductions:
                    self._want(self.p.a[r], (step.index, ()))
        for r in range(len(self.p.op) - 1, -1, -1):
            if self.p.realm[r] == VIRTUAL and r not in self.p.alias and (r in self.p.stored or r in self.contexts):
                self._settle(r)
        return self

    def _want(self, x: int, context: Context) -> None:
        x = self.p.base(x)[0]
        if self.p.realm[x] == VIRTUAL:
            self.contexts[x].add(context)
        else:
            self.reads[context[0]].add(x)

    def _settle(self, r: int) -> None:
        p, contexts = self.p, self.contexts.pop(r, set())
        if r not in p.stored and r not in p.regions and r not in p.joined and not self._inline(r, contexts):
            p.stored.add(r)
        computed = set(contexts)
        if r in p.stored:
            home = p.home[r]
            loop = p.steps[home]
            assert isinstance(loop, LoopStep)
            loop.stores.append(r)
            computed = {c for c in contexts if c[0] <= home} | {(home, ())}
            for loop_index, _ in contexts - computed:
                self.reads[loop_index].add(r)
        self._compute(r, computed)

    def _inline(self, r: int, contexts: set[Context]) -> bool:
        full = any(len(self.computes[loop]) >= MEMBERS and loop != self.p.home[r] for loop, _ in contexts)
        if full:  # a chain of rows would end up in the loop of the last one, however long it is
            return False
        if len(contexts) == 1 and not next(iter(contexts))[1]:
            return not self._delays(r, next(iter(contexts))[0])
        return self.p.cheap(r)

    def _delays(self, r: int, loop: int) -> bool:
        """Whether a row waits for a loop which many large arrays wait for already, where its own loop, an earlier one,
        would be the last that reads one of them: the sum of all products of a convolution, each with some of the
        filters, would else keep all of them."""
        p = self.p
        size, home = p.size[r], p.home[r]
        if home >= loop or size < _LARGE or len(self.reads[loop]) < _MANY:
            return False
        arity = len(PRIMITIVES[p.op[r]].domain)  # type: ignore[attr-defined]
        operands = [p.base(x)[0] for x in (p.a[r], p.b[r], p.c[r])[:arity]]
        return any(p.realm[x] != VIRTUAL and p.size[x] == size and p.costs.uses[x] == 1 for x in operands)

    def _compute(self, r: int, contexts: set[Context]) -> None:
        p = self.p
        for context in contexts:
            if not context[1]:
                self.computes[context[0]].append(r)
        if r in p.regions:
            for index, way in contexts:
                self._want(p.regions[r][0], (index, (*way, r)))
            return
        if r in p.joined:
            for k, (_, _, source) in enumerate(p.joined[r]):
                for index, way in contexts if source >= 0 else ():
                    self._want(source, (index, (*way, r, k)))
            return
        arity = len(PRIMITIVES[p.op[r]].domain)  # type: ignore[attr-defined]
        for x in (p.a[r], p.b[r], p.c[r])[:arity]:
            for context in contexts:
                self._want(x, context)
