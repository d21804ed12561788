"""Which rows of an op table carry derivatives: those that depend on chosen inputs and that results depend on.

These are plain Python functions of anything that can be indexed. For short tables, running them on lists is faster than
loading compiled code. `activity_entry` compiles them for long tables.
"""

from .fields import CHOSEN, POOLED


def depend(masks, passes, floating, chosen, columns, pool):
    """Set masks[row] to the operands, as bits, through which the row depends on chosen inputs; 1 for such an input.

    `columns` are op, type, a, b, c. `floating` says, by type, whether a value can have a derivative. `passes` says, by
    opcode, through which operands derivatives pass: operand k as bit k, or POOLED or CHOSEN.
    """
    op, kind, a, b, c = columns
    for i in range(len(op)):
        able, mask = passes[op[i]], 0
        if floating[kind[i]] == 0:
            able = 0
        if able & 1 != 0 and masks[a[i]] != 0:
            mask = 1
        if able & 2 != 0 and masks[b[i]] != 0:
            mask |= 2
        if able & 4 != 0 and masks[c[i]] != 0:
            mask |= 4
        if able == CHOSEN:
            mask = chosen[a[i]]
        elif able == POOLED:
            for j in range(a[i], a[i] + b[i]):
                if masks[pool[j]] != 0:
                    mask = 1
        masks[i] = mask


def reach(masks, reached, passes, columns, pool):
    """Clear the masks of rows that no result depends on. At first, `reached` marks the results."""
    op, _, a, b, c = columns
    for i in range(len(op) - 1, -1, -1):
        mask = masks[i]
        if reached[i] == 0:
            masks[i] = 0
        elif mask != 0 and passes[op[i]] == POOLED:
            for j in range(a[i], a[i] + b[i]):
                reached[pool[j]] = 1
        elif mask != 0 and passes[op[i]] != CHOSEN:
            if mask & 1 != 0:
                reached[a[i]] = 1
            if mask & 2 != 0:
                reached[b[i]] = 1
            if mask & 4 != 0:
                reached[c[i]] = 1
