"""What the generated sweeps stand on: raw memory, moves between vectors and arenas, operands that are listed.

A sweep reads a program: addresses and counts, whose indices have names in `fields`.
"""

from . import fields as f
from .flags import at, helper
from .memory import address, doubles, integers, view
from .moving import assemble_forward, assemble_reverse, strided_forward


@helper
def place(base, slot):
    """Pointer to a slot of an arena."""
    return doubles(address(base) + 8 * slot)


@helper
def operand(arena, slot):
    """Pointer to a slot of an arena, or to what lies outside of it, at the address in slot -1 - `slot`."""
    if slot < 0:
        return doubles(integers(address(arena))[-1 - slot])
    return place(arena, slot)


@helper
def statics(p, s):
    """Pointer to the integers of an array row."""
    return integers(p[f.STATICS] + 8 * (s[f.C_SLOT] + 1))


# -- between vectors and arenas --------------------------------------------------------------------
@helper
def _source(vector, m):
    if m[f.HOW] == f.INLINE:
        return place(vector, m[f.PLACE])
    if m[f.HOW] == f.REFERENCE:
        return doubles(integers(address(vector))[m[f.PLACE]])
    return doubles(m[f.PLACE])


@helper
def load(arena, vector, moves, count):
    """Copy values from a vector to their slots."""
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        source, target, step = _source(vector, m), place(arena, m[f.SLOT]), 0 if m[f.HOW] == f.SPREAD else 1
        for i in range(m[f.COUNT]):
            target[i] = source[i * step]


@helper
def refer(arena, vector, moves, count):
    """Write the addresses of values to their slots."""
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        integers(address(arena))[m[f.SLOT]] = address(_source(vector, m))


@helper
def refer_to_zeros(arena, vector, moves, count):
    """The same, of results that begin as zeros."""
    refer(arena, vector, moves, count)
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        clear(_source(vector, m), m[f.COUNT])


@helper
def load_add(arena, vector, moves, count):
    """Add values from a vector to their slots."""
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        source, target, step = _source(vector, m), place(arena, m[f.SLOT]), 0 if m[f.HOW] == f.SPREAD else 1
        for i in range(m[f.COUNT]):
            target[i] += source[i * step]


@helper
def store(arena, vector, moves, count):
    """Copy values from their slots to a vector."""
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        target, source, zero = _source(vector, m), place(arena, m[f.SLOT]), m[f.SLOT] == f.ZERO
        if m[f.SLOT] < f.ZERO:
            source = operand(arena, m[f.SLOT] - f.ZERO)
        for i in range(m[f.COUNT]):
            target[i] = 0.0 if zero else source[i]


# Several directions: their arenas follow one another in memory, and so do their values in the vector.
@helper
def load_directions(arenas, vector, moves, count, directions, size):
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        for d in range(directions):
            source, target = place(_source(vector, m), d * m[f.COUNT]), place(arenas, d * size + m[f.SLOT])
            for i in range(m[f.COUNT]):
                target[i] = source[i]


@helper
def store_directions(arenas, vector, moves, count, directions, size):
    for k in range(count):
        m = integers(moves + 8 * f.MOVE * k)
        for d in range(directions):
            target, source = place(_source(vector, m), d * m[f.COUNT]), place(arenas, d * size + m[f.SLOT])
            for i in range(m[f.COUNT]):
                target[i] = 0.0 if m[f.SLOT] == f.ZERO else source[i]


@helper
def clear(p, n):
    for i in range(n):
        p[i] = 0.0


# -- rows that list their operands in the pool -----------------------------------------------------------
@helper
def _piece(p, s, k):
    """Fields of operand k."""
    return integers(p[f.POOL] + 8 * f.LISTED_OPERAND * (s[f.A_SLOT] + k))


@helper
def listed(p, arena, s, k):
    """Pointer to operand k of a row that lists them."""
    return operand(arena, _piece(p, s, k)[f.VALUE_SLOT])


@helper
def listed_size(p, s, k):
    return _piece(p, s, k)[f.OPERAND_SIZE]


@helper
def read_again(p, values, s):
    """Run a step that reads a region of another row."""
    x = view(operand(values, s[f.A_SLOT]), s[f.A_SIZE])
    strided_forward(view(place(values, s[f.OUT]), s[f.SIZE]), x, x, view(statics(p, s), s[f.STATIC_COUNT]))


@helper
def assemble(p, arena, s, result, which):
    """Write all pieces of an assembly over zeros, or over the first one if that is an array of the result's size: it is
    copied, unless it is in the same slot. `which` of their slots the operands have in this arena."""
    out, t, where = view(place(arena, result), s[f.SIZE]), view(statics(p, s), s[f.STATIC_COUNT]), 0
    if s[f.A_SIZE] == 0 or listed_size(p, s, 0) != s[f.SIZE]:
        out[:] = 0.0
    for k in range(s[f.A_SIZE]):
        slot, size = _piece(p, s, k)[which], listed_size(p, s, k)
        width = 2 + 2 * t[at(where)]
        if size == 1:
            out[at(t[at(where + 1)])] = arena[slot]
        elif slot != result:
            x = view(operand(arena, slot), size)
            assemble_forward(out, x, x, t[where : where + width])
        where += width
    return 0


@helper
def assemble_back(p, adjoints, s):
    """Add an assembly's adjoint to those of its pieces; it is zero afterwards, unless it is in the first one's slot.

    The first piece comes last, because the others may have overwritten parts of it. The others do not overlap.
    """
    out, t, where = view(place(adjoints, s[f.OUT_D]), s[f.SIZE]), view(statics(p, s), s[f.STATIC_COUNT]), 0
    for k in range(s[f.A_SIZE]):
        width = 2 + 2 * t[at(where)]
        if k > 0:
            _piece_back(p, adjoints, s, k, out, t[where : where + width])
        where += width
    if s[f.A_SIZE] > 0 and _piece(p, s, 0)[f.DERIVED_SLOT] != s[f.OUT_D]:
        _piece_back(p, adjoints, s, 0, out, t[0 : 2 + 2 * t[at(0)]])


@helper
def _piece_back(p, adjoints, s, k, out, t):
    slot, size = _piece(p, s, k)[f.DERIVED_SLOT], listed_size(p, s, k)
    if size == 1:
        source = at(t[at(1)])
        adjoints[slot] += out[source]
        out[source] = 0.0
    else:
        x = view(operand(adjoints, slot), size)
        assemble_reverse(x, x, out, x, x, x, t)
