"""Settings that operators read while they are recorded, chosen by a context manager for the current thread.

A recording depends on the settings that were read during it: every open recorder notes them, and what replays the
recording compares them as it compares other values from outside (see `fastad.recording.capture`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastad.recording.recorder import open_recordings

SETTINGS: "list[Setting]" = []  # all there are


class Setting:
    """One of a few choices, the first of them unless `chosen` says otherwise in this thread (or context)."""

    def __init__(self, name: str, *choices: str) -> None:
        self.name, self.choices, self.default = name, choices, choices[0]
        self.variable: ContextVar[str] = ContextVar(name)
        SETTINGS.append(self)

    @property
    def now(self) -> str:
        """The choice at this moment; for recorded operators use `read`."""
        return self.variable.get(self.default)

    def read(self) -> str:
        """The choice at this moment, on which the recordings that are under way depend from here on."""
        for recorder in open_recordings():
            recorder.settings.add(self)
        return self.now

    def checked(self, choice: str) -> str:
        """The choice, as the object that stands in `choices`, so that comparing identities is enough."""
        if choice not in self.choices:
            raise ValueError(f"{self.name} must be one of {', '.join(map(repr, self.choices))}, not {choice!r}")
        return self.choices[self.choices.index(choice)]

    @contextmanager
    def chosen(self, choice: str) -> Iterator[None]:
        """Another choice inside a `with` block."""
        token = self.variable.set(self.checked(choice))
        try:
            yield
        finally:
            self.variable.reset(token)


def read_all() -> tuple[str, ...]:
    """All choices, read on behalf of code that will be recorded later."""
    return tuple([setting.read() for setting in SETTINGS])


def pinned(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which sees the settings of this moment whenever it is called."""
    held = [(setting.variable, setting.now) for setting in SETTINGS]

    def call(*args: Any, **kwargs: Any) -> Any:
        tokens = [(variable, variable.set(choice)) for variable, choice in held]
        try:
            return function(*args, **kwargs)
        finally:
            for variable, token in tokens:
                variable.reset(token)

    return call
