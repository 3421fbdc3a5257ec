"""A model of the BioImage Model Zoo as the filter of a run, and of `stedfast filter`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from agent.config import load
from agent.run import trust
from tests import faulty
from tests.faulty import cli
from tests.helpers.refused import assert_refused
from tests.helpers.runs import cut_after, recorded, run_session, show
from tests.helpers.zoo import Failing, Smooth, described, files_of, scripted, smoothed, zipped

with_extra = pytest.mark.skipif(
    find_spec("bioimageio") is None, reason="the extra `bioimageio` is not installed"
)
FRAMES = 4


def config_with(tmp_path: Path, model: Path, **more: Any) -> Path:
    """A config whose filter is this model."""
    asked = {"model": model.name, "frames": "all", "device": "cpu", **more}
    data = faulty.config(live={"frames": FRAMES}, filter=asked)
    return faulty.write(tmp_path / "config.yaml", data)


# ----------------------------------------------------------------- with the extra or without


def test_code_of_a_package_is_named_before_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = described(weights={"pytorch_state_dict": {"source": "weights.pt"}})
    model = zipped(tmp_path / "m.zip", files_of(content, b"weights"))
    config = config_with(tmp_path, model)
    found = cli(capsys, "check", config)
    assert_refused(found, f"{config}, line", "filter.model", str(model), "Python code", "--trust")
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((16, 16), np.uint16))
    found = cli(capsys, "filter", tmp_path / "in.tif", tmp_path / "out.tif", "--model", model)
    assert_refused(found, "--model", str(model), "Python code", "--trust")


def test_a_missing_package_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_with(tmp_path, tmp_path / "gone.zip")
    found = cli(capsys, "check", config)
    assert_refused(found, "filter.model", f"{tmp_path / 'gone.zip'}: no such file", "downloaded")


@pytest.mark.skipif(find_spec("bioimageio") is not None, reason="the extra is installed")
def test_what_is_not_installed_is_said_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = zipped(tmp_path / "m.zip", files_of(described(), b"weights"))
    found = cli(capsys, "check", config_with(tmp_path, model))
    assert_refused(found, "filter.model", "bioimageio.core is not installed: python -m pip install")


def test_a_strangers_run_may_not_say_whom_to_trust(tmp_path: Path) -> None:
    model = tmp_path / "m.zip"
    config = load(config_with(tmp_path, model, trust=True))
    assert str(model) in trust.code_of(config)
    assert str(model) not in trust.code_of(load(config_with(tmp_path, model)))
    with pytest.raises(ValueError, match=r"m\.zip.*--trust"):
        trust.check_trusted(tmp_path, config, trust=False)


# ------------------------------------------------------------------------- with the extra


@with_extra
@pytest.mark.process
@pytest.mark.slow
def test_a_run_is_filtered_and_keeps_to_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = zipped(tmp_path / "m.zip", files_of(described(), scripted(Smooth())))
    asked = {"model": "m.zip", "frames": "all", "device": "cpu"}
    cut = {"make_plan": cut_after(2)}
    result, run = run_session(tmp_path, session=cut, live={"frames": FRAMES}, filter=asked)
    assert result.status == "failed"
    digest = show(capsys, run)["filtered"]["sha256"]
    assert digest and len(recorded(run).filtered()) == 2

    zipped(model, files_of(described(description="another"), scripted(Smooth())))
    code, _, err = cli(capsys, "resume", run)
    assert code == 2 and "filter weights are" in err and digest[:12] in err, err
    assert cli(capsys, "resume", run, "--accept-changes")[0] == 0

    tape = recorded(run)
    assert list(tape.filtered()) == list(range(FRAMES))
    import zarr

    raw = np.asarray(zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")[:])
    made = np.asarray(zarr.open_array(run / "filtered.ome.zarr" / "0", mode="r")[:])
    for index in range(FRAMES):
        np.testing.assert_allclose(made[index, 0], smoothed(raw[index]), rtol=1e-4)
    assert cli(capsys, "replay", run)[0] == 0
    err = capsys.readouterr().err
    assert "%|" not in err, "a bar of the library's"


@with_extra
@pytest.mark.process
@pytest.mark.slow
def test_a_model_that_fails_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped(tmp_path / "m.zip", files_of(described(), scripted(Failing())))
    asked = {"model": "m.zip", "frames": "all", "device": "cpu"}
    result, run = run_session(tmp_path, session={}, live={"frames": FRAMES}, filter=asked)
    assert (result.status, result.safe) == ("completed", True)
    summary = show(capsys, run)
    assert summary["filtered"]["frames"] == 0 and summary["frames"]["acquired"] == FRAMES
    assert "Expected size" in json.dumps(summary["faults"])


@with_extra
def test_a_file_is_filtered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = described()
    for where in ("inputs", "outputs"):
        for at in (2, 3):
            content[where][0]["axes"][at].update(unit="nanometer", scale=20)
    model = zipped(tmp_path / "m.zip", files_of(content, scripted(Smooth())))
    frames = np.random.default_rng(0).poisson(50, (2, 40, 24)).astype(np.uint16)
    file, target = tmp_path / "in.tif", tmp_path / "out.tif"
    tifffile.imwrite(file, frames, photometric="minisblack")
    words = ("filter", file, target, "--model", model, "--device", "cpu", "--float")
    code, _, err = cli(capsys, *words)
    assert code == 0 and "2 frames on cpu" in err, err
    found = tifffile.imread(target)
    np.testing.assert_allclose(found, np.stack([smoothed(one) for one in frames]), rtol=1e-5)

    found = cli(capsys, *words, "--overwrite", "--pixel-size", "50")
    assert_refused(found, "--model", "is for pixels of 20 nm, and these are 50 nm")
    (tmp_path / "config.yaml").unlink(missing_ok=True)
    config = config_with(tmp_path, model)
    assert cli(capsys, "check", config)[0] == 0
    found = cli(capsys, "check", config, "--set", "microscope.pixel_size_nm=60")
    assert_refused(found, "filter.model", "these are 60 nm")
