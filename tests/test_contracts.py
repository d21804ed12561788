"""Facts of a primitive stand in its row: nobody else quotes its name."""
import ast
from pathlib import Path

import pytest

from fastad.primitives import PRIMITIVES

ROOT = Path(__file__).resolve().parent.parent
NAMES = {row.name for row in PRIMITIVES}
# Words that also mean something else: they count where they are compared with a name, or given to who takes one.
WORDS = {"input", "const", "call"}
TAKERS = {"opcode", "primitive", "emit", "emit_elementwise", "apply", "array"}
HOMES = (
    "fastad/primitives/",  # rows and rules
    "kernels/", "fastad/execution/native/code/written.py", "fastad/execution/native/code/written_linear.py",
    "fastad/execution/native/code/products.py",  # kernels
    "fastad/recording/",  # recorded functions
    "fastad/soft/", "fastad/plots/", "fastad/demo/",  # functions of users' own, scales of axes
)  # fmt: skip


def quoted(source):
    """(line, name) of every primitive that a source names in a string of its own."""
    tree = ast.parse(source)
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES and _names_it(node, parents):
            yield node.lineno, node.value


def _names_it(node, parents):
    word, above = node.value, parents[node]
    while isinstance(above, ast.List | ast.Tuple | ast.Set):
        node, above = above, parents[above]
    if isinstance(above, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in above.targets):
        return False
    if word not in WORDS:
        return not isinstance(above, ast.JoinedStr)
    if isinstance(above, ast.Compare):
        return any(isinstance(n, ast.Attribute) and n.attr == "name" for n in ast.walk(above))
    taker = getattr(above, "func", None)
    return getattr(taker, "attr", getattr(taker, "id", None)) in TAKERS


FILES = [p for folder in ("fastad", "kernels") for p in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_primitive_is_named_outside_of_its_files(path):
    place = path.relative_to(ROOT).as_posix()
    if place.startswith(HOMES):
        return
    found = [f"{place}:{line} names {name!r}" for line, name in quoted(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join([*found, "ask the row (fastad/primitives/row.py) instead"])


def test_a_planted_name_is_found():
    assert list(quoted("if row.name == 'matmul': pass")) == [(1, "matmul")]
    assert list(quoted("if row.name in ('gather', 'sum'): pass")) == [(1, "gather"), (1, "sum")]
    assert list(quoted("b.emit('add', (x, y))")) == [(1, "add")]
    assert list(quoted("row.name == 'input'")) == [(1, "input")]
    assert list(quoted("x = opcode('call')")) == [(1, "call")]
    assert not list(quoted("count_text(3, 'input'); __all__ = ['solve', 'where']"))
