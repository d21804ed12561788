"""What the generated sweeps stand on: the program they read, raw memory, and tangents of array kernels.

A program is an op table made ready to run. It is an int64 array of addresses and counts (the fields below),
so that one compiled sweep serves every program. Its rows are grouped into steps: a run of scalar rows, an
elementwise row of arrays, or a row of an array primitive. A row that contains another program (a loop, a
call) would be a step that calls a sweep with that program's address and a further place in the arena.
"""
from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from .flags import at, helper

# Fields of a program. Addresses, unless a number is meant.
(STEPS, STEP_COUNT, CODES, A, B, C, CONSTANTS, STATICS, POOL, SPECIALS, RAMP, ZEROS, ARENA, LOADS, LOAD_COUNT,
 STORES, STORE_COUNT, VALUES, ACTIVE_CODES, SEEDS, SEED_COUNT, RESULTS, RESULT_COUNT, DIRECTIONS,
 FIELDS) = range(25)

# Fields of a step. A_SIZE etc. are the sizes of the operands; CHOICE tells which operands carry derivatives.
KIND, OP, ROW, SIZE, OUT, A_SLOT, A_SIZE, B_SLOT, B_SIZE, C_SLOT, C_SIZE, STATIC_COUNT, CHOICE, STEP = range(14)
SCALARS, ELEMENTS, ARRAY = range(3)

# Fields of a move between the arena and a vector. PLACE is an offset in the vector (INLINE), the offset of
# an address in it (REFERENCE), or an address (ABSOLUTE; SPREAD repeats the one number there). A slot of -1
# holds zeros.
SLOT, PLACE, COUNT, HOW, MOVE = range(5)
INLINE, REFERENCE, ABSOLUTE, SPREAD = range(4)

# Elements of an array row that one call of the scalar loop takes: the length of RAMP (0, 1, ..) and ZEROS.
TILE = 1024


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


@helper
def place(base, slot):
    """Pointer to a slot of an arena."""
    return doubles(address(base) + 8 * slot)


@helper
def part(base, slot, size):
    """Array of the values at a slot."""
    return carray(place(base, slot), size)


@helper
def statics(p, s):
    """The integers of an array row."""
    return carray(integers(p[STATICS] + 8 * (s[C_SLOT] + 1)), s[STATIC_COUNT])


# -- between vectors and arenas --------------------------------------------------------------------
@helper
def _source(vector, m):
    if m[HOW] == INLINE:
        return place(vector, m[PLACE])
    if m[HOW] == REFERENCE:
        return doubles(integers(address(vector))[m[PLACE]])
    return doubles(m[PLACE])


@helper
def load(arena, vector, moves, count):
    """Copy values from a vector to their slots."""
    for k in range(count):
        m = integers(moves + 8 * MOVE * k)
        source, target, step = _source(vector, m), place(arena, m[SLOT]), 0 if m[HOW] == SPREAD else 1
        for i in range(m[COUNT]):
            target[i] = source[i * step]


@helper
def load_add(arena, vector, moves, count):
    """Add values from a vector to their slots."""
    for k in range(count):
        m = integers(moves + 8 * MOVE * k)
        source, target, step = _source(vector, m), place(arena, m[SLOT]), 0 if m[HOW] == SPREAD else 1
        for i in range(m[COUNT]):
            target[i] += source[i * step]


@helper
def store(arena, vector, moves, count):
    """Copy values from their slots to a vector."""
    for k in range(count):
        m = integers(moves + 8 * MOVE * k)
        target, source, zero = _source(vector, m), place(arena, m[SLOT]), m[SLOT] < 0
        for i in range(m[COUNT]):
            target[i] = 0.0 if zero else source[i]


# Several directions: the arenas of the directions lie one after another, and so do their values in the vector.
@helper
def load_directions(arenas, vector, moves, count, directions, size):
    for k in range(count):
        m = integers(moves + 8 * MOVE * k)
        for d in range(directions):
            source, target = place(_source(vector, m), d * m[COUNT]), place(arenas, d * size + m[SLOT])
            for i in range(m[COUNT]):
                target[i] = source[i]


@helper
def store_directions(arenas, vector, moves, count, directions, size):
    for k in range(count):
        m = integers(moves + 8 * MOVE * k)
        for d in range(directions):
            target, source = place(_source(vector, m), d * m[COUNT]), place(arenas, d * size + m[SLOT])
            for i in range(m[COUNT]):
                target[i] = 0.0 if m[SLOT] < 0 else source[i]


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
