"""Derivative rules that sub-programs have beside their tables. A rule is a sub-program itself, or derives from one in a
way that has a name, so that files can hold it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fastad.errors import DerivativeError, TableError
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.sub import Sub, made, packed, slices, transposed, unpacked
from fastad.tables.inline import compact

_kinds: "dict[str, type[Rules]]" = {}


def rules_named(name: str) -> "type[Rules]":
    """The class of a kind of rules; TableError where there is none."""
    found = _kinds.get(name)
    if found is None:
        raise TableError(f"there are no derivative rules of the kind {name!r}")
    return found


class Rules:
    """The derivatives of a sub-program `sub`, which is given to every method."""

    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str) -> None:
        if kind in _kinds:
            raise TypeError(f"derivative rules of the kind {kind!r} exist")
        cls.kind, _kinds[kind] = kind, cls

    def tangent(self, sub: Sub) -> Sub:
        """The sub-program of (x, dx) to dy."""
        raise NotImplementedError

    def adjoint(self, sub: Sub) -> Sub:
        """The sub-program of (x, u) to Jᵀu."""
        raise NotImplementedError

    def structure(self, sub: Sub) -> Any:
        """The pattern of the derivative, for all arguments (`fastad.tables.sparsity.sets.Structure`), where it need not
        be found from the tangent; None: it is found so."""
        return None

    @property
    def key(self) -> str | None:
        """Equal for rules that compute the same; None: they cannot be compared."""
        return None

    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        """The rows of the result and its tangent."""
        return b.call(sub, x), b.call(sub.tangent, packed(b, [x, dx]))

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        """The rows of Jᵀu."""
        return b.call(sub.adjoint, packed(b, [x, u]))

    def emit_batched(self, sub: Sub, b: Any, x: Ref, size: int) -> Ref:
        """The rows of the results of `size` lanes, of operands lane after lane."""
        return b.call(sub.batched(size), x)

    def over_lanes(self, sub: Sub, size: int) -> "Rules":
        """The rules of the sub-program over lanes."""
        return LaneRules(lambda: sub, size)

    @property
    def parts(self) -> tuple[Sub, ...]:
        """The sub-programs that a file has to hold."""
        raise NotImplementedError

    def check(self, sub: Sub) -> str | None:
        """What is wrong with rules from a file; None if nothing is."""
        raise NotImplementedError

    def to_data(self, write: Any) -> dict[str, Any]:
        """The rules as JSON can hold them; `write(part)` describes a part."""
        raise NotImplementedError

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "Rules":
        """The rules that `to_data` described. `read` must be called later only: a rule may call its own sub-program."""
        raise NotImplementedError


class RowRules:
    """For rules that say their rows, `emit_joint` and `emit_adjoint`: the sub-programs are made of them."""

    emit_joint: Callable[..., tuple[Ref, Ref]]
    emit_adjoint: Callable[..., Ref]

    def tangent(self, sub: Sub) -> Sub:
        def rows(b: Any, v: Ref) -> Ref:
            return self.emit_joint(sub, b, *slices(b, v, (sub.n_in, sub.n_in)))[1]

        return made(f"tangent of {sub.name}", 2 * sub.n_in, rows)

    def adjoint(self, sub: Sub) -> Sub:
        def rows(b: Any, v: Ref) -> Ref:
            return self.emit_adjoint(sub, b, *slices(b, v, (sub.n_in, sub.n_out)))

        return made(f"adjoint of {sub.name}", sub.n_in + sub.n_out, rows)


class _Transposed(threading.local):
    """Rules that this thread transposes at the moment."""

    def __init__(self) -> None:
        self.rules: list[OwnRules] = []


_being_transposed = _Transposed()


@dataclass(frozen=True, eq=False)
class OwnRules(Rules, kind="own"):
    """Sub-programs of (x, dx) to dy and of (x, u) to Jᵀu, made when they are first needed. One of them is enough: the
    other is its transpose."""

    make_jvp: Callable[[], Sub] | None = None
    make_vjp: Callable[[], Sub] | None = None

    @lazy
    def jvp(self) -> Sub | None:
        return self.make_jvp and self.make_jvp()

    @lazy
    def vjp(self) -> Sub | None:
        return self.make_vjp and self.make_vjp()

    def tangent(self, sub: Sub) -> Sub:
        if self.jvp is not None:
            return self.jvp
        assert self.vjp is not None
        return self._transposed(self.vjp, sub, "tangent", "jvp")

    def adjoint(self, sub: Sub) -> Sub:
        if self.vjp is not None:
            return self.vjp
        assert self.jvp is not None
        return self._transposed(self.jvp, sub, "adjoint", "vjp")

    def _transposed(self, rule: Sub, sub: Sub, what: str, missing: str) -> Sub:
        if self in _being_transposed.rules:
            raise DerivativeError(
                f"the {what} of {sub.name} is the transpose of its rule, which applies {sub.name} to what it is linear "
                f"in, so the transpose would need itself: give fad.primitive a {missing}= too"
            )
        _being_transposed.rules.append(self)
        try:
            return transposed(rule, sub.n_in, f"{what} of {sub.name}")
        finally:
            _being_transposed.rules.pop()

    @property
    def parts(self) -> tuple[Sub, ...]:
        return tuple(rule for rule in (self.jvp, self.vjp) if rule is not None)

    def check(self, sub: Sub) -> str | None:
        sizes = ((self.jvp, (2 * sub.n_in, sub.n_out)), (self.vjp, (sub.n_in + sub.n_out, sub.n_in)))
        if not self.parts or any(rule is not None and (rule.n_in, rule.n_out) != own for rule, own in sizes):
            return "derivative rules of other sizes"
        return None

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"jvp": self.jvp and write(self.jvp), "vjp": self.vjp and write(self.vjp)}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "OwnRules":
        jvp, vjp = ((lambda value=value: read(value)) if value else None for value in map(data.get, ("jvp", "vjp")))
        return OwnRules(jvp, vjp)


@dataclass(frozen=True, eq=False)
class LaneRules(Rules, kind="lanes"):
    """The rules of a sub-program, for lanes of it."""

    make_base: Callable[[], Sub]
    size: int

    @lazy
    def base(self) -> Sub:
        """The sub-program of one lane."""
        return self.make_base()

    def tangent(self, sub: Sub) -> Sub:
        return _over_lanes(self.base.tangent, self.size, (self.base.n_in, self.base.n_in))

    def adjoint(self, sub: Sub) -> Sub:
        return _over_lanes(self.base.adjoint, self.size, (self.base.n_in, self.base.n_out))

    def structure(self, sub: Sub) -> Any:
        return self.base.structure.repeated(self.size)

    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.base,)

    def check(self, sub: Sub) -> str | None:
        seen, base = {id(sub)}, self.base
        while isinstance(base.rules, LaneRules) and id(base) not in seen:
            seen.add(id(base))
            base = base.rules.base
        if id(base) in seen:
            return "derivative rules that refer to themselves"
        own = (self.size * self.base.n_in, self.size * self.base.n_out)
        return None if self.size >= 0 and own == (sub.n_in, sub.n_out) else "derivative rules of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"base": write(self.base), "size": self.size}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "LaneRules":
        return LaneRules(lambda: read(data.get("base")), data.of("size", int))


def _over_lanes(derived: Sub, size: int, parts: tuple[int, int]) -> Sub:
    """A derived sub-program over lanes, for operands that are each lane after lane."""
    n, m = parts
    b = Builder()
    v = b.input((size * (n + m),))
    first, second = unpacked(b, v, [ValueType((size, n), "d"), ValueType((size, m), "d")])
    regions = [region(0, (size, n), (n + m, 1)), region(n, (size, m), (n + m, 1))]
    lanes = b.assemble([first, second], regions, (size * (n + m),))
    out = b.call(derived.batched(size), lanes)
    return Sub(size * (n + m), size * derived.n_out, f"{derived.name} over {size} lanes", compact(b.table([out])))
