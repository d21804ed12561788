"""The program that a sweep reads: an op table made ready to run, by the names of its fields.

A program is an int64 array of addresses and counts, so that one compiled sweep serves every program. Its rows
are grouped into steps: a run of scalar rows, an elementwise row of arrays, or a row of an array primitive. A row
that contains another program (a loop, a call) is to be one more kind of step, which runs a sweep with that
program's address and a further place in the arena.
"""

# Fields of a program. Addresses, unless a number is meant. WORK is the place of scratch memory behind the arenas.
# ENTRIES has the addresses, by opcode, of the kernels that sweeps do not contain. ARENA is where the arena of
# tangents or adjoints begins, over values that they do not need, and DERIVED its size. Single numbers have the same
# slot in both; where D differs from A, a number is read from an array. READ_AGAIN are the numbers of the steps that a
# step of the reverse sweep reads again. REFERRED are moves of addresses, of arrays that are read where they lie,
# MADE_THERE those of adjoints that are made where the results are to be.
(
    STEPS,
    STEP_COUNT,
    CODES,
    A,
    B,
    C,
    CONSTANTS,
    STATICS,
    POOL,
    SPECIALS,
    RAMP,
    ZEROS,
    ARENA,
    LOADS,
    LOAD_COUNT,
    STORES,
    STORE_COUNT,
    VALUES,
    ACTIVE_CODES,
    SEEDS,
    SEED_COUNT,
    RESULTS,
    RESULT_COUNT,
    DIRECTIONS,
    WORK,
    WORK_SIZE,
    ENTRIES,
    D,
    DERIVED,
    READ_AGAIN,
    REFERRED,
    REFERRED_COUNT,
    MADE_THERE,
    MADE_THERE_COUNT,
    FIELDS,
) = range(35)

# Fields of a step. A_SIZE etc. are the sizes of the operands; CHOICE tells which operands carry derivatives. A slot
# -1 - k of an operand's value or adjoint stands for an array outside of the arena, whose address is in slot k. OUT_D
# etc. are the slots of tangents or adjoints; CLEARED is 1 if that of the result serves an earlier row from then on.
KIND, OP, ROW, SIZE, OUT, A_SLOT, A_SIZE, B_SLOT, B_SIZE, C_SLOT, C_SIZE, STATIC_COUNT, CHOICE = range(13)
# AGAIN, AGAIN_COUNT: the part of READ_AGAIN that comes before the step in the reverse sweep; IS_AGAIN is 1 for those
# steps.
OUT_D, A_D, B_D, C_D, CLEARED, AGAIN, AGAIN_COUNT, IS_AGAIN, STEP = range(13, 22)

# Fields of an operand in the pool: its slot, its size, the slot of its tangent or adjoint.
VALUE_SLOT, OPERAND_SIZE, DERIVED_SLOT, LISTED_OPERAND = range(4)
SCALARS, ELEMENTS, ARRAY = range(3)

# Fields of a move between the arena and a vector. PLACE is an offset in the vector (INLINE), the offset of
# an address in it (REFERENCE), or an address (ABSOLUTE; SPREAD repeats the one number there). A slot
# ZERO holds zeros, and ZERO - 1 - k stands for the array whose address is in slot k.
SLOT, PLACE, COUNT, HOW, MOVE = range(5)
ZERO = -1
INLINE, REFERENCE, ABSOLUTE, SPREAD = range(4)

# Elements of an array row that one call of the scalar loop takes: the length of RAMP (0, 1, ..) and ZEROS.
TILE = 1024

# A primitive that passes derivatives through operands listed in the pool, and an input that may be chosen.
POOLED, CHOSEN = 8, 16

# Fields of the program that finds active rows: how many rows there are, and addresses of uint8, uint16 (columns op and
# type) and int32 (columns a, b, c; the pool).
(ROWS, MASKS, REACHED, PASSES, FLOATING, PICKED, OP_COLUMN, TYPE_COLUMN, A_COLUMN, B_COLUMN, C_COLUMN, LISTED) = range(
    12
)
