"""The focus of a time-lapse is found again where the sample drifts away from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from agent.record.folder import read_config
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report.page import write_report
from tests import faulty
from tests.doubles.defocusing import DefocusingCamera
from tests.helpers.runs import cut_after, recorded, run_session, show

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}
FOCUS = {"range": 2, "step": 0.5}


def parts(points: int, focus: dict[str, Any] | None, **camera: Any) -> dict[str, Any]:
    """A time-lapse of a sample that drifts by 200 nm from one time point to the next."""
    devices = faulty.config()["microscope"]["python_devices"]
    options = {"drift_um": 0.2, **camera}
    devices["Camera"] = {"class": "tests.doubles.defocusing:DefocusingCamera", "options": options}
    devices["Focus"] = faulty.device("Focus")
    return {
        "plan": "timelapse",
        "timelapse": {"frames": points, "interval_s": 0},
        "microscope": {"modes": MODES, "python_devices": devices},
        **({"focus": {**FOCUS, **focus}} if focus is not None else {}),
    }


def camera() -> DefocusingCamera:
    found = faulty.made["DefocusingCamera"][-1]
    assert isinstance(found, DefocusingCamera)
    return found


def sweeps(run: Path) -> list[dict[str, Any]]:
    return recorded(run).notes_on("refocus")


def test_without_it_the_sample_is_lost(tmp_path: Path) -> None:
    result, _ = run_session(tmp_path, session={}, **parts(10, None))
    assert result.status == "completed", result.reason
    assert abs(camera().errors_um[-1]) == pytest.approx(1.8)


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["variance", "spectrum"])
def test_a_drift_is_followed(
    measure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(tmp_path, session={}, **parts(12, {"measure": measure}, z_um=0.7))
    assert result.status == "completed", result.reason
    assert np.abs(camera().errors_um).max() < 0.25
    found = sweeps(run)
    assert [one["point"] for one in found] == [*range(12)] and all(one["found"] for one in found)
    # Frames of sweeps are no time points.
    taken = recorded(run).taken
    points = [one.shot["point"] for _, one in sorted(taken.items()) if one.shot["mode"] == "sted"]
    assert points == [*range(12)]
    assert zarr.open_array(run / "raw.ome.zarr" / "0", mode="r").shape[:3] == (12, 1, 1)
    between = zarr.open_array(run / "between.ome.zarr" / "0", mode="r")
    assert between.shape[0] == len(taken) - 12
    summary = show(capsys, run)
    assert (summary["status"], summary["frames"]["acquired"]) == ("completed", len(taken))
    # Their light counts.
    count = len(taken)
    assert summary["dose"]["excitation_J"] >= count * 5e-3 * 10e-3 * 0.999
    assert summary["focus"]["sweeps"] == 12 and summary["focus"]["not_found"] == 0
    assert summary["focus"]["z_um"]["0"] == pytest.approx(0.7 + 11 * 0.2, abs=0.25)
    code, out, _ = faulty.cli(capsys, "show", run)
    assert code == 0 and "focus: 12 sweeps, between 0." in out
    assert replay(run).difference is None


@pytest.mark.parametrize("rules", [2, 3])
def test_a_sweep_waits_for_its_time_point(rules: int, tmp_path: Path) -> None:
    """It did not by the rules of earlier runs, which keep to those."""
    plan = parts(2, {})
    plan["timelapse"] |= {"interval_s": 0.15}
    result, run = run_session(tmp_path, session={}, rules=rules, **plan)
    assert result.status == "completed", result.reason
    swept = [
        one
        for _, one in sorted(recorded(run).taken.items())
        if one.shot["purpose"] == "focus, time point 1"
    ]
    assert {one.shot["at_s"] for one in swept} == {0.15 if rules == 3 else None}
    assert swept[0].frame["schedule_s"] >= (0.15 if rules == 3 else 0)
    assert replay(run).difference is None


@pytest.mark.slow
def test_between_sweeps_the_drift_is_predicted(tmp_path: Path) -> None:
    for predict, worst in ((True, 0.35), (False, 0.6)):
        here = tmp_path / str(predict)
        here.mkdir()
        result, run = run_session(here, session={}, **parts(17, {"every": 4, "predict": predict}))
        assert result.status == "completed", result.reason
        # A drift is followed no further than it was seen.
        first = [1, 2] if predict else []
        assert [one["point"] for one in sweeps(run)] == [0, *first, 4, 8, 12, 16]
        late = np.abs(camera().errors_um[8:]).max()
        assert late < 0.25 if predict else late > 0.45
        assert late < worst + 0.2


@pytest.mark.slow
def test_a_sweep_goes_on_where_its_last_plane_is_the_sharpest(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={}, **parts(2, {}, z_um=-1.7, drift_um=0.0))
    assert result.status == "completed", result.reason
    assert sweeps(run)[0]["planes_um"] == [-2, -1.5, -1, -0.5, 0, 0.5, 1]
    assert np.abs(camera().errors_um).max() < 0.25


@pytest.mark.slow
def test_the_imaged_plane_may_be_above_the_sharpest(tmp_path: Path) -> None:
    """Sweeps stay around the sharpest one all the same."""
    plan = parts(5, {"offset": 0.8}, z_um=0.4)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert np.abs(np.array(camera().errors_um) - 0.8).max() < 0.25
    for one in sweeps(run)[1:]:
        at = int(np.argmax(one["sharpness"]))
        assert 1 <= at <= 3 and len(one["planes_um"]) == 5


@pytest.mark.slow
def test_a_sweep_that_sees_nothing_keeps_the_last_focus_and_says_so(tmp_path: Path) -> None:
    blind = (3, 7)
    result, run = run_session(tmp_path, session={}, **parts(12, {}, blind=blind))
    assert result.status == "completed", result.reason
    found = sweeps(run)
    assert [one["point"] for one in found if not one["found"]] == [*blind]
    assert found[3]["why"] == "no plane is sharper than the others"
    purposes = [
        one.shot["purpose"]
        for _, one in sorted(recorded(run).taken.items())
        if one.shot["mode"] == "sted"
    ]
    assert purposes[3] == "time point 3, focus not found" and purposes[4] == "time point 4"
    assert np.abs(camera().errors_um).max() < 0.4
    assert replay(run).difference is None
    write_report(run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "12 sweeps, 2 of them found none" in page and "no focus found" in page
    assert page.count('class="mark limit"') == 3  # one of them in the legend


@pytest.mark.slow
def test_stopped_in_a_sweep_and_resumed(tmp_path: Path) -> None:
    # The camera of a resumed run begins anew: its sample does not drift here.
    plan = parts(4, {}, z_um=0.4, drift_um=0.0)
    result, run = run_session(tmp_path, session={"make_plan": cut_after(15)}, **plan)
    assert result.status == "failed"
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert [one["point"] for one in sweeps(run)] == [0, 1, 2, 3]
    assert replay(run).difference is None


@pytest.mark.slow
def test_planes_beyond_the_limits_are_left_out(tmp_path: Path) -> None:
    plan = parts(8, {})
    plan["microscope"]["stage_limits"] = {"z_um": [-1, 1.2]}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert max(max(one["planes_um"]) for one in sweeps(run)) <= 1.2
    assert faulty.made["Focus"][-1].get_position_um() <= 1.2


@pytest.mark.slow
def test_fields_have_a_focus_each_and_a_sign_in_the_report(tmp_path: Path) -> None:
    plan = parts(3, {}, z_um=0.5, drift_um=0.0)
    plan["timelapse"] |= {"fields": 2}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert [(one["field"], one["point"]) for one in sweeps(run)[:3]] == [(0, 0), (1, 0), (0, 1)]
    assert np.abs(camera().errors_um).max() < 0.25
    write_report(run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    focus = page[page.index("<h2>Focus</h2>") :]
    assert focus.index("field 0") < focus.index("field 1") < focus.index('<svg class="chart')


@pytest.mark.slow
def test_skipping_follows_it_too(tmp_path: Path) -> None:
    plan = parts(9, {})
    plan["timelapse"] |= {"acquire": "skip", "gap": 2}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert [one["point"] for one in sweeps(run)] == [0, 2, 4, 6, 8]
    assert np.abs(camera().errors_um).max() < 0.25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"focus": {"every": None}}, "says not when"),
        ({"focus": {"range": 1, "step": 2}}, "at least 3 planes"),
        ({"focus": {"range": 1e4}}, "at most 200"),
        ({"focus": {"mode": "confocl"}}, "did you mean 'confocal'"),
        ({"focus": {"measure": "score"}}, "`analysis.score: true`"),
        ({"focus": {"when_score_falls_by": 0.1}}, "`analysis.score: true`"),
        ({"plan": "live"}, "is for `plan: timelapse`, not live"),
        ({"timelapse": {"z": {"absolute": [1, 2]}}}, "absolute planes do not follow"),
    ],
)
def test_wrong_ones_end_in_a_line(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(**parts(3, {}) | change)
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and said in err and "Traceback" not in err, err
    assert len(err.strip().splitlines()) <= 3


def test_check_counts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(**parts(4, {}))
    code, out, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 0, err
    # 4 time points, each with a sweep of 5 planes, or 7 where it goes on.
    assert "24 of 32 × 32 px" in out and "4 … 24" not in out
    assert "0.0012 … 0.0016 J" in out and "depletion dose   0.004 J" in out, out
