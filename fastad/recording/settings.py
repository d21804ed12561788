"""Settings that operators read while they are recorded. A context manager chooses them for the current thread.

A recording depends on the settings that were read during it. Every open recorder notes them, and before a replay they
are compared like other values from outside (see `fastad.recording.capture`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fastad.recording.recorder import open_recordings

SETTINGS: "list[Setting]" = []  # all that have been made


class Setting:
    """A choice among a few values, separate in each thread (or context). The first value is the default."""

    def __init__(self, name: str, *choices: str) -> None:
        self.name, self.choices, self.default = name, choices, choices[0]
        self.variable: ContextVar[str] = ContextVar(name)
        SETTINGS.append(self)

    @property
    def now(self) -> str:
        """The current choice. Operators that can be recorded must use `read`."""
        return self.variable.get(self.default)

    def read(self) -> str:
        """The current choice; all recordings in progress depend on it from now on."""
        for recorder in open_recordings():
            recorder.settings.add(self)
            if recorder.notes is not None:
                recorder.notes.complete = False
        return self.now

    def checked(self, choice: str) -> str:
        """The equal object in `choices`, so that choices can be compared by identity. ValueError if there is none."""
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
    """All current choices. The recordings in progress depend on them: for code that will be recorded later."""
    return tuple([setting.read() for setting in SETTINGS])


def pinned(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, always called under the current settings."""
    held = [(setting.variable, setting.now) for setting in SETTINGS]

    def call(*args: Any, **kwargs: Any) -> Any:
        tokens = [(variable, variable.set(choice)) for variable, choice in held]
        try:
            return function(*args, **kwargs)
        finally:
            for variable, token in tokens:
                variable.reset(token)

    return call
