"""The README and the docs: their examples run, their links and commands exist."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastad as fad
from fastad.__main__ import parser

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.md"))
GUIDES = [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "guide", "ode", "loops", "relaxed", "linear-algebra", "implicit", "sparsity", "sparse", "optimisation",
        "beside-others", "coming-from",
    )
]  # fmt: skip
PAGES = [ROOT / "README.md", *GUIDES, *EXAMPLES]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def blocks(page, language):
    """(line number, code) of the code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [(text[: m.start(2)].count("\n"), m[2]) for m in _BLOCK.finditer(text) if m[1] == language]


@functools.cache
def names_of(page):
    """What the examples of a page define."""
    namespace = {}
    for line, code in blocks(page, "python"):
        exec(compile("\n" * line + code, str(page), "exec"), namespace)
    return namespace


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_examples_run(page):
    assert names_of(page)


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda p: p.name)
def test_the_pictures_of_the_examples_can_be_drawn(page, tmp_path):
    pytest.importorskip("matplotlib")
    path = _script("make_examples").draw(page.stem, names_of(page), tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG") and (page.parent / path.name).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page):
    links = {link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link}
    assert not {link for link in links if not (page.parent / link).exists()}


def test_the_first_two_commands():
    commands = [code.strip() for _, code in blocks(ROOT / "README.md", "")]
    assert commands == [
        "python -m pip install -e '.[plot]' && python -m fastad demo",
        "python -m pip install -e '.[test]' && python -m pytest",
    ]
    parser().parse_args(["demo"])


def test_the_table_names_what_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = text.partition("| call | gives |")[2].partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row.split("|")[1])]
    assert "value_and_grad" in named
    missing = [name for name in named if name not in ("warmup", "info") and not _exists(name)]
    assert not missing


def _exists(name):
    found = fad
    for part in name.strip(".").split("."):
        found = getattr(type(fad.jit(abs)), part, None) if name.startswith(".") else getattr(found, part, None)
    return found is not None


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_primitives_is_up_to_date():
    """NumPy releases differ in the functions they have, so of those the page must name all that are here."""
    page = (ROOT / "docs" / "primitives.md").read_text(encoding="utf-8")
    module = _script("make_primitives")
    tables, functions = page.split(module.FUNCTIONS_HEAD)
    assert tables == module.markdown().split(module.FUNCTIONS_HEAD)[0], "run python docs/make_primitives.py"
    named = set(re.findall(r"`(\w+)`", functions))
    assert set().union(*module.functions().values()) <= named, "run python docs/make_primitives.py"


def test_environment_variables_are_in_the_guide():
    sources = [p for folder in ("fastad", "kernels") for p in (ROOT / folder).rglob("*.py")]
    used = {name for p in sources for name in re.findall(r"\bFASTAD_[A-Z_]+\b", p.read_text(encoding="utf-8"))}
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    assert not {name for name in used if name not in guide}


def test_the_generator_of_the_page_runs_as_a_command(tmp_path):
    copy = tmp_path / "make_primitives.py"
    copy.write_text((ROOT / "docs" / "make_primitives.py").read_text(encoding="utf-8"), encoding="utf-8")
    subprocess.run([sys.executable, str(copy)], check=True, cwd=tmp_path, env=os.environ, capture_output=True)
    assert (tmp_path / "primitives.md").exists()


def test_the_picture_of_the_relaxed_thermostat_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    target = tmp_path / "relaxed.svg"
    script = ROOT / "docs" / "make_relaxed.py"
    subprocess.run([sys.executable, str(script), str(target)], check=True, cwd=tmp_path, capture_output=True)
    assert target.read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_the_tables_about_odes_can_be_measured_again(tmp_path):
    page, names = tmp_path / "ode.md", ("methods", "adjoints", "schedules", "machine")
    page.write_text("\n".join(f"<!-- {name} -->\n\n<!-- end -->" for name in names), encoding="utf-8")
    command = [sys.executable, str(ROOT / "docs" / "measure_ode.py"), str(page), "--small", "--adjoints", "discrete"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    text = page.read_text(encoding="utf-8")
    for row in ("| `Tsit5` |", '| `"discrete"` |', "| `StoreAll()` |", "Measured on"):
        assert row in text and row in (ROOT / "docs" / "ode.md").read_text(encoding="utf-8")


def test_the_table_of_stiff_methods_can_be_measured_again(tmp_path):
    page = tmp_path / "ode.md"
    page.write_text("<!-- stiff -->\n\n<!-- end -->", encoding="utf-8")
    command = [sys.executable, str(ROOT / "docs" / "measure_stiff.py"), str(page), "--small"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    text = page.read_text(encoding="utf-8")
    assert "| `Rodas5P` |" in text and "factorisations: " in text
    assert "| `Rodas5P` |" in (ROOT / "docs" / "ode.md").read_text(encoding="utf-8")
