"""`optimize.z`: a z-stack after each retest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile

from agent.config import RunConfig
from agent.offline.files.export import export
from agent.plan import STACK
from agent.record.folder import new_folder
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.charts import CHARTS
from agent.ui.view.reader import Reader
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import cut_after, fails_at, mean_score, recorded
from tests.helpers.searches import config_data_of_a_run

Z = {"range": 2, "step": 1}
THREE = ["confocal", "sted", "confocal"]


def stacked(**optimize: Any) -> dict[str, Any]:
    data = config_data_of_a_run()
    data["microscope"]["python_devices"]["Focus"] = faulty.device("Focus")
    data["optimize"] |= {"engine": "sobol", "trials": 2, "z": Z} | optimize
    return data


def ran(folder: Path, data: dict[str, Any], status: str = "completed", **session: Any) -> Path:
    config = RunConfig.model_validate(data)
    file = faulty.write(folder / "config.yaml", data)
    run = new_folder(config, folder, folder / "run")
    result = Session(config, file, run, **({"scorer": mean_score} | session)).run()
    assert result.status == status, result.reason
    return run


def test_a_stack_follows_each_retest_around_its_focus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(tmp_path, stacked(search={"depletion_power": [10, 40]}))
    shots = [taken.shot for taken in recorded(run).taken.values()]
    each = [*THREE, "sted", "sted", "sted"]
    assert [shot["mode"] for shot in shots] == [*THREE, *THREE, *each, *each]
    heights = [shot["focus_um"] for shot in shots if shot["plane"] is not None]
    assert heights == [-1.0, 0.0, 1.0] * 2

    summary = summarize(run)
    assert summary["frames"]["planned"] == summary["frames"]["acquired"] == len(shots)
    for laser, joules in summary["dose"].items():
        if laser.endswith("_J"):
            one = [shot["dose_J"].get(laser.removesuffix("_J"), 0.0) for shot in shots]
            assert joules == pytest.approx(sum(one))
    assert [note["which"] for note in summary["stacks"]] == ["start", "best"]
    for note in summary["stacks"]:
        assert [row["z_um"] for row in note["planes"]] == [-1.0, 0.0, 1.0]
        for row in note["planes"]:
            assert row["score"] == recorded(run).taken[row["frame"]].score.value
    # What is compared is the frame between the references, as without a stack.
    assert summary["start"]["score"]["mean"] == recorded(run).taken[7].score.value
    assert replay(run).difference is None
    assert "over z" in cli(capsys, "show", run)[1]
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        stacks = {one.name: one.shape for one in tiff.series if one.name.endswith("stack")}
    assert stacks == {f"run, field {field}, sted, stack": (3, 32, 32) for field in (2, 3)}

    write_report(run, tmp_path / "report.html")
    drawn = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Score over z" in drawn and drawn.count("maximum of 3 planes") == 2
    reader = Reader(run)
    reader.refresh()
    assert reader.course is not None and reader.config is not None
    assert "Score over z" in str(CHARTS["depth"](reader.course, reader.config))
    first = next(index for index, shot in enumerate(shots) if shot["plane"] is not None)
    assert payloads.stack(reader, first + 1) == [first, first + 1, first + 2]
    assert payloads.state(reader)["planes"] > 1


def test_cut_within_a_stack_it_is_resumed(tmp_path: Path) -> None:
    run = ran(tmp_path, stacked(), "failed", make_plan=cut_after(11))
    config = RunConfig.model_validate(stacked())
    result = Session(config, tmp_path / "config.yaml", run, scorer=mean_score).run()
    assert result.status == "completed", result.reason
    notes = recorded(run).notes_on(STACK)
    assert [len(note["planes"]) for note in notes] == [3, 3]
    assert len(recorded(run).taken) == 18 and replay(run).difference is None


def test_a_plane_without_a_score_is_left_out_of_the_profile(tmp_path: Path) -> None:
    data = stacked()
    data["analysis"] |= {"on_error": "skip"}
    run = ran(tmp_path, data, scorer=fails_at(4))
    planes = recorded(run).notes_on(STACK)[0]["planes"]
    failed = [row for row in planes if row["score"] is None]
    assert len(failed) == 1 and failed[0]["failed"]
    write_report(run, tmp_path / "report.html")


@pytest.mark.parametrize(
    ("z", "limits", "said"),
    [
        ({"range": 2}, None, "`optimize.z`: has range; accepted:"),
        ({"range": -2, "step": 1}, None, "`optimize.z.range`"),
        (Z, [0.5, 4], "plane 0"),
    ],
)
def test_wrong_stacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], z: Any, limits: Any, said: str
) -> None:
    data = stacked(z=z)
    if limits:
        data["microscope"]["stage_limits"] = {"z_um": limits}
    code, out, err = cli(capsys, "check", faulty.write(tmp_path / "config.yaml", data))
    assert code == 2 and said in err and "Traceback" not in err, out + err


def test_a_microscope_without_focus_drive_refuses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = stacked()
    del data["microscope"]["python_devices"]["Focus"]
    code, _, err = cli(capsys, "check", faulty.write(tmp_path / "config.yaml", data))
    assert code == 2 and "no focus drive" in err, err
