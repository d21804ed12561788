"""What a step needs to solve the equations of its implicit stages, and what it counts of that."""

from dataclasses import dataclass, field, replace

from fastad.ode.iteration import Iteration
from fastad.ode.newton import Block, Solved
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.sub import packed, slices

TOLERANCE = 1e-2  # errors of trial steps, relative to those that are tolerated
_EXACT = 1e-7  # errors, relative to the solution, from where one Newton step leaves rounding errors
FIXED = 1e-13, 1e-10  # what fixed steps take for absolute and relative tolerances of their equations
_TINY = 1e-200
_FAR = 1e30  # what the estimate of a step that has failed is multiplied by


@dataclass
class Stages:
    """The equations of a step from (t, y), of size h. What the steps share goes on with the tolerances behind what the
    right-hand side is given."""

    b: Builder
    iteration: Iteration
    t: Ref
    h: Ref
    y: Ref
    shared: Ref
    exact: bool
    checks_adjoints: bool = False
    solved: list[Solved] = field(default_factory=list)
    residuals: list[Ref] = field(default_factory=list)
    calls: int = 0

    @property
    def n(self) -> int:
        return self.iteration.n

    @property
    def scales(self) -> Ref:
        """What errors are relative to."""
        return self.b.emit("stop_gradient", (self.scales_of(self.b.emit("absolute", (self.y,))),))

    def scales_of(self, size: Ref) -> Ref:
        """What errors of a vector of this size are relative to."""
        b, n = self.b, self.n
        _, absolute, relative = slices(b, self.shared, (self.iteration.shared, n, n))
        return b.add(b.const(1e-300), absolute, b.multiply(relative, size))

    @property
    def tolerance(self) -> Ref:
        """The error that Newton's iteration may leave, relative to the scales."""
        b, n = self.b, self.n
        if not self.exact:
            return b.const(TOLERANCE)
        relative = slices(b, self.shared, (self.iteration.shared + n, n))[1]
        largest = b.emit("amax", (relative,), (1, n, 1), ())
        large = b.emit("greater", (largest, b.const(_EXACT / TOLERANCE)))
        part = b.emit("divide", (b.const(_EXACT), b.emit("where", (large, largest, b.const(1.0)))))
        return b.emit("where", (large, part, b.const(TOLERANCE)))

    def block(self, a: tuple[tuple[float, ...], ...], c: tuple[float, ...]) -> Block:
        """Coupled stages with these rows of the tableau."""
        known = vars(self.iteration).setdefault("_blocks", {})
        key = a, c, self.exact
        if key not in known:
            exact = self.iteration.exact if len(c) > 1 else None
            linear = self.iteration.solver_of(a)
            if self.exact and exact is not None and not exact.plan_size:  # one kind of factors for both
                linear, exact = exact, None
            known[key] = Block(self.iteration, a, c, linear, exact)
        found: Block = known[key]
        return found

    def mass(self, v: Ref) -> Ref:
        """M v."""
        return self.iteration.moved(self.b, self.t, self.y, self.shared, v)

    def filtered(self, block: Block, t: Ref, factors: Ref, v: Ref) -> Ref:
        """(M − γh ∂f/∂y)⁻¹ v at the start of the step."""
        at = block.at(self.b, self.b.zeros((self.n,)), self.theta(t, self.y))
        return block.linear.solve(at, factors, v, transposed=False, derived=self.exact)

    def first_slope(self, block: Block, factors: Ref, v: Ref) -> Ref:
        """The solution of M x = v at the start of the step; where M is singular, that with M − γh ∂f/∂y."""
        mass = self.iteration.mass
        if mass is None:
            return v
        if mass.is_singular:
            return self.filtered(block, self.t, factors, v)
        still = replace(self, h=self.b.const(0.0))
        return still.filtered(block, self.t, block.factored(self.b, still.theta(self.t, self.y)), v)

    def theta(self, t: Ref, y: Ref) -> Ref:
        """The parameters of a block."""
        b, h, mass = self.b, self.h, self.iteration.mass
        if mass is not None and mass.is_singular:  # a step of size 0 has a regular matrix too
            h = b.emit("where", (b.emit("equal", (h, b.const(0.0))), b.const(_TINY), h))
        shared = slices(b, self.shared, (self.iteration.shared,))[0]
        return packed(b, [t, h, y, shared])

    def solve(self, block: Block, t: Ref, y: Ref, z: Ref, factors: Ref, part: Ref | None = None) -> Ref:
        """The increments z of a block at a time, for the base y, from a first guess. Corrections of a trial step are
        scaled by `part`."""
        b, theta = self.b, self.theta(t, y)
        if self.exact:
            found = block.solved(b, z, theta, factors, self.scales, self.tolerance)
        else:
            eta = b.const(1.0)
            if self.solved:
                last = b.emit("maximum", (b.reshape(self.solved[-1].eta, ()), b.const(1e-16)))
                eta = b.emit("power", (last, b.const(0.8)))
            found = block.quick(b, z, theta, factors, self.scales, self.tolerance, eta, part)
            if self.checks_adjoints:
                self.residuals.append(self._residual(block, t, y, factors, found))
        self.solved.append(found)
        self.calls += len(block.c)
        return found.z

    def _residual(self, block: Block, t: Ref, y: Ref, factors: Ref, found: Solved) -> Ref:
        """That of the adjoint system of a block, relative; of one that was not solved, of a step of size 0."""
        b, failed = self.b, found.failed
        own = replace(self, exact=True, h=b.emit("where", (failed, b.const(0.0), self.h)))
        z = b.emit("where", (b.broadcast(failed, (block.n,)), b.zeros((block.n,)), found.z))
        return block.adjoint_residual(b, z, own.theta(t, y), factors, self.scales, own.tolerance)

    # ── what is known of them ────────────────────────────────────────────────────────────────────────────────
    @property
    def failed(self) -> Ref:
        """Whether a block was not solved."""
        first, *others = [found.failed for found in self.solved]
        for other in others:
            first = self.b.emit("logical_or", (first, other))
        return first

    def checked(self, errors: Ref) -> Ref:
        """Error estimates that are huge where a block was not solved, most where its last correction is."""
        b = self.b
        steps = [b.emit("where", (b.broadcast(found.failed, (self.n,)), slices(b, found.step, (self.n,))[0],
                                  b.zeros((self.n,)))) for found in self.solved]  # fmt: skip
        return b.emit("where", (b.broadcast(self.failed, (self.n,)), b.multiply(b.const(_FAR), b.add(*steps)), errors))

    def counts(self) -> Ref:
        """[evaluations, Jacobians, factorisations, iterations, blocks that were not solved, errors left in the others,
        residuals of their adjoint systems]."""
        b = self.b
        number = lambda x: b.reshape(x, (1,))
        iterations = b.add(*(number(found.count) for found in self.solved))
        per = self.calls // len(self.solved)
        failures = b.add(*(number(b.cast(found.failed, (), "d")) for found in self.solved))
        left = b.add(*(number(b.emit("where", (found.failed, b.const(0.0), found.left))) for found in self.solved))
        one = b.const([1.0])
        residual = b.add(b.const([0.0]), *map(number, self.residuals))
        return packed(b, [b.multiply(b.const(float(per)), iterations), one, one, iterations, failures, left, residual])
