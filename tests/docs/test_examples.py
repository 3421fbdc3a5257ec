"""The scripts of `examples/`, run as a reader would run them, on small inputs."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD_RUNS = Path(__file__).parents[1] / "old_runs"


def output_of(
    name: str,
    *args: str | Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    monkeypatch.setattr(sys, "argv", [name, *map(str, args)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_is_scored_and_a_stack_filtered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = np.random.default_rng(0).poisson(20, (2, 64, 64)).astype(np.uint16)
    for number, frame in enumerate(frames):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame)
    tifffile.imwrite(tmp_path / "stack.tiff", frames)
    (tmp_path / "stack.tiff").rename(tmp_path / "stack")
    out = output_of("score_folder.py", tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    scores = [float(line.split()[0]) for line in out.splitlines()]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    out = output_of(
        "filter_stack.py",
        *(tmp_path / "stack", tmp_path / "out.tif"),
        monkeypatch=monkeypatch,
        capsys=capsys,
    )
    assert len(out.splitlines()) == 2
    assert tifffile.imread(tmp_path / "out.tif").shape == (2, 2, 64, 64)


def test_a_run_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ZipFile(OLD_RUNS / "optimize.zip") as packed:
        packed.extractall(tmp_path)
    out = output_of("read_run.py", tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    assert "optimize: 15 frames of (32, 32) pixels" in out and "best frame" in out


@pytest.mark.slow
def test_a_plan_of_ones_own_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pysted")
    small = [f"--set=microscope.virtual_sted.{side}_px=48" for side in ("width", "height")]
    out = output_of("own_plan.py", tmp_path / "run", *small, monkeypatch=monkeypatch, capsys=capsys)
    assert out.startswith("completed")


@pytest.mark.slow
def test_the_notebook_searches_reads_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pysted")
    monkeypatch.chdir(EXAMPLES.parent)
    monkeypatch.setenv("MPLBACKEND", "agg")
    small = [f"microscope.virtual_sted.{side}_px=48" for side in ("width", "height")]
    quick = ["optimize.trials=2", "optimize.retest_fields=1", "optimize.engine=sobol"]
    namespace: dict[str, Any] = {}
    for cell in json.loads((EXAMPLES / "first_search.ipynb").read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        exec("".join(cell["source"]), namespace)
        if "parameters" in cell["metadata"].get("tags", ()):
            namespace |= {"OUT": tmp_path / "run", "OVERRIDES": small + quick}
    assert namespace["result"].status == "completed"
    assert "trial 2: score" in capsys.readouterr().out
    assert namespace["figure"].axes
