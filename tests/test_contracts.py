"""Facts of a primitive stand in its row: nobody else asks for it by name."""

import ast
import re
from pathlib import Path

import pytest

from fastad.execution.machine import exported
from fastad.primitives import PRIMITIVES, array_rows, elementwise
from fastad.primitives.arrays import array
from fastad.primitives.row import kernel_parameters

ROOT = Path(__file__).resolve().parent.parent
NAMES = {row.name for row in PRIMITIVES}
# Words that also mean something else: they count where they are compared with a name, or given to who takes one.
WORDS = {"input", "const", "call", "log", "sech", "single"}
TAKERS = {"opcode", "primitive", "emit", "emit_elementwise", "elementwise", "apply", "array", "along"}
# Where a primitive is defined: its row, its rules, and the code of its kernel.
HOMES = {
    "fastad/primitives/arrays.py", "fastad/primitives/elementwise.py", "fastad/primitives/linear.py",
    "fastad/primitives/factorisations.py", "fastad/primitives/fourier.py", "fastad/primitives/stacks.py",
    "fastad/primitives/orthogonal_rules.py",
    "fastad/primitives/spectral_rules.py", "fastad/primitives/inverse_rules.py",
    "fastad/primitives/sparse.py", "fastad/primitives/rules.py", "fastad/primitives/linear_rules.py",
    "fastad/primitives/linear_elements.py", "fastad/primitives/writing.py",
    "fastad/primitives/sparse_rules.py", "fastad/primitives/rewrites.py", "fastad/primitives/equations.py",
    "fastad/primitives/expression.py", "fastad/primitives/vocabulary.py",  # the language and the words of rules
    "fastad/execution/native/code/unrolled.py", "fastad/execution/native/code/unrolled_linear.py",
    "fastad/execution/native/code/products.py", "fastad/execution/native/code/own.py",
    "fastad/execution/native/planning/thin.py",  # products as other rows
    "fastad/execution/cuda/elements.py",  # sums by folds
    "kernels/special.py",
    "fastad/sparse/scipy_names.py",  # methods of SciPy's matrices have such names
}  # fmt: skip
# Recorded functions, and the steps of ODEs, name the rows that they make. They may not tell one primitive from another
# by its name.
LISTS = ("__all__", "_HOMES", "_OF_ENTRIES")  # of public names, some of which primitives have too
MAKERS = (
    "fastad/recording/", "fastad/soft/", "fastad/ode/", "fastad/equations/", "fastad/sparse/operators.py",
    "fastad/optimize/", "fastad/scipy_sparse.py",
    "fastad/tables/rolling/counted.py", "fastad/tables/rolling/summed.py", "fastad/tables/rolling/body.py",
    "fastad/tables/composites/solve_lanes.py", "fastad/tables/composites/wide_loops.py",
    "fastad/tables/composites/lane_control.py",
)  # fmt: skip


def quoted(source, told_apart=False):
    """(line, text) of every string that names primitives: whole, in parts, as a prefix, or in a list of words.

    With `told_apart`, whole names count only where primitives are told apart by them: in comparisons and as keys.
    """
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = node.value in NAMES and _names_it(node, parents)
            found = found and (not told_apart or _tells_apart(node, parents))
            if found or _names_some(node, parents[node]):
                yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr) and _pattern(node) and any(map(_pattern(node).fullmatch, NAMES)):
            yield node.lineno, ast.unparse(node)


def _names_it(node, parents):
    word, above = node.value, parents[node]
    while isinstance(above, ast.List | ast.Tuple | ast.Set):
        node, above = above, parents[above]
    listing = parents[above] if isinstance(above, ast.Dict) else above
    if isinstance(listing, ast.Assign) and any(isinstance(t, ast.Name) and t.id in LISTS for t in listing.targets):
        return False
    if word not in WORDS:
        return not isinstance(above, ast.JoinedStr)
    if isinstance(above, ast.Compare):
        return any(isinstance(n, ast.Attribute) and n.attr == "name" for n in ast.walk(above))
    return isinstance(above, ast.Call) and _called(above) in TAKERS


def _tells_apart(node, parents):
    above = parents[node]
    while isinstance(above, ast.List | ast.Tuple):
        node, above = above, parents[above]
    if isinstance(above, ast.Call):
        return _called(above) in ("set", "frozenset")
    return isinstance(above, ast.Compare | ast.MatchValue | ast.Set) or (
        isinstance(above, ast.Dict) and node in above.keys
    )


def _names_some(node, above):
    """"add subtract".split(), and row.name.startswith("arg")."""
    if isinstance(above, ast.Attribute) and above.attr == "split":
        return not NAMES.isdisjoint(node.value.split())
    if isinstance(above, ast.Call) and _called(above) in ("startswith", "endswith"):
        of_name = any(getattr(n, "attr", getattr(n, "id", None)) == "name" for n in ast.walk(above.func))
        return of_name and any(getattr(name, _called(above))(node.value) for name in NAMES)
    return False


def _pattern(joined):
    """What names an f-string can make, None where its own text is too short to be part of a name."""
    known = [part.value if isinstance(part, ast.Constant) else None for part in joined.values]
    if max((len(text) for text in known if text), default=0) < 3:
        return None
    return re.compile("".join(r"\w+" if text is None else re.escape(text) for text in known))


def _called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", None))


FILES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("fastad", "kernels") for path in sorted((ROOT / folder).rglob("*.py"))
}  # fmt: skip


@pytest.mark.parametrize("place", sorted(FILES.keys() - HOMES))
def test_no_primitive_is_named_outside_of_its_files(place):
    found = [f"{place}:{line} names {text!r}" for line, text in quoted(FILES[place], place.startswith(MAKERS))]
    assert not found, "\n".join([*found, "ask the row (fastad/primitives/row.py) instead"])


@pytest.mark.parametrize("place", sorted(HOMES))
def test_homes_are_needed(place):
    assert list(quoted(FILES[place]))


def test_a_planted_name_is_found():
    assert list(quoted("if row.name == 'matmul': pass")) == [(1, "matmul")]
    assert list(quoted("if row.name in ('gather', 'sum'): pass")) == [(1, "gather"), (1, "sum")]
    assert list(quoted("b.emit('add', (x, y))")) == [(1, "add")]
    assert list(quoted("row.name == 'input'")) == [(1, "input")]
    assert list(quoted("x = opcode('call')")) == [(1, "call")]
    assert list(quoted("f'{x}_solve'")) and list(quoted("f'arg{x}'"))
    assert list(quoted("'add subtract'.split()")) and list(quoted("row.name.startswith('arg')"))
    assert not list(quoted("count_text(3, 'input'); __all__ = ['solve', 'where']; f'{x}: {y}'; axes.set('log')"))


def test_recorded_functions_may_name_what_they_make_but_not_tell_it_apart():
    makes = "emit('add' if x else 'sum', y); UFUNCS['where'](a); T = {'max': 'amax'}; T = [('add', sum)]"
    assert not list(quoted(makes, told_apart=True))
    for planted in (
        "name == 'where'", "T = {'add': 1}", "name in ('add', 'sum')", "S = {'add'}", "S = frozenset(['add'])",
        "f'{x}_solve'",
    ):  # fmt: skip
        assert list(quoted(planted, told_apart=True))
    assert list(quoted("match x:\n    case 'add': pass", told_apart=True))


# ── rows and kernels ──────────────────────────────────────────────────────────────────────────────────────────
KINDS = ("forward", "reverse", "tangent")


def test_kernels_take_what_their_rows_say():
    homes = exported.kernel_homes()  # raises where one does not
    rows = {row.name for row in array_rows()}
    public = {tuple(name.rsplit("_", 1)) for name in homes if not name.startswith("_")}
    assert all(kind in KINDS for _, kind in public)
    assert {name for name, _ in public} <= rows, "a kernel without a row"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", array_rows(), ids=lambda row: row.name)
def test_a_kernel_of_other_parameters_is_refused(row, kind):
    right = kernel_parameters(row, kind)
    exported.check_parameters(row, kind, ",\n    ".join(right))
    for wrong in (right[:-1], (*right, "v"), (right[1], right[0], *right[2:])):
        with pytest.raises(TypeError, match=f"{row.name}_{kind}"):
            exported.check_parameters(row, kind, ", ".join(wrong))


def test_a_row_with_an_unknown_domain_is_refused():
    before = len(PRIMITIVES)
    for domain, complaint in ((("R", "regulr"), "'regulr'"), (("R",), "2 operands and 1 domains")):
        with pytest.raises(ValueError, match=complaint):
            array("planted", None, 2, domain=domain)
    with pytest.raises(ValueError, match="'Q'"):
        elementwise.leaf("planted", "sin", "sin", "cos(a)", "Q")
    assert len(PRIMITIVES) == before
