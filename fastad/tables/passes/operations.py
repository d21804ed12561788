"""Counts of scalar operations."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Operations:
    """Counts of scalar operations. `products` are the multiplications of matrix products, counted in
    `multiplications` too; `moves` are elements copied, which `total` leaves out."""

    additions: int = 0
    multiplications: int = 0
    divisions: int = 0
    functions: int = 0
    comparisons: int = 0
    moves: int = 0
    products: int = 0

    @property
    def total(self) -> int:
        return self.additions + self.multiplications + self.divisions + self.functions + self.comparisons

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: int) -> "Operations":
        return Operations(*(getattr(self, f.name) * times for f in fields(self)))

    __rmul__ = __mul__
