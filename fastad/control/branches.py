"""`cond`: a choice between two functions, made at every run."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.parts import Shared, emit, kind_of, numeric, operand_refs, record_part
from fastad.control.sinking import lengths, sunk
from fastad.errors import ShapeError
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.tables.builder import dtype_char
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.sub import packed, unpacked
from fastad.transforms.call import unflatten


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """true_fun(*operands) if pred else false_fun(*operands), decided at every run. Derivatives are those of the branch
    taken.

    Both functions return the same structure and shapes. Only the branch taken is run, but both are recorded, so both
    must be able to run on the operands. A Python `if` also works: it records one path for each outcome (a guard). Use
    `cond` for choices that change often, inside loops, or between the lanes of a vmap. The derivative with respect to
    `pred` is zero; that of `fad.soft.cond` is not.

    Parameters
    ----------
    pred : a number or array of one element; 0 is false, as in Python.
    true_fun, false_fun : functions of the operands; they may refer to recorded values from outside.
    operands : pytrees of arrays and numbers.

    Raises ShapeError where the results differ in structure or shape.

    >>> import numpy as np, fastad as fad
    >>> f = fad.grad(lambda x: fad.cond(x > 0, np.sin, np.exp, x))
    >>> float(f(0.0)), round(float(f(1.0)), 4)
    (1.0, 0.5403)
    """
    for function, name in ((true_fun, "true_fun"), (false_fun, "false_fun")):
        if not callable(function):
            raise TypeError(f"{name} of cond must be a function{at_line()}; for values, use np.where(pred, a, b)")
    if not isinstance(pred, Recorded):
        return true_fun(*operands) if _truth(pred) else false_fun(*operands)
    if pred.size != 1:
        raise ShapeError(f"the condition of cond has shape {pred.shape}{at_line()}; use np.where for arrays")
    leaves, structure = numeric(operands, "an operand of cond")
    args = unflatten(structure, leaves)
    before = lengths()
    yes, no = (record_part(f, args, name) for f, name in ((true_fun, "true_fun of cond"), (false_fun, "false_fun")))
    yes, no = sunk(yes, before), sunk(no, before)
    kinds = _common(yes, no)
    shared = Shared([yes, no])
    lead = [kind_of(x) for x in leaves]
    choice = Branch.of([shared.sub(part, lead, kinds) for part in (no, yes)], "cond")
    recorder, refs = operand_refs([pred, *leaves, *shared.values])

    def rows(b: Any) -> list[int]:
        number = b.truth(b.reshape(refs[0], ()))
        return unpacked(b, b.call(choice, packed(b, [number, *refs[1:]])), kinds)

    given = iter(emit(recorder, rows, [yes, no]))
    filled = [next(given) if x is None else x.value for x in yes.program.out_leaves]
    return unflatten(yes.program.out_tree, filled)


def _truth(pred: Any) -> bool:
    if np.size(pred) != 1:
        raise ShapeError(f"the condition of cond has shape {np.shape(pred)}{at_line()}; use np.where for arrays")
    return bool(np.reshape(pred, ()))


def _common(yes: Any, no: Any) -> list[ValueType]:
    """Types of the results, with promoted dtypes. ShapeError where the branches differ in structure or shapes."""
    same = yes.program.out_tree == no.program.out_tree and _fixed(yes) == _fixed(no)
    if not same or [k.shape for k in yes.results] != [k.shape for k in no.results]:
        raise ShapeError(
            f"the branches of cond must return the same structure and shapes{at_line()}: true_fun returns "
            f"{_shown(yes)}, false_fun {_shown(no)}"
        )
    dtypes = [np.result_type(DTYPES[a.dtype], DTYPES[b.dtype]) for a, b in zip(yes.results, no.results, strict=True)]
    return [ValueType(k.shape, dtype_char(d)) for k, d in zip(yes.results, dtypes, strict=True)]


def _fixed(part: Any) -> list[Any]:
    return [None if x is None else (x.value,) for x in part.program.out_leaves]


def _shown(part: Any) -> str:
    kinds = iter(part.results)
    texts = [str(list(next(kinds).shape)) if x is None else repr(x.value) for x in part.program.out_leaves]
    return str(unflatten(part.program.out_tree, texts)).replace("'", "")
