"""The functions of `activity`, compiled, over a program of the addresses of their arguments (see `fields`)."""

from . import activity
from . import fields as f
from .flags import helper
from .memory import halves, indices, octets, view

_depend, _reach = helper(activity.depend), helper(activity.reach)


@helper
def find_activity(p):
    """Both functions, one after the other."""
    n = p[f.ROWS]
    masks, reached, passes = view(octets(p[f.MASKS]), n), view(octets(p[f.REACHED]), n), view(octets(p[f.PASSES]), n)
    columns = (
        view(halves(p[f.OP_COLUMN]), n),
        view(halves(p[f.TYPE_COLUMN]), n),
        view(indices(p[f.A_COLUMN]), n),
        view(indices(p[f.B_COLUMN]), n),
        view(indices(p[f.C_COLUMN]), n),
    )
    pool = view(indices(p[f.LISTED]), n)
    _depend(masks, passes, view(octets(p[f.FLOATING]), n), view(octets(p[f.PICKED]), n), columns, pool)
    _reach(masks, reached, passes, columns, pool)
    return 0
