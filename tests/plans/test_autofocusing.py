"""The focus of a time-lapse is found again by the autofocus device, however badly that works."""

from __future__ import annotations

import itertools
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.record.folder import read_config
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report.page import write_report
from tests import faulty
from tests.doubles.autofocus import Autofocus
from tests.helpers.runs import Work, cut_after, posix, recorded, run_session, show, until
from tests.plans import test_focusing as sweeping

NEAR_UM = 0.25


def parts(points: int, focus: dict[str, Any] | None = None, **device: Any) -> dict[str, Any]:
    """A time-lapse of a sample that drifts by 200 nm from one time point to the next."""
    found = sweeping.parts(points, {}, **device.pop("camera", {}))
    found["microscope"]["python_devices"]["PFS"] = {
        "class": "tests.doubles.autofocus:Autofocus",
        "options": device,
    }
    return {**found, "focus": {"device": "PFS", **(focus or {})}}


def errors_um() -> np.ndarray[Any, Any]:
    return np.abs(sweeping.camera().errors_um)


def double() -> Autofocus:
    found = faulty.made["Autofocus"][-1]
    assert isinstance(found, Autofocus)
    return found


def switched() -> list[str]:
    """How the continuous focus was switched; off again is off."""
    return [call for call, _ in itertools.groupby(call for _, call in double().given)]


def purposes(run: Path) -> list[str]:
    return [one.shot["purpose"] for _, one in sorted(recorded(run).taken.items())]


@pytest.mark.slow
@pytest.mark.parametrize("using", ["full", "incremental", "continuous"])
def test_a_drift_is_followed(
    using: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = parts(8, {"using": using}, camera={"z_um": 0.7})
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert errors_um().max() < NEAR_UM
    notes = sweeping.sweeps(run)
    assert [one["point"] for one in notes] == [*range(8)] and all(one["found"] for one in notes)
    assert notes[-1]["z_um"] == pytest.approx(0.7 + 7 * 0.2, abs=NEAR_UM)
    assert len(recorded(run).taken) == 8
    # No light was on meanwhile, and nothing holds the focus at the end.
    assert all(lit == (0, False) for lit in double().lit)
    assert not double().on
    if using == "continuous":
        assert switched() == ["on", "off"]
        assert all(one.frame["held"]["why"] == "" for one in recorded(run).taken.values())
        assert "continuous focus" in (recorded(run).safe_state or {})["readback"]
    summary = show(capsys, run)
    assert summary["focus"]["sweeps"] == 8 and summary["focus"]["not_found"] == 0
    code, out, _ = faulty.cli(capsys, "show", run)
    assert code == 0 and "focus: 8 searches by PFS, between 0." in out
    write_report(run, tmp_path / "report.html")
    assert "8 searches by PFS" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert replay(run).difference is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"raises": (2, 5)}, "no interface found"),
        ({"nonsense": (2, 5)}, "from where the focus is expected"),
        ({"nan": (2, 5)}, "says that it is at nan"),
    ],
)
def test_a_search_that_fails_leaves_the_last_focus_and_marks_the_frames(
    fault: dict[str, Any], said: str, tmp_path: Path
) -> None:
    plan = parts(8, {"tries": 1}, **fault)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    lost = [one for one in sweeping.sweeps(run) if not one["found"]]
    assert [one["point"] for one in lost] == [2, 5] and all(said in one["why"] for one in lost)
    marked = [at for at, purpose in enumerate(purposes(run)) if "focus not found" in purpose]
    assert marked == [2, 5] and len(purposes(run)) == 8
    assert errors_um().max() < NEAR_UM  # the drift is known by then
    faults = [one for one in recorded(run).faults if one.get("part") == "focus"]
    assert len(faults) == 2 and all(one["policy"] == "go on" for one in faults)
    assert replay(run).difference is None


def test_it_waits_for_its_time_point(tmp_path: Path) -> None:
    plan = parts(3)
    plan["timelapse"] |= {"interval_s": 0.15}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    times = [at for at, _ in double().given]
    assert min(np.diff(times)) > 0.1
    assert [one["at_s"] for one in recorded(run).focused.values()] == [0, 0.15, 0.3]


def test_it_is_tried_again(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={}, **parts(4, raises=(1, 2)))
    assert result.status == "completed", result.reason
    assert double().searches == 6 and all(one["found"] for one in sweeping.sweeps(run))


@pytest.mark.slow
@pytest.mark.parametrize("frames", [3, 6])
def test_a_device_that_hangs_is_left_alone(frames: int, tmp_path: Path) -> None:
    """Until it comes back, and nobody cares where it goes then."""
    plan = parts(6, {"timeout_s": 0.05}, hangs=(2,), frames=frames)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed" and result.safe, result.reason
    notes = sweeping.sweeps(run)
    lost = [one["point"] for one in notes if not one["found"]]
    assert lost == ([2, 3, 4, 5] if frames == 6 else [*range(2, 2 + len(lost))])
    assert "no answer in" in notes[2]["why"]
    assert all(notes[point]["why"] == "still hangs" for point in lost[1:])
    # It may come back in the middle of a frame, which says so.
    taken = [one for _, one in sorted(recorded(run).taken.items())]
    fine = [not one.frame.get("held", {}).get("why") for one in taken]
    assert errors_um()[fine].max() < NEAR_UM and fine.count(False) <= 1
    assert [at for at, one in enumerate(purposes(run)) if "not found" in one] == lost
    assert replay(run).difference is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"never": (0,)}, "does not lock"),
        ({"unlocks": (0,)}, "says that it is locked, and that it is off"),
        ({"raises": (0,)}, "no interface found"),
        ({"hangs": (0,), "frames": 4}, "hangs"),
    ],
)
def test_a_lock_that_does_not_hold(fault: dict[str, Any], said: str, tmp_path: Path) -> None:
    plan = parts(4, {"using": "continuous", "timeout_s": 0.05, "tries": 1}, **fault)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed" and result.safe, result.reason
    notes = sweeping.sweeps(run)
    assert not notes[0]["found"] and said in notes[0]["why"]
    assert "focus not found" in purposes(run)[0]
    if "hangs" not in fault:
        assert all(one["found"] for one in notes[1:]) and errors_um().max() < NEAR_UM
        assert not double().on
    assert replay(run).difference is None


def test_a_stack_releases_the_lock_which_is_taken_again(tmp_path: Path) -> None:
    plan = parts(3, {"using": "continuous", "every": 2})
    plan["timelapse"] |= {"z": {"range": 1, "step": 0.5}}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert switched() == ["on", "off"] * 3
    assert [one["point"] for one in sweeping.sweeps(run)] == [0, 1, 2]
    heights = [one.shot["focus_um"] for _, one in sorted(recorded(run).taken.items())]
    centre = np.array(heights).reshape(3, 3)[:, 1]
    assert centre == pytest.approx([one["z_um"] for one in sweeping.sweeps(run)], abs=0.01)


@pytest.mark.slow
def test_a_lock_that_is_lost_between_two_searches_marks_the_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Losing(Autofocus):
        def is_locked(self) -> bool:
            return len(sweeping.camera().errors_um) != 2 and super().is_locked()

    faulty.Losing = Losing  # type: ignore[attr-defined]
    plan = parts(6, {"using": "continuous", "every": 4, "predict": False, "timeout_s": 0.05})
    plan["microscope"]["python_devices"]["PFS"] = faulty.device("Losing")
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    held = [one.frame["held"]["why"] for _, one in sorted(recorded(run).taken.items())]
    assert [at for at, why in enumerate(held) if why] == [2]
    assert "does not lock" in held[2]
    assert show(capsys, run)["focus"]["not_held"] == 1
    assert "; not held in 1 frame" in faulty.cli(capsys, "show", run)[1]
    assert errors_um()[3:].max() < NEAR_UM  # it was taken again
    assert replay(run).difference is None


def test_a_lock_that_was_there_is_there_again(tmp_path: Path) -> None:
    plan = parts(3, {"using": "continuous"}, continuous=True)
    plan["timelapse"] |= {"z": {"range": 1, "step": 0.5}}
    result, _ = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert double().on and [call for _, call in double().given][-1] == "on"


@pytest.mark.slow
def test_a_pause_releases_the_lock_which_is_taken_again(tmp_path: Path) -> None:
    plan = parts(40, {"using": "continuous", "every": 100, "predict": False})
    plan["timelapse"] |= {"interval_s": 0.02}
    work = Work(tmp_path, **plan).start()
    until(lambda: work.progress.frames >= 3)
    work.tell(pause=True)
    until(lambda: work.progress.paused)
    assert not double().on
    work.tell(resume=True)
    ended = work.ended()
    assert ended.status == "completed", ended.reason
    assert switched() == ["on", "off", "on", "off"] and errors_um().max() < NEAR_UM
    assert len(sweeping.sweeps(work.run)) == 1 and len(recorded(work.run).taken) == 40
    assert replay(work.run).difference is None


@pytest.mark.parametrize("raises", [(), (2,)])
def test_one_that_switches_light_on_ends_the_run(raises: tuple[int, ...], tmp_path: Path) -> None:
    plan = parts(5, {"tries": 1}, lights=(2,), raises=raises)
    result, _ = run_session(tmp_path, session={}, **plan)
    assert result.status == "failed" and result.safe
    assert "switched light on (shutter open)" in result.reason
    assert not faulty.made["Shutter"][-1].open
    # The shutter was open, and no laser behind it was on.
    lasers = faulty.made["Laser"][-2:]
    dark_from = double().given[-1][0]
    assert all(power == 0 for laser in lasers for at, power in laser.given if at > dark_from)


@pytest.mark.slow
def test_stopped_and_resumed(tmp_path: Path) -> None:
    plan = parts(
        6,
        {"using": "continuous", "every": 3, "predict": False},
        camera={"drift_um": 0.0, "z_um": 0.4},
    )
    result, run = run_session(tmp_path, session={"make_plan": cut_after(2)}, **plan)
    assert result.status == "failed" and not double().on
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert [one["point"] for one in sweeping.sweeps(run)] == [0, 3]
    # The frame that it goes on with is under a lock as well.
    assert double().given[0][1] == "on" and errors_um().max() < NEAR_UM
    assert replay(run).difference is None


class Signalled(Autofocus):
    """The run is interrupted while it works, and it goes on until that is known."""

    signalled: float = 0.0
    sent: int = 0

    def interrupt(self) -> None:
        self.signalled = time.monotonic()
        signal.raise_signal(signal.SIGINT)
        until(lambda: faulty.made["Shutter"][-1].given[-1][0] > self.signalled)
        self.sent = len(self._focus.sent)

    def full_focus(self) -> None:
        super().full_focus()
        if self.searches == 3:
            self.interrupt()

    def is_locked(self) -> bool:
        locked = super().is_locked()
        if len(sweeping.camera().errors_um) == 2 and not self.signalled:
            self.interrupt()
        return locked


@posix
@pytest.mark.parametrize("using", ["full", "continuous"])
def test_nothing_moves_after_a_signal(using: str, tmp_path: Path) -> None:
    """Not even if it comes in the middle of a search."""
    plan = parts(6, {"using": using})
    plan["microscope"]["python_devices"]["PFS"] = {"class": f"{__name__}:Signalled", "options": {}}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "interrupted" and result.safe, result.reason
    device = faulty.made["Signalled"][-1]
    after = [call for at, call in device.given if at > device.signalled]
    assert set(after) == (set() if using == "full" else {"off"})
    assert len(faulty.made["Focus"][-1].sent) == device.sent
    assert len(recorded(run).taken) == 2
    assert replay(run).difference is None


def test_a_plan_of_ones_own_asks_it(tmp_path: Path) -> None:
    """The one in the documentation."""
    page = (faulty.ROOT / "docs" / "how-to" / "write-a-plan.md").read_text(encoding="utf-8")
    code = next(block for block in page.split("```python\n")[1:] if "Autofocus" in block)
    (tmp_path / "in_focus.py").write_text(code.split("```")[0], encoding="utf-8")
    plan = parts(1, raises=(1,), camera={"z_um": 0.4})
    del plan["focus"], plan["timelapse"]
    plan |= {"plan": "in_focus:in_focus", "in_focus": {"frames": 3}, "modules": str(tmp_path)}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert [bool(note["why"]) for note in recorded(run).notes_on("focus")] == [False, True, False]
    assert purposes(run) == ["", "focus not found", ""]
    assert replay(run).difference is None


def test_an_offset(tmp_path: Path) -> None:
    plan = parts(3, {"device_offset": 50, "offset": 0.3})
    result, _ = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    assert np.abs(np.array(sweeping.camera().errors_um) - 0.8).max() < NEAR_UM


@pytest.mark.parametrize(
    ("focus", "said"),
    [
        ({"device": "PSF"}, "found 'PSF'; accepted: PFS; did you mean 'PFS'?"),
        ({"device": "Focus"}, "accepted: PFS"),
        ({"measure": "variance"}, "measure`: is for sweeps"),
        ({"device": None, "using": "continuous"}, "using`: is for an autofocus device"),
        ({"using": "continuous", "offset": 1}, "accepted: `device_offset`"),
        ({"offset_device": "Offset"}, "needs `device_offset`"),
        ({"offset_device": "Ofset", "device_offset": 1}, "found 'Ofset'; accepted: none"),
    ],
)
def test_wrong_ones_end_in_a_line(
    focus: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(**parts(3, focus))
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and said in err and "Traceback" not in err, err
    assert len(err.strip().splitlines()) <= 3


def test_check_says_which_and_how_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(**parts(4, {"using": "continuous"}))
    code, out, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 0, err
    assert "PFS, continuous focus off" in out and "4 of 32 × 32 px" in out


@pytest.mark.slow
@pytest.mark.parametrize("using", ["full", "continuous"])
def test_with_the_device_of_a_cfg(
    using: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DemoCamera's says that it is in focus wherever it is."""
    data = {
        "plan": "timelapse",
        "timelapse": {"frames": 2, "interval_s": 0},
        "microscope": {"cfg": "demo", "pixel_size_nm": 100, "exposure": {"camera_ms": 1}},
        "focus": {"device": "Autofocus", "using": using},
    }
    run = tmp_path / "run"
    code, out, err = faulty.cli(
        capsys, "run", faulty.write(tmp_path / "my.yaml", data), "--out", run
    )
    assert code == 0 and "2 searches by Autofocus" in out + err
    assert all(one["found"] for one in sweeping.sweeps(run))
    assert replay(run).difference is None
