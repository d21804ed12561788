"""Output of the demonstration on a terminal: a progress line, and aligned text."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, TextIO


class Progress:
    """A progress line for a number of stages, by tqdm if it is installed. Nothing is shown if the stream is not a
    terminal."""

    def __init__(self, stages: int, stream: TextIO | None = None) -> None:
        self.stages, self.stream = stages, stream or sys.stderr
        self.done = -1
        self.start = time.perf_counter()
        self._bar = _tqdm_bar(stages, self.stream)

    def stage(self, what: str) -> None:
        """Begin the next stage."""
        self.done += 1
        self.detail(what)

    def detail(self, what: str) -> None:
        """Change the text of the current stage."""
        if self._bar is not None:
            self._bar.set_description_str(what.ljust(_WIDTH), refresh=False)
            self._bar.update(self.done - self._bar.n)
            self._bar.refresh()
        else:
            self._line(what)

    def print(self, text: str = "") -> None:
        """Print a line above the progress line."""
        if self._bar is not None:
            self._bar.clear()
        else:
            self._erase()
        print(text, flush=True)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Remove the progress line."""
        if self._bar is not None:
            self._bar.close()
        else:
            self._erase()

    def _line(self, what: str) -> None:
        if self.stream.isatty():
            elapsed = time.perf_counter() - self.start
            self.stream.write(f"\r\x1b[K[{self.done + 1}/{self.stages}] {elapsed:4.0f} s  {what} ")
            self.stream.flush()

    def _erase(self) -> None:
        if self.stream.isatty():
            self.stream.write("\r\x1b[K")
            self.stream.flush()


_WIDTH = 34


def _tqdm_bar(stages: int, stream: TextIO) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    layout = "{desc} {bar:20} {n_fmt}/{total_fmt}  {elapsed}"
    return tqdm(total=stages, file=stream, leave=False, bar_format=layout, disable=not stream.isatty())


def bold(text: str) -> str:
    """The text in bold, if the output is a terminal and NO_COLOR is not set."""
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def duration(seconds: float) -> str:
    """A duration with three digits and a unit.

    >>> [duration(t) for t in (12.34, 0.5, 0.00123, 4.5e-6)]
    ['12.3 s', '500 ms', '1.23 ms', '4.50 µs']
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * factor:
            return f"{digits(seconds / factor)} {unit}"
    return f"{digits(seconds * 1e9)} ns"


def digits(x: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{x:.{max(0, 2 - max(0, len(str(int(abs(x)))) - 1))}f}"


def table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Rows of cells as lines, with the first column aligned to the left and the others to the right.

    >>> table([("", "a"), ("row", "1.5")], "")
    ['       a', 'row  1.5']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + _line(cells, widths).rstrip() for cells in rows]


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    right = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([cells[0].ljust(widths[0]), *right])
