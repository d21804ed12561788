"""The architecture, checked on the source: floors, file lengths, the package list, light imports.

A module imports only its own floor and those below it, wherever the import stands (inside functions and under
TYPE_CHECKING too), and no two packages import each other, even by way of others.
"""

import ast
import functools
import subprocess
import sys
import textwrap
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"fastad": ROOT / "fastad", "fastad.kernels": ROOT / "kernels"}
MAX_LINES = 450

# The floor of each module or package directly in fastad; "" is fastad/__init__.py itself.
FLOORS = {
    "kernels": 0,
    "version": 1, "errors": 1, "once": 1, "calling": 1, "waiting": 1, "locks": 1, "primitives": 1,
    "tables": 2, "recording": 2, "schedules": 2, "sparsity": 2,
    "execution": 3,
    "transforms": 4, "control": 4, "special": 4, "linalg": 4, "soft": 4, "ode": 4, "plots": 4, "coloring": 4, "cuda": 4,
    "sparse": 4, "scipy_sparse": 4, "equations": 4, "optimize": 4, "interop": 4,
    "checkpointing": 5, "checks": 5, "demo": 5, "__main__": 5, "": 5,
}  # fmt: skip
# scipy: its BLAS and LAPACK, by address.
KERNELS_MAY_IMPORT = {"numba", "numpy", "llvmlite", "scipy"} | sys.stdlib_module_names
OPTIONAL = ["matplotlib", "tqdm", "jax", "torch", "autograd", "casadi", "hypothesis", "pytest"]


def _modules():
    """Dotted module name -> (its file, its package's dotted name)."""
    found = {}
    for prefix, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [prefix, *path.relative_to(folder).with_suffix("").parts]
            package = ".".join(parts[:-1])
            found[package if parts[-1] == "__init__" else ".".join(parts)] = (path, package)
    return found


MODULES = _modules()


@functools.cache
def _text(path):
    return path.read_text(encoding="utf-8")


@functools.lru_cache(maxsize=1)  # see `_facts`
def _nodes(source):
    return list(ast.walk(ast.parse(source)))


def imports(source, package, modules=MODULES):
    """(line, dotted name) of everything source imports, at any depth; relative imports start from package."""
    for node in _nodes(source):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join(parents + ([node.module] if node.module else []))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in modules else base
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                name = node.args[0].value
                yield node.lineno, f"{package}{name}" if name.startswith(".") else name


def component(module):
    """The part of fastad that a module is in: its second name, "" for fastad itself, None outside fastad."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "fastad" else None


@functools.cache
def _facts(module):
    """What a file imports, and the lines that write upward: of one walk over it."""
    path, package = MODULES[module]
    return list(imports(_text(path), package)), list(writes_upward(_text(path)))


def file_imports(module):
    return _facts(module)[0]


def test_the_walk_finds_every_form_of_import():
    source = """
        import numpy as np, kernels
        from . import sibling, name
        from .. import other
        from ..other.deep import thing
        from fastad import tables, grad
        def f():
            import fastad.checks
            importlib.import_module("fastad.plots")
    """
    modules = {"fastad.a.sibling", "fastad.other", "fastad.tables"}
    found = [name for _, name in imports(textwrap.dedent(source), "fastad.a", modules)]
    assert sorted(found) == sorted([
        "numpy", "kernels", "fastad.a.sibling", "fastad.a", "fastad.other", "fastad.other.deep",
        "fastad.tables", "fastad", "fastad.checks", "fastad.plots",
    ])  # fmt: skip
    assert [component(m) for m in ("fastad", "fastad.a.b", "numpy.linalg")] == ["", "a", None]


def test_every_module_has_a_floor():
    unknown = sorted({component(m) for m in MODULES} - set(FLOORS))
    assert not unknown, f"say in FLOORS which floor these stand on: {unknown}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    path, _ = MODULES[module]
    here = component(module)
    upward = [
        f"{path.relative_to(ROOT)}:{line} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"
        for line, name in file_imports(module)
        if (there := component(name)) is not None and FLOORS[there] > FLOORS[here]
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_a_top_level_kernels(module):
    bad = [line for line, name in file_imports(module) if name.partition(".")[0] == "kernels"]
    assert not bad, f"{MODULES[module][0]}: import fastad.kernels, `kernels` is another project; lines {bad}"


@pytest.mark.parametrize("module", [m for m in MODULES if component(m) == "kernels"])
def test_kernels_import_only_what_numba_compiles_with(module):
    bad = [
        (line, name)
        for line, name in file_imports(module)
        if name.partition(".")[0] not in KERNELS_MAY_IMPORT and component(name) != "kernels"
    ]
    assert not bad, f"{MODULES[module][0]}: {bad}"


def circles(graph):
    """The sets of files that import each other, directly or by way of others."""
    bit = {m: 1 << k for k, m in enumerate(graph)}
    reach = {m: sum(bit[n] for n in found) for m, found in graph.items()}  # sets as bits of an integer
    for middle in graph:
        for m in graph:
            if reach[m] & bit[middle]:
                reach[m] |= reach[middle]
    own = [m for m in graph if reach[m] & bit[m]]
    return {frozenset(n for n in own if reach[m] & bit[n] and reach[n] & bit[m]) for m in own}


def test_files_do_not_import_each_other():
    """Of all imports, those inside of functions too: where two files need each other, a third is missing."""
    graph = {m: {name for _, name in file_imports(m) if name in MODULES and name != m} for m in MODULES}
    found = sorted(", ".join(sorted(circle)) for circle in circles(graph))
    assert not found, "\n".join(found)


def test_files_of_benchmarks_do_not_import_each_other():
    files = {f"bench.{path.stem}": path for path in sorted((ROOT / "bench").glob("*.py"))}
    graph = {
        name: {found for _, found in imports(path.read_text(encoding="utf-8"), "bench", files) if found in files}
        for name, path in files.items()
    }
    assert not circles(graph)


def test_a_planted_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == {frozenset("abc")}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def writes_upward(source):
    """Lines that set something of another module of fastad, at any depth: a hidden way to be called back.

    A registry is filled by calling its own function, which says what may be registered.
    """
    nodes = _nodes(source)
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names if _is_own(node, alias)
    }  # fmt: skip
    for node in nodes:
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            written = node.value
        elif isinstance(node, ast.Call) and _last_name(node.func) in SETTERS and node.args:
            written = node.args[0]
        else:
            continue
        while isinstance(written, ast.Attribute | ast.Subscript):
            written = written.value
        if isinstance(written, ast.Name) and written.id in imported:
            yield node.lineno


SETTERS = {"setattr", "delattr", "__setattr__", "__delattr__"}


def _is_own(node, alias):
    module = alias.name if isinstance(node, ast.Import) else "." * node.level + (node.module or "")
    return module.startswith(".") or component(module) is not None


def _last_name(function):
    return getattr(function, "attr", getattr(function, "id", None))


@pytest.mark.parametrize("module", MODULES)
def test_no_module_sets_another_ones_attribute(module):
    assert not _facts(module)[1]


WRITES = (
    "cost.x = len", "cost.x: int = 1", "cost.x += 1", "cost.sub.x = len", "cost.T['k'] = len", "cost['k'] = len",
    "a, (b, cost.x) = 1, (2, 3)", "for cost.x in []: pass", "del cost.x", "setattr(cost, 'x', len)",
    "setattr(cost.sub, 'x', len)", "object.__setattr__(cost, 'x', len)",
)  # fmt: skip
PLACES = ("{}", "def f():\n    {}", "if len:\n    {}", "class A:\n    def f(self):\n        {}")
IMPORTS = ("from fastad.tables import cost", "from . import cost", "import fastad as cost")


@pytest.mark.parametrize("write", WRITES)
def test_a_planted_write_is_found(write):
    for imported in IMPORTS:
        for place in PLACES:
            assert len(list(writes_upward(f"{imported}\n{place.format(write)}"))) == 1
    assert len(list(writes_upward(f"def f():\n    from fastad.tables import cost\n    {write}"))) == 1


def test_own_names_and_other_libraries_may_be_set():
    assert not list(writes_upward("class A: pass\nA.x = 1\nsetattr(A, 'y', 1)"))
    assert not list(writes_upward("import sys\nsys.modules['a'] = 1\nx = sys.modules"))
    assert not list(writes_upward("from fastad.tables import cost\ny = [cost.x]\ny[0] = cost.T['k']"))


def test_packages_do_not_import_each_other():
    graph = {here: set() for here in FLOORS}
    for module in MODULES:
        here = component(module)
        graph[here] |= {component(name) for _, name in file_imports(module)} - {None, here}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("module", MODULES)
def test_files_are_short(module):
    path, _ = MODULES[module]
    lines = len(_text(path).splitlines())
    assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines: it says more than one thing"


def test_pyproject_lists_every_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    folders = {package for _, package in MODULES.values()}
    assert sorted(listed) == sorted(folders)
    assert folders <= set(MODULES), "a folder has modules but no __init__.py"


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / ".ci" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = [line.replace("==", ">=").removesuffix(".*") for line in lines if not line.startswith("#")]
    assert sorted(tested) == sorted(project["project"]["dependencies"])


def test_import_needs_and_loads_nothing_optional():
    program = f"""
        import sys
        sys.modules.update(dict.fromkeys({OPTIONAL!r}))  # None makes an import fail
        import fastad
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, cwd=ROOT)
