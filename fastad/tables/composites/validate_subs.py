"""What composite rows must satisfy: drivers compute addresses from the sizes in their parameters."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.primitives import ASSEMBLE, CALL, STRIDED


def check_subs(subs: Iterable[Any]) -> None:
    """Raise `TableError` unless the parts of all sub-programs fit together."""
    for sub in subs:
        if "_checked" not in vars(sub):
            check_subs(sub.parts)
            complaint = sub.check()
            if complaint:
                raise TableError(f"{sub.name}: {complaint}")
            vars(sub)["_checked"] = True


def check_saved(table: Any) -> None:
    """Raise `TableError` where a row would overwrite a value that is not its own: an input, or a constant."""
    op, a, b, c = (table.columns[name] for name in ("op", "a", "b", "c"))
    for row in np.flatnonzero(op == CALL.code).tolist():
        saved = int(b[row])
        if table.subs[int(table.pools["statics"][c[row] + 1])].overwrites_saved:
            while op[saved] == STRIDED.code:  # may be a view of its operand
                saved = int(a[saved])
            if op[saved] not in (CALL.code, ASSEMBLE.code):
                raise TableError(f"row {row} (call): its saved states are not the result of a loop")
