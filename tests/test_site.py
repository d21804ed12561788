"""The site: the reference has every public name, and docstrings become Markdown that reads well."""

import textwrap

from test_readme import _script

import fastad as fad


def site():
    return _script("make_site")


def test_every_public_name_has_an_entry():
    listed = [name for _, names in site().REFERENCE.values() for name in names]
    assert sorted(listed) == sorted(set(fad.__all__) - {"__version__"})


def test_every_entry_says_something():
    for page, (title, names) in site().REFERENCE.items():
        text = site().reference_page(page)
        assert text.startswith(f"# {title}\n")
        for name in names:
            for public, value in site().public_names(name):
                assert f"## fad.{public}\n" in text
                assert len(site().as_markdown(value)) > 20, f"{public} has no docstring"


def test_docstrings_become_markdown():
    class Example:
        __doc__ = textwrap.dedent("""\
            What it does.

            Parameters
            ----------
            x, y : numbers,
                two of them.

            >>> 1 + 1
            2
            """)

    assert site().as_markdown(Example) == (
        "What it does.\n\n**Parameters**\n\n- **`x, y`**: numbers,\n    two of them.\n\n```pycon\n>>> 1 + 1\n2\n```"
    )


def test_links_become_those_of_the_site():
    pages = {"guide.md", "index.md", "lynx-hare.png", "examples/ridge.md"}
    moved = site().on_page_markdown
    files = type("Files", (), {"get_file_from_path": lambda self, path: path if path in pages else None})()

    def page(name):
        return type("Page", (), {"file": type("File", (), {"src_uri": name})()})()

    text = "![a](docs/lynx-hare.png) [b](docs/guide.md#x) [`c`](fastad/errors.py) [d](https://e.org/f.md)"
    assert moved(text, page("index.md"), None, files) == (
        "![a](lynx-hare.png) [b](guide.md#x) `c` [d](https://e.org/f.md)"
    )
    assert moved("[g](../../README.md)", page("examples/ridge.md"), None, files) == "[g](../index.md)"
