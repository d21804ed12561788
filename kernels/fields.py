"""The program that a sweep reads: an op table made ready to run, by the names of its fields.

A program is an int64 array of addresses and counts, so that one compiled sweep serves every program. Its rows
are grouped into steps: a run of scalar rows, an elementwise row of arrays, or a row of an array primitive. A row
that contains another program (a loop, a call) is to be one more kind of step, which runs a sweep with that
program's address and a further place in the arena.
"""

# Fields of a program. Addresses, unless a number is meant. WORK is the place of scratch memory behind the arenas.
# ENTRIES has the addresses, by opcode, of the kernels that sweeps do not contain.
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
    FIELDS,
) = range(28)

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

# A primitive that passes derivatives through operands listed in the pool, and an input that may be chosen.
POOLED, CHOSEN = 8, 16

# Fields of the program that finds active rows: how many rows there are, and addresses of uint8, uint16 (columns op and
# type) and int32 (columns a, b, c; the pool).
(ROWS, MASKS, REACHED, PASSES, FLOATING, PICKED, OP_COLUMN, TYPE_COLUMN, A_COLUMN, B_COLUMN, C_COLUMN, LISTED) = range(
    12
)
