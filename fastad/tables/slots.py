"""Slots: places in a vector of doubles, which are given back and serve again."""


class Slots:
    """Slots by size; a slot given back serves rows of its size, or is cut up for smaller ones."""

    def __init__(self) -> None:
        self.end = 0
        self.free: dict[int, list[int]] = {}

    def take(self, size: int) -> int:
        """The start of a slot."""
        if exact := self.free.get(size):
            return exact.pop()
        fitting = [s for s, slots in self.free.items() if slots and s >= size]
        if fitting:
            best = min(fitting)
            start = self.free[best].pop()
            if best > size:
                self.give(start + size, best - size)
            return start
        start, self.end = self.end, self.end + size
        return start

    def give(self, start: int, size: int) -> None:
        """Give a slot back."""
        self.free.setdefault(size, []).append(start)
