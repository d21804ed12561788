"""The command line."""

import subprocess
import sys

import pytest

from fastad.__main__ import main
from fastad.version import __version__


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["warmup", "--help"], ["info", "--help"],
                                       ["profile-checkpoints", "--help"]])  # fmt: skip
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "usage: python -m fastad" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["profile-checkpoints", "--steps", "0"],
                                       ["profile-checkpoints", "--steps", "x"]])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error" in capsys.readouterr().err


def test_info_names_what_matters(capsys):
    assert main(["info"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["fastad"] == __version__
    assert {"python", "numpy", "numba", "processor", "lanes", "vector", "BLAS", "threads", "GPU", "cache"} <= set(lines)


def test_warmup_says_where_the_cache_is(capsys, monkeypatch, tmp_path):
    from fastad.execution.machine import cache
    from fastad.execution.sweeps import kernel as sweeps

    asked = []
    monkeypatch.setattr(sweeps, "_sweep", asked.append)
    assert main(["warmup"]) == 0
    assert set(asked) == {"adjoints", "tangents", "values"}
    assert str(cache.folder()) in capsys.readouterr().out


def test_demo_passes_its_options_on(monkeypatch, tmp_path):
    from fastad.demo import run

    calls = []
    monkeypatch.setattr(run, "main", lambda *arguments: calls.append(arguments))
    assert main(["demo", "--folder", str(tmp_path)]) == 0
    assert calls == [(tmp_path,)]


def test_profile_checkpoints_shows_and_draws_every_schedule(capsys, tmp_path):
    assert main(["profile-checkpoints", "--folder", str(tmp_path), "--steps", "60", "--points", "8"]) == 0
    shown = capsys.readouterr().out
    for name in ("StoreAll()", "Revolve(snapshots=7)", "Periodic(every=7)", "Online(snapshots=7)"):
        assert name in shown
    drawn = {f"schedule-{name}.png" for name in ("revolve", "online", "periodic", "multistage")}
    assert {p.name for p in tmp_path.iterdir()} == drawn | {"memory-against-time.png"}
    assert all(f"Picture: {p}" in shown for p in tmp_path.iterdir())


def test_python_m_fastad_runs():
    run = subprocess.run([sys.executable, "-m", "fastad", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"fastad {__version__}\n"
