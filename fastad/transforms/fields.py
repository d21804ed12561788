"""What solvers return: values by name, as attributes and as a mapping, as SciPy's results are."""

import html
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Never

from fastad.recording.source import at_line


class Later:
    """A field that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


class Fields(Mapping[str, Any]):
    """A result with named fields, `_given`. Those given as `Later` are computed when they are asked for first."""

    _given: dict[str, Any]
    _solution = "x"  # the field that one means who uses the whole result as an array

    def __getattr__(self, name: str) -> Any:
        given = self.__dict__.get("_given", {})
        if name not in given:
            raise AttributeError(f"the result has no {name!r}; its fields are {', '.join(self)}")
        value = given[name]
        if isinstance(value, Later):
            value = given[name] = value.compute()
        return value

    def __getitem__(self, name: str) -> Any:
        if name not in tuple(self):
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return self is other  # fields are arrays, which have no one answer

    __hash__ = object.__hash__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Never:
        raise TypeError(
            f"a result is used as an array{at_line()}; the solution is its field .{self._solution} "
            f"(there are also {', '.join(name for name in self if name != self._solution)})"
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def _shown(self, name: str, indent: int) -> str:
        """A field as text, whose lines but the first are indented."""
        return str(self[name])

    def __repr__(self) -> str:
        width = max(9, *map(len, self))
        return "\n".join(f"{name:>{width}}: {self._shown(name, width + 2)}" for name in self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: right'>{name}</th><td style='text-align: left'><pre>"
            f"{html.escape(self._shown(name, 0))}</pre></td></tr>"
            for name in self
        )
        return f"<table>{rows}</table>"


__all__ = ["Fields", "Later"]
