"""The solution within a step."""

from dataclasses import dataclass
from typing import Any

from fastad.tables.builder import Builder, Ref


@dataclass(frozen=True)
class DenseOutput:
    """The solution within a step, y + h Σ wᵢ(θ) vᵢ: coefficients of θ, θ², … of the polynomials wᵢ. The vectors vᵢ are
    what a step of the method returns."""

    polynomials: tuple[tuple[float, ...], ...]

    @staticmethod
    def of(method: Any) -> "DenseOutput":
        found: DenseOutput = method.output
        return found

    def weights(self, b: Builder, theta: Ref) -> list[Ref]:
        """The polynomials at θ."""
        found = []
        for row in self.polynomials:
            value = b.const(row[-1])
            for coefficient in (*row[-2::-1], 0.0):
                value = b.multiply(value, theta)
                value = b.add(value, b.const(coefficient)) if coefficient else value
            found.append(value)
        return found

    def emit(self, b: Builder, theta: Ref, y: Ref, h: Ref, vectors: list[Ref]) -> Ref:
        """The rows of the solution at θ."""
        first, *others = [b.multiply(w, v) for w, v in zip(self.weights(b, theta), vectors, strict=True)]
        return b.add(y, b.multiply(h, b.add(first, *others)))

    def evaluate(self, theta: Any, vectors: Any) -> Any:
        """Σ wᵢ(θ) vᵢ for arrays: θ of any shape, vectors (count, …, n)."""
        weights = [sum(c * theta ** (p + 1) for p, c in enumerate(row)) for row in self.polynomials]
        return sum(w[..., None] * v for w, v in zip(weights, vectors, strict=True))


# The cubic of both ends: of the derivative at the start, of the increment divided by h, of the derivative at the end.
HERMITE = DenseOutput(((1.0, -2.0, 1.0), (0.0, 3.0, -2.0), (0.0, -1.0, 1.0)))
