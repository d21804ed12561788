"""What the generated sweeps stand on: raw memory, moves between vectors and arenas, tangents of array kernels.

A sweep reads a program: addresses and counts, named in `fields`.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from . import fields as f
from .flags import at, helper
from .moving import assemble_forward, assemble_reverse


# -- raw memory ------------------------------------------------------------------------------------
def _pointer_to(element):
    """An intrinsic that makes an address (an integer) a pointer to elements of a type."""

    @intrinsic
    def pointer(typing, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


doubles = _pointer_to(types.float64)
integers = _pointer_to(types.int64)
words = _pointer_to(types.uint32)
halves = _pointer_to(types.uint16)


@intrinsic
def address(typing, pointer):
    """The address that a pointer holds."""

    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], ir.IntType(64))

    return types.int64(pointer), generate


@intrinsic
def select(typing, condition, yes, no):
    """yes or no, both evaluated: unlike a conditional expression it adds no branch."""

    def generate(context, builder, signature, arguments):
        chosen, yes, no = arguments
        return builder.select(cgutils.as_bool_bit(builder, chosen), yes, no)

    return types.float64(types.boolean, types.float64, types.float64), generate


def _indirect(function, arguments):
    """Code generator for a call of the C function at an address, the first argument."""

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(context.get_value_type(function), [v.type for v in values[1:]])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])

    return function(types.int64, *arguments), generate


@intrinsic
def call1(typing, function, x):
    """f(x) for the C function f at an address."""
    return _indirect(types.float64, (types.float64,))


@intrinsic
def call2(typing, function, x, y):
    """f(x, y) for the C function f at an address."""
    return _indirect(types.float64, (types.float64, types.float64))


@intrinsic
def call_kernel(typing, function, context, inputs, outputs, work):
    """Run a kernel by its address; all arguments are addresses."""
    return _indirect(types.int64, (types.int64,) * 4)


@intrinsic
def view(typing, pointer, size):
    """Array of the values from a pointer on: like numba's carray, but borrowed, so no reference is counted."""
    array = types.Array(pointer.dtype, 1, "C")

    def generate(context, builder, signature, arguments):
        data, length = arguments
        width = context.get_constant(types.intp, context.get_abi_sizeof(data.type.pointee))
        result = arrayobj.make_array(array)(context, builder)
        arrayobj.populate_array(result, data, [length], [width], width, None)
        return result._getvalue()

    return array(pointer, types.int64), generate


@helper
def place(base, slot):
    """Pointer to a slot of an arena."""
    return doubles(address(base) + 8 * slot)


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
        target, source, zero = _source(vector, m), place(arena, m[f.SLOT]), m[f.SLOT] < 0
        for i in range(m[f.COUNT]):
            target[i] = 0.0 if zero else source[i]


# Several directions: the arenas of the directions lie one after another, and so do their values in the vector.
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
                target[i] = 0.0 if m[f.SLOT] < 0 else source[i]


@helper
def clear(p, n):
    for i in range(n):
        p[i] = 0.0


# -- tangents of array kernels that are not linear -------------------------------------------------
@helper
def extremum_tangent(out, dx, x, o, s):
    """The mean of the tangents of the values that equal the extreme (all NaN, if it is NaN)."""
    outer, n, inner = s[0], s[1], s[2]
    for p in range(outer):
        for i in range(inner):
            r = p * inner + i
            extreme, total, ties = o[at(r)], 0.0, 0.0
            for j in range(n):
                k = (p * n + j) * inner + i
                v = x[at(k)]
                if v == extreme or (v != v and extreme != extreme):
                    total += dx[at(k)]
                    ties += 1.0
            out[at(r)] = total / ties


@helper
def linrec_tangent(out, dx, dy, x, o, s):
    """With z_k = x_k z_{k-1} + y_k: dz_k = x_k dz_{k-1} + dx_k z_{k-1} + dy_k."""
    outer, n, inner = s[0], s[1], s[2]
    first, step = (n - 1, -1) if s[3] != 0 else (0, 1)
    for p in range(outer):
        j = p * n + first
        for k in range(n):
            row, last = j * inner, (j - step) * inner
            for i in range(inner):
                t = dy[at(row + i)]
                if k > 0:
                    t += x[at(row + i)] * out[at(last + i)] + dx[at(row + i)] * o[at(last + i)]
                out[at(row + i)] = t
            j += step


# -- the row with any number of operands -----------------------------------------------------------
@helper
def _piece(p, s, k):
    """Slot and size of operand k."""
    pair = integers(p[f.POOL] + 16 * (s[f.A_SLOT] + k))
    return pair[0], pair[1]


@helper
def assemble(p, arena, s):
    """Write all pieces of an assembly over zeros."""
    out, t, where = view(place(arena, s[f.OUT]), s[f.SIZE]), view(statics(p, s), s[f.STATIC_COUNT]), 0
    out[:] = 0.0
    for k in range(s[f.A_SIZE]):
        slot, size = _piece(p, s, k)
        width = 2 + 2 * t[at(where)]
        if size == 1:
            out[at(t[at(where + 1)])] = arena[slot]
        else:
            x = view(place(arena, slot), size)
            assemble_forward(out, x, x, t[where:where + width])
        where += width
    return 0


@helper
def assemble_back(p, adjoints, s):
    """Hand an assembly's adjoint to its pieces; it is zero afterwards.

    The first piece comes last: others may have been written over it, while they do not overlap each other.
    """
    out, t, where = view(place(adjoints, s[f.OUT]), s[f.SIZE]), view(statics(p, s), s[f.STATIC_COUNT]), 0
    for k in range(s[f.A_SIZE]):
        width = 2 + 2 * t[at(where)]
        if k > 0:
            _piece_back(p, adjoints, s, k, out, t[where:where + width])
        where += width
    if s[f.A_SIZE] > 0:
        _piece_back(p, adjoints, s, 0, out, t[0:2 + 2 * t[at(0)]])


@helper
def _piece_back(p, adjoints, s, k, out, t):
    slot, size = _piece(p, s, k)
    if size == 1:
        source = at(t[at(1)])
        adjoints[slot] += out[source]
        out[source] = 0.0
    else:
        x = view(place(adjoints, slot), size)
        assemble_reverse(x, x, out, x, x, x, t)
