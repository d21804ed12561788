"""The fixed part of the interpreter's source text, which `source` fills with cases. One module a mode.

`thread(i, …)` is what one thread does; for the sweeps it is a lane. V[slot, lane] are values, W[slot, lane] tangents
or adjoints, so that the lanes of a warp read neighbouring numbers. All lanes share the program: its steps, the columns
of scalar rows, constants, static integers (see `fastad.kernels.fields`). s is a step.
"""

HEAD = '''
def place(s, i, row, column, slot, size):
    """Slot of an operand of row i of a step: from the columns in a run of scalar rows, else from the step."""
    if s[KIND] == SCALARS:
        return int64(column[row + i])
    return s[slot] + i * int64(s[size] != 1)

'''

ARRAYS_HEAD = '''
def assemble(V, s, lane, statics, pool, result, which):
    """Write all pieces of an assembly over zeros, or over the first one if that is an array of the result's size."""
    out, t, where = V[result : result + s[SIZE], lane], statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]], 0
    if s[A_SIZE] == 0 or pool[s[A_SLOT], OPERAND_SIZE] != s[SIZE]:
        for i in range(s[SIZE]):
            out[i] = 0.0
    for k in range(s[A_SIZE]):
        slot, size = pool[s[A_SLOT] + k, which], pool[s[A_SLOT] + k, OPERAND_SIZE]
        width = 2 + 2 * t[where]
        if size == 1:
            out[t[where + 1]] = V[slot, lane]
        elif slot != result:
            x = V[slot : slot + size, lane]
            assemble_forward(out, x, x, t[where : where + width])
        where += width
    return 0
'''

VALUES = '''
def scalars(V, s, lane, codes, A, B, C, K):
    """Rows of one number each, or the elements of a row of arrays. Returns 0, or i + 1 of a guard."""
    row, step = s[ROW], int64(s[KIND] == SCALARS)
    for i in range(s[SIZE]):
        code, o = int64(codes[row + i * step]), s[OUT] + i
        a, b = place(s, i, row, A, A_SLOT, A_SIZE), place(s, i, row, B, B_SLOT, B_SIZE)
        c = place(s, i, row, C, C_SLOT, C_SIZE)
<CASES>
    return 0


def thread(i, V, K, steps, codes, A, B, C, statics, pool, filled, status, lanes, work, work_size):
    lane = i
    for j in range(filled.shape[0]):  # constants of several numbers
        for m in range(filled[j, 2]):
            V[filled[j, 0] + m, lane] = K[filled[j, 1] + m]
    found = 0
    for k in range(steps.shape[0]):
        s = steps[k]
        row = s[ROW]
        if s[KIND] != ARRAY:
            failed = scalars(V, s, lane, codes, A, B, C, K)
            if failed != 0:
                found = row + failed
        else:
            <ARRAY>
            if failed != 0:
                found = row + 1 if failed == 2 else -(row + 1)
        if found != 0:
            break
    status[lane] = found
'''

VALUES_ARRAYS = '''
def array(V, s, lane, statics, pool, work, work_size):
    """A row of an array primitive; returns 0, 1 for an error, or 2 for a failed guard."""
    op = s[OP]
    out, w = V[s[OUT] : s[OUT] + s[SIZE], lane], V[work : work + work_size, lane]
    t = statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]]
    x, y = V[s[A_SLOT] : s[A_SLOT] + s[A_SIZE], lane], V[s[B_SLOT] : s[B_SLOT] + s[B_SIZE], lane]
<ARRAYS>
    return 0

'''

ADJOINTS = '''
def scalars(V, W, s, lane, codes, A, B, C, D):
    """Add the contributions of rows of one number each to the adjoints of their operands, the last row first."""
    row, step, n = s[ROW], int64(s[KIND] == SCALARS), s[SIZE]
    for j in range(n):
        i = n - 1 - j
        code = int64(codes[row + i * step])
        if code == 0:
            continue
        o, do = s[OUT] + i, s[OUT_D] + i
        a, b = place(s, i, row, A, A_SLOT, A_SIZE), place(s, i, row, B, B_SLOT, B_SIZE)
        c = place(s, i, row, C, C_SLOT, C_SIZE)
        da, db = place(s, i, row, D, A_D, A_SIZE), place(s, i, row, B, B_D, B_SIZE)
        dc = place(s, i, row, C, C_D, C_SIZE)
<CASES>


def thread(i, V, W, seeds, steps, codes, A, B, C, D, statics, pool, again, seeded, status, lanes):
    lane = i
    if status[lane] != 0:
        return
    for j in range(seeded.shape[0]):  # adjoints of results that are the same number in all elements
        for m in range(seeded[j, 1]):
            W[seeded[j, 0] + m, lane] += seeds[j]
    for k in range(steps.shape[0] - 1, -1, -1):
        s = steps[k]
        if s[KIND] == SCALARS:
            scalars(V, W, s, lane, codes, A, B, C, D)
        elif s[CHOICE] != 0:
            <AGAIN>
            if s[KIND] == ELEMENTS:
                scalars(V, W, s, lane, codes, A, B, C, D)
            <ARRAY>
            if s[CLEARED] != 0:
                for m in range(s[SIZE]):
                    W[s[OUT_D] + m, lane] = 0.0
'''

READ_AGAIN = '''
def read_again(V, s, lane, statics):
    """Run a step that reads a region of another row."""
    x = V[s[A_SLOT] : s[A_SLOT] + s[A_SIZE], lane]
    strided_forward(V[s[OUT] : s[OUT] + s[SIZE], lane], x, x, statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]])
'''

ADJOINTS_ARRAYS = '''
def piece_back(W, lane, slot, size, out, t):
    if size == 1:
        W[slot, lane] += out[t[1]]
        out[t[1]] = 0.0
    else:
        x = W[slot : slot + size, lane]
        assemble_reverse(x, x, out, x, x, x, t)


def assemble_back(W, s, lane, statics, pool):
    """Add an assembly's adjoint to those of its pieces; it is zero afterwards, unless it is in the first one's slot.
    The first piece comes last, because the others may have overwritten parts of it."""
    out, t, where = W[s[OUT_D] : s[OUT_D] + s[SIZE], lane], statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]], 0
    for k in range(s[A_SIZE]):
        width, p = 2 + 2 * t[where], s[A_SLOT] + k
        if k > 0:
            piece_back(W, lane, pool[p, DERIVED_SLOT], pool[p, OPERAND_SIZE], out, t[where : where + width])
        where += width
    p = s[A_SLOT]
    if s[A_SIZE] > 0 and pool[p, DERIVED_SLOT] != s[OUT_D]:
        piece_back(W, lane, pool[p, DERIVED_SLOT], pool[p, OPERAND_SIZE], out, t[0 : 2 + 2 * t[0]])


def array(V, W, s, lane, statics, pool):
    op = s[OP]
    out, dout = V[s[OUT] : s[OUT] + s[SIZE], lane], W[s[OUT_D] : s[OUT_D] + s[SIZE], lane]
    t = statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]]
    x, y = V[s[A_SLOT] : s[A_SLOT] + s[A_SIZE], lane], V[s[B_SLOT] : s[B_SLOT] + s[B_SIZE], lane]
    dx, dy = W[s[A_D] : s[A_D] + s[A_SIZE], lane], W[s[B_D] : s[B_D] + s[B_SIZE], lane]
<ARRAYS>

'''

TANGENTS = '''
def scalars(V, W, s, lane, codes, A, B, C, D):
    """Tangents of rows of one number each."""
    row, step = s[ROW], int64(s[KIND] == SCALARS)
    for i in range(s[SIZE]):
        code = int64(codes[row + i * step])
        if code == 0:
            continue
        o = s[OUT] + i
        a, b = place(s, i, row, A, A_SLOT, A_SIZE), place(s, i, row, B, B_SLOT, B_SIZE)
        c = place(s, i, row, C, C_SLOT, C_SIZE)
        pa, pb, pc, ona, onb, onc = zero, zero, zero, False, False, False
<CASES>
        total = zero
        if ona:
            total = pa * W[place(s, i, row, D, A_D, A_SIZE), lane]
        if onb:
            total += pb * W[place(s, i, row, B, B_D, B_SIZE), lane]
        if onc:
            total += pc * W[place(s, i, row, C, C_D, C_SIZE), lane]
        W[s[OUT_D] + i, lane] = total


def thread(i, V, W, steps, codes, A, B, C, D, statics, pool, status, lanes, work, work_size):
    lane = i
    if status[lane] != 0:
        return
    for k in range(steps.shape[0]):
        s = steps[k]
        if s[KIND] == SCALARS:
            scalars(V, W, s, lane, codes, A, B, C, D)
            continue
        <AGAIN>
        if s[CHOICE] != 0:
            if s[KIND] == ELEMENTS:
                scalars(V, W, s, lane, codes, A, B, C, D)
            <ARRAY>
'''

TANGENTS_ARRAYS = """
def array(V, W, s, lane, statics, pool, work, work_size):
    op = s[OP]
    out, dout = V[s[OUT] : s[OUT] + s[SIZE], lane], W[s[OUT_D] : s[OUT_D] + s[SIZE], lane]
    t = statics[s[C_SLOT] + 1 : s[C_SLOT] + 1 + s[STATIC_COUNT]]
    x, y = V[s[A_SLOT] : s[A_SLOT] + s[A_SIZE], lane], V[s[B_SLOT] : s[B_SLOT] + s[B_SIZE], lane]
    dx, dy = W[s[A_D] : s[A_D] + s[A_SIZE], lane], W[s[B_D] : s[B_D] + s[B_SIZE], lane]
    w = V[work : work + work_size, lane]
<ARRAYS>

"""

# Between arrays of the caller and the arena. A thread moves one number: neighbouring threads those of neighbouring
# lanes, so that the arena's side coalesces.
LOAD = """
def thread(i, V, x, slot, lanes, lane_stride, element_stride, adds):
    k, lane = i // lanes, i % lanes
    value = x[lane * lane_stride + k * element_stride]
    if adds != 0:
        V[slot + k, lane] += value
    else:
        V[slot + k, lane] = value
"""

STORE = """
def thread(i, V, x, slot, lanes, lane_stride, element_stride):
    k, lane = i // lanes, i % lanes
    if slot < 0:
        x[lane * lane_stride + k * element_stride] = 0
    else:
        x[lane * lane_stride + k * element_stride] = V[slot + k, lane]
"""
