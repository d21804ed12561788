"""The demonstration's model and fit, at a small size, and the demonstration as a whole."""

import sys

import numpy as np
import pytest

import fastad as fad
from fastad.demo import measure, model, run, terminal

STEPS = 5  # a year: RK4 is accurate enough for the fit at this size too
X = np.log(model.START)


@pytest.fixture(scope="module")
def gradient():
    return fad.value_and_grad(lambda q: model.misfit(q, STEPS), tier="sweep")


def test_the_data_are_those_of_21_years():
    assert model.PELTS.shape == (21, 2) and len(model.YEARS) == 21
    assert model.PELTS[[0, -1]].tolist() == [[30, 4], [24.7, 8.6]]
    assert model.PELTS.sum(axis=0) == pytest.approx([715.7, 423.5])


def test_the_model_conserves_its_invariant():
    births, caught, deaths, fed = model.START[2:]
    hares, lynxes = model.simulate(model.START).T
    invariant = fed * hares - deaths * np.log(hares) + caught * lynxes - births * np.log(lynxes)
    assert np.ptp(invariant) < 1e-6


def test_the_value_is_that_of_plain_numpy(gradient):
    assert gradient(X)[0] == pytest.approx(model.misfit(X, STEPS), rel=1e-13)


def test_the_gradient_agrees_with_central_differences(gradient):
    differences = measure.central_differences(lambda q: model.misfit(q, STEPS), X)
    np.testing.assert_allclose(gradient(X)[1], differences, rtol=1e-7, atol=1e-7)


def test_both_tiers_agree(gradient):
    native = fad.value_and_grad(lambda q: model.misfit(q, STEPS), tier="native")
    np.testing.assert_allclose(native(X)[1], gradient(X)[1], rtol=1e-12)


def test_the_fitted_rates_are_those_of_the_literature(gradient):
    fit = run.fit_parameters(gradient, X)
    np.testing.assert_allclose(fit.parameters[2:], model.LITERATURE[2:], rtol=0.04)
    assert fit.end < 2.1 < fit.start
    assert np.abs(gradient(np.log(fit.parameters))[1]).max() < 1e-4


def test_the_demonstration_writes_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run.main(tmp_path / "new", steps=2)
    printed = capsys.readouterr().out
    for word in ("rows", "bytes", "sweep", "native", "differences", "literature", "fit.png", "Finished"):
        assert word in printed
    assert (tmp_path / "new" / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_how_to_get_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "fastad.demo.pictures", raising=False)
    run.main(tmp_path, steps=2)
    printed = capsys.readouterr().out
    assert "pip install matplotlib" in printed and "Finished" in printed
    assert not list(tmp_path.iterdir())


class Terminal:
    """A stream that says it is a terminal, and keeps what is written."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("with_tqdm", [False, True])
def test_the_progress_line_counts_stages_and_goes_away(with_tqdm, monkeypatch):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    stream = Terminal()
    progress = terminal.Progress(2, stream)
    progress.stage("first")
    progress.stage("second")
    progress.detail("second, in detail")
    progress.close()
    assert "first" in stream.text and "second, in detail" in stream.text
    assert ("[1/2]" if not with_tqdm else "0/2") in stream.text
