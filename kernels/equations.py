"""What is computed from the solution of an equation, as far as the equation was solved."""

from .flags import at, kernel

SINGULAR = 2.0  # the status of an equation whose Jacobian has no inverse


@kernel
def solved_forward(out, x, y, z, s):
    """The vectors X, one for each equation, of statuses Z; s = (batch, m, n, strict). Returns 1 where an equation was
    not solved; unless strict only where its Jacobian is singular."""
    batch, m, strict = s[0], s[1], s[3]
    for p in range(batch):
        status = z[at(p)]
        if status == SINGULAR or (strict and status != 0.0):
            return 1
    for i in range(batch * m):
        out[at(i)] = x[at(i)]
    return 0
