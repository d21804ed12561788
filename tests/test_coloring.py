"""Colorings: each kind has what it promises, for any pattern; known optima; what cannot be colored."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import fastad as fad
from fastad.checks.colorings import check_coloring
from fastad.sparsity.coloring import Coloring

KINDS = ("column", "row", "star", "acyclic", "bidirectional", "auto")
SYMMETRIC = ("star", "acyclic")
color = fad.coloring.color


@st.composite
def patterns(draw, symmetric=False):
    """A random pattern, with a few full rows and columns now and then."""
    m, n = draw(st.integers(0, 14)), draw(st.integers(0, 14))
    n = m if symmetric else n
    rng, share = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from([0.0, 0.1, 0.25, 0.6, 1.0]))
    filled = rng.random((m, n)) < share
    if m and n and draw(st.booleans()):
        filled[rng.integers(m, size=draw(st.integers(0, 2)))] = True
        filled[:, rng.integers(n, size=draw(st.integers(0, 2)))] = True
    return filled | filled.T if symmetric else filled


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SYMMETRIC])
@given(patterns())
def test_any_pattern(kind, filled):
    found = color(filled, kind)
    check_coloring(filled, found)
    longest = [int(np.sum(filled, axis=axis).max(initial=0)) for axis in (1, 0)]
    if kind == "column":
        assert found.n_colors >= longest[0]
    if kind == "auto":
        assert found.n_colors <= min(color(filled, other).n_colors for other in ("column", "row"))


@pytest.mark.parametrize("kind", SYMMETRIC)
@given(patterns(symmetric=True))
def test_any_symmetric_pattern(kind, filled):
    found = color(filled, kind)
    check_coloring(filled, found)
    assert found.n_colors <= len(filled)


def banded(n, p):
    return sp.diags_array([1.0] * (2 * p + 1), offsets=range(-p, p + 1), shape=(n, n))


@pytest.mark.parametrize("p", [0, 1, 2, 5])
def test_bands_have_their_optimum(p):
    """2p + 1 colors for direct recovery, p + 1 with substitution (Coleman & Cai, 1986)."""
    pattern = banded(60, p)
    for kind in KINDS:
        found = color(pattern, kind)
        check_coloring(pattern, found)
        assert found.n_colors == (p + 1 if kind == "acyclic" else 2 * p + 1), kind


@pytest.mark.parametrize("width", [1, 2, 3])
def test_arrowheads_need_both_sides(width):
    """One side alone needs a color for each column; both need `width` rows, `width` columns, and the diagonal."""
    n = 200
    filled = np.eye(n, dtype=bool)
    filled[:width] = filled[:, :width] = True
    for kind in ("bidirectional", "auto"):
        found = color(filled, kind)
        check_coloring(filled, found)
        assert found.n_colors == 2 * width + 1
        assert len(found.colors) == 2 and found.colors[0] is found.row_colors
    assert color(filled, "column").n_colors == color(filled, "row").n_colors == n
    assert color(filled, "star").n_colors == width + 1


def test_kinds_of_patterns():
    dense = np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    wanted = color(dense, "column").colors.tolist()
    stored_zero = sp.csr_array((np.zeros(3), [2, 0, 1], [0, 2, 3]), shape=(2, 3))  # unsorted, and zeros count
    for pattern in (dense != 0, sp.csc_array(dense), sp.coo_matrix(dense), stored_zero):
        assert color(pattern, "column").colors.tolist() == wanted == [0, 0, 1]
    assert color(np.zeros((0, 3))).n_colors in (0, 1) and color(np.zeros((3, 0))).n_colors in (0, 1)
    assert "3 colors" in repr(color(np.ones((3, 3))))


def test_what_cannot_be_colored():
    with pytest.raises(ValueError, match="kind must be one of"):
        color(np.eye(2), "rainbow")
    with pytest.raises(ValueError, match="symmetric"):
        color(np.triu(np.ones((3, 3))), "star")
    with pytest.raises(ValueError, match="symmetric"):
        color(np.ones((3, 2)), "acyclic")
    with pytest.raises(ValueError, match="two dimensions"):
        color(np.ones(3))


WRONG = {
    "column": (np.ones((2, 2)), [0, 0]),
    "star": (banded(4, 1).toarray(), [0, 1, 0, 1]),
    "acyclic": (np.roll(np.eye(4), 1, 0) + np.roll(np.eye(4), -1, 0), [0, 1, 0, 1]),
    "bidirectional": (np.ones((2, 2)), [0, 0]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_checker_complains(kind):
    filled, colors = WRONG[kind]
    colors = np.array(colors, np.int32)
    with pytest.raises(fad.CheckError, match=f"no {kind} coloring"):
        check_coloring(filled, Coloring(kind, colors * 0, colors, 1, int(colors.max()) + 1))
