"""What mkdocs needs beyond the pages in this folder: `mkdocs build --strict` makes the site in build/site.

The overview is README.md, the measurements are bench/RESULTS.md, and the reference is made from the docstrings: a page
for each group below, an entry for each name. Links to files that are no pages become their names.
"""

import importlib
import inspect
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = {"index.md": "README.md", "measurements.md": "bench/RESULTS.md"}  # pages that lie elsewhere
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")

# The reference: page, its title, modules or names; every public name is on one of them (tests/test_site.py).
REFERENCE: dict[str, tuple[str, list[str]]] = {
    "transformations": (
        "Transformations",
        [
            "jit", "grad", "value_and_grad", "jvp", "vjp", "linearize", "jacobian", "jacfwd", "jacrev", "hessian",
            "hvp", "vmap", "map_batches", "stop_gradient", "trace", "load", "primitive", "check_primitive", "Tape",
            "special",
        ],
    ),
    "control": ("Control flow", ["scan", "fori_loop", "while_loop", "cond", "check_inverse"]),
    "ode": ("ODEs", ["solve_ivp", "ode"]),
    "checkpoint": ("Checkpoint schedules", ["checkpoint"]),
    "optimisation": (
        "Equations and optimisation", ["root", "fixed_point", "implicit", "minimize", "least_squares", "quadprog"],
    ),
    "linalg": ("Linear algebra", ["linalg"]),
    "sparse": (
        "Sparse matrices and derivatives",
        [
            "jacobian_sparsity", "hessian_sparsity", "sparse_jacobian", "sparse_hessian", "coloring", "sparse",
        ],
    ),
    "soft": ("Relaxed decisions", ["soft"]),
    "checks": ("Checks", ["check_grads", "check_adjoint", "finite_difference", "profile", "debug"]),
    "interop": ("Beside other libraries", ["interop"]),
    "cuda": ("GPUs", ["cuda"]),
}  # fmt: skip


def reference_page(page: str) -> str:
    """The text of a page of the reference."""
    title, names = REFERENCE[page]
    entries = [_entry(f"fad.{name}", value) for listed in names for name, value in public_names(listed)]
    return "\n\n".join([f"# {title}", *entries]) + "\n"


def public_names(name: str) -> list[tuple[str, Any]]:
    """A public name of fastad with its value; of a module, or of `checkpoint`, its public names too."""
    value = getattr(importlib.import_module("fastad"), name)
    members = _MEMBERS.get(name) or getattr(value, "__all__", ())
    own = [] if inspect.ismodule(value) else [(name, value)]
    return own + [(f"{name}.{member}", getattr(value, member)) for member in members]


_MEMBERS = {
    "debug": ("nans",),
    "checkpoint": (
        "StoreAll", "StoreNone", "Revolve", "Periodic", "Multistage", "Online", "Auto", "optimal_steps", "profile",
        "verify", "draw",
    ),
}  # fmt: skip


def _entry(name: str, value: Any) -> str:
    """The heading, call and documentation of a name, and of the public methods of a class."""
    parts = [f"## {name}", f"```py\n{_call(name, value)}\n```" if callable(value) else "", as_markdown(value)]
    if inspect.isclass(value):
        parts += [
            f"**`.{method}`** {as_markdown(member)}"
            for method, member in vars(value).items()
            if not method.startswith("_") and callable(member) and inspect.getdoc(member)
        ]
    return "\n\n".join(filter(None, parts))


def _call(name: str, value: Any) -> str:
    """The call of a function, without the types of its arguments."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    bare = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
    return re.sub(r"<object object at 0x\w+>", "…", f"{name}{bare}")


# ---- docstrings as Markdown ---------------------------------------------------------------------------------------
_TITLE = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
_DEFINED = re.compile(r"^([\w*][\w*, .()=]*) : ", re.MULTILINE)
_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\n).+)*", re.MULTILINE)


def as_markdown(value: Any) -> str:
    """The docstring of an object: sections become bold titles, definitions a list, examples code."""
    text = inspect.getdoc(value) or ""
    text = _EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", text)
    text = _TITLE.sub(r"**\1**\n\n", text)
    paragraphs = [_defined(part) if _DEFINED.match(part) else part for part in text.split("\n\n")]
    return "\n\n".join(paragraphs)


def _defined(paragraph: str) -> str:
    """`x : what it is`, with indented lines that go on, as a list."""
    return _DEFINED.sub(r"- **`\1`**: ", paragraph)


# ---- mkdocs -------------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere, their pictures, and the reference."""
    from mkdocs.structure.files import File

    for page, source in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for picture in sorted((ROOT / "bench").glob("*.png")):
        files.append(File.generated(config, f"bench/{picture.name}", abs_src_path=str(picture)))
    for page in REFERENCE:
        files.append(File.generated(config, f"reference/{page}.md", content=reference_page(page)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links as they must be on the site."""
    name = page.file.src_uri
    home = posixpath.dirname(OUTSIDE.get(name, f"docs/{name}"))

    def moved(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        found = _page_of(posixpath.normpath(posixpath.join(home, path)))
        if files.get_file_from_path(found) is None:
            return text
        return f"{picture}[{text}]({posixpath.relpath(found, posixpath.dirname(name))}{hash_}{anchor})"

    return _LINK.sub(moved, markdown)


def _page_of(path: str) -> str:
    """Where a file of the project is on the site."""
    for page, source in OUTSIDE.items():
        if path == source:
            return page
    return path.removeprefix("docs/")
