"""Stacks as hardware sequences: the same frames as one by one, in the dark whatever goes wrong."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from agent.config import RunConfig
from agent.plan import Block, Plan
from agent.record.folder import read_config
from agent.record.ledger import Ledger
from agent.record.raw import RawFrames
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from devices.shot import Plane, Shot
from tests import faulty
from tests.doubles.sequences import TriggeringCamera
from tests.helpers.runs import Work, recorded, run_session, until

PLANES = 6
STACK = {"z": {"range": PLANES - 1, "step": 1}}


def scope(
    *,
    camera: dict[str, Any] | None = None,
    focus: dict[str, Any] | None = None,
    sequences: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """A microscope whose camera triggers its focus drive."""
    made = faulty.config()["microscope"]["python_devices"]
    wired = "tests.doubles.sequences"
    return {
        "python_devices": made
        | {
            "Camera": {"class": f"{wired}:TriggeringCamera", "options": camera or {}},
            "Focus": {"class": f"{wired}:TriggeredFocus", "options": focus or {}},
        },
        "sequences": sequences,
        **more,
    }


def rows(run: Path, *kinds: Any) -> list[Any]:
    with closing(Ledger(run, readonly=True)) as ledger:
        return list(ledger.entries(*kinds))


def faults(run: Path) -> list[tuple[str, str]]:
    return [(fault["what"], fault["policy"]) for fault in recorded(run).faults]


def in_sequence(run: Path) -> list[tuple[int, int] | None]:
    """Of each frame, first frame and length of the sequence that it is of."""
    found = []
    for _, taken in sorted(recorded(run).taken.items()):
        one = taken.frame.get("sequence")
        found.append((one["first"], one["frames"]) if one else None)
    return found


def assert_each_plane(run: Path, frames: int) -> None:
    """Every frame is there, and was taken at the height that its shot asked for."""
    taken = recorded(run).taken
    assert sorted(taken) == list(range(frames))
    raw = RawFrames(run, pixel_size_um=0.02)
    for index, one in taken.items():
        assert raw.read(index)[0, 0] == 1000 + round(100 * one.shot["focus_um"])
    times = [one.frame["time_s"] for _, one in sorted(taken.items())]
    assert times == sorted(times)
    assert replay(run).difference is None


def assert_dark() -> None:
    """By what the devices wrote down, and with nothing left that waits for a trigger."""
    assert faulty.made["Shutter"][-1].open is False
    assert all(laser.power == 0 for laser in faulty.made["Laser"][-2:])
    assert faulty.made["TriggeredFocus"][-1].running is False


def same(run: Path) -> list[dict[str, Any]]:
    """Rows of shots and frames, by frame, without what depends on time."""
    timed = {"time_s", "schedule_s", "lit_s", "sequence", "dose_J", "settings"}
    found = []
    for _, taken in sorted(recorded(run).taken.items()):
        frame = {key: taken.frame[key] for key in taken.frame.keys() - timed - {"at"}}
        shot = {key: taken.shot[key] for key in taken.shot.keys() - {"dose_J"}}
        found.append({"frame": frame, "shot": shot, "keys": taken.frame.keys() - {"sequence"}})
    return found


@pytest.mark.slow
def test_a_stack_by_sequence_is_the_stack_taken_singly(tmp_path: Path) -> None:
    modes = {"confocal": {"depletion_power": 0}, "sted": {"excitation_power": 7}}
    runs = {}
    for sequences in (False, True):
        folder = tmp_path / str(sequences)
        folder.mkdir()
        result, runs[sequences] = run_session(
            folder,
            session={},
            plan="timelapse",
            timelapse={
                "frames": 2,
                "interval_s": 0.0,
                "fields": 2,
                "channels": ["confocal", "sted"],
                **STACK,
            },
            microscope=scope(sequences=sequences, modes=modes, **faulty.LONG),
        )
        assert result.status == "completed", result.reason
        assert_dark()
    assert same(runs[True]) == same(runs[False])
    assert_each_plane(runs[True], 8 * PLANES)
    assert in_sequence(runs[False]) == [None] * 8 * PLANES
    assert in_sequence(runs[True]) == [
        (PLANES * stack, PLANES) for stack in range(8) for _ in range(PLANES)
    ]
    doses = [summarize(runs[sequences])["dose"] for sequences in (False, True)]
    for laser in ("excitation_J", "depletion_J"):
        assert doses[0][laser] == pytest.approx(doses[1][laser])
    # The camera takes less than its exposure time.
    assert all(what.startswith("light was on the sample for") for what, _ in faults(runs[True]))
    # Between two frames the drive was sent nowhere.
    assert faulty.made["TriggeredFocus"][-1].sent[:-1] == [-(PLANES - 1) / 2] * 8


@pytest.mark.parametrize("shutter", [True, False])
def test_the_light_of_a_sequence_is_counted(shutter: bool, tmp_path: Path) -> None:
    microscope = scope(camera={"frame_s": 0.03})
    if not shutter:
        del microscope["python_devices"]["Shutter"]
    result, run = run_session(
        tmp_path, session={}, live={"frames": 1, **STACK}, microscope=microscope
    )
    assert result.status == "completed", result.reason
    laser = faulty.made["Laser"][-1]
    given = faulty.energy_j(laser, faulty.made["Shutter"][-1] if shutter else None)
    counted = summarize(run)["dose"]["depletion_J"]
    assert given <= counted < 1.2 * given + 1e-4
    lit = [taken.frame["lit_s"] for _, taken in sorted(recorded(run).taken.items())]
    assert min(lit) > 0 and median(lit) > 0.02 and sum(lit) == pytest.approx(given / 0.1, rel=0.1)


CHANNELS: dict[str, Any] = {"confocal": {"depletion_power": 0}, "sted": {"depletion_power": 100}}


def lasers(**options: Any) -> dict[str, Any]:
    """The same microscope with a depletion laser that is triggered as well."""
    microscope = scope(modes=CHANNELS)
    wired = {"class": "tests.doubles.sequences:TriggeredLaser", "options": options}
    microscope["python_devices"]["Depletion"] = wired
    return microscope


@pytest.mark.parametrize("order", ["pcz", "pzc"])
def test_channels_by_sequence(order: str, tmp_path: Path) -> None:
    """A laser that the camera triggers; its powers are those that were asked for."""
    live = {"frames": 2, "channels": list(CHANNELS), "axis_order": order, **STACK}
    result, run = run_session(tmp_path, session={}, live=live, microscope=lasers())
    assert result.status == "completed", result.reason
    assert_each_plane(run, 4 * PLANES)
    assert_dark()
    assert in_sequence(run) == [(0, 2 * PLANES)] * 2 * PLANES + [(12, 2 * PLANES)] * 2 * PLANES
    asked = [one.shot["settings"] for _, one in sorted(recorded(run).taken.items())]
    camera = faulty.made["TriggeringCamera"][-1]
    assert camera.seen == [[one["excitation_power"], one["depletion_power"]] for one in asked]
    assert {one["depletion_power"] for one in asked} == {0, 100}
    expected = 2 * PLANES * 0.1 * 0.01  # of the frames with depletion
    assert summarize(run)["dose"]["depletion_J"] >= expected * 0.999


@pytest.mark.parametrize(
    ("microscope", "why"),
    [
        (scope(modes=CHANNELS), "Depletion.Power_mW changes between them, and takes no sequence"),
        (lasers(longest=1), "Depletion.Power_mW takes 1 values at most"),
        (
            {**lasers(), "shutter": "none"},
            "Depletion.Power_mW changes between them, and no shutter keeps its light off",
        ),
    ],
)
def test_channels_that_are_no_sequence(
    microscope: dict[str, Any], why: str, tmp_path: Path
) -> None:
    live = {"frames": 1, "channels": list(CHANNELS), "axis_order": "pzc", **STACK}
    result, run = run_session(tmp_path, session={}, live=live, microscope=microscope)
    assert result.status == "completed", result.reason
    assert_each_plane(run, 2 * PLANES)
    assert in_sequence(run) == [None] * 2 * PLANES
    told = f"frames are taken one by one, not as a hardware sequence: {why}"
    assert told in [what for what, _ in faults(run)]


def test_a_laser_that_is_triggered_is_made_safe(tmp_path: Path) -> None:
    """The camera goes on with its triggers for a while, and none switches it on again."""
    live = {"frames": 1, "channels": list(CHANNELS), "axis_order": "pzc", **STACK}
    microscope = lasers()
    microscope["python_devices"]["Camera"]["options"] = {"waits_at": 2}
    work = Work(tmp_path, live=live, microscope=microscope)
    camera = held_within(work)
    until(lambda: work.progress.frames == 2)
    laser = faulty.made["TriggeredLaser"][-1]
    assert laser.running
    work.microscope.make_safe("tried")
    given = len(laser.gave)
    camera.released.set()
    assert work.ended().status == "failed"
    assert [power for _, power in laser.gave[given - 1 :] if power] == [] and not laser.running
    assert_dark()


def test_the_light_waits_for_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = RawFrames.write

    def slow(self: RawFrames, *args: Any) -> Any:
        time.sleep(0.1)
        return write(self, *args)

    monkeypatch.setattr(RawFrames, "write", slow)
    result, run = run_session(tmp_path, session={}, live={"frames": 1, **STACK}, microscope=scope())
    assert result.status == "completed", result.reason
    frames = [taken.frame for _, taken in sorted(recorded(run).taken.items())]
    assert sum(frame["lit_s"] for frame in frames) < 0.1 * (PLANES - 1)
    # When they came, and not when they were written.
    assert frames[-1]["time_s"] - frames[0]["time_s"] < 0.1 * (PLANES - 1)
    elapsed = [frame["sequence"]["elapsed_ms"] for frame in frames]
    assert elapsed == sorted(elapsed)


def test_a_budget_that_ends_within_a_stack_ends_as_singly(tmp_path: Path) -> None:
    each = 0.1 * faulty.LONG_S  # J of depletion
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 4, **STACK},
        dose={"budget_J": {"depletion": each * (PLANES + 2.5)}},
        microscope=scope(**faulty.LONG),
    )
    assert result.status == "stopped" and "budget" in result.reason
    assert_each_plane(run, PLANES + 2)
    assert in_sequence(run) == [(0, PLANES)] * PLANES + [None] * 2
    assert_dark()


def test_devices_that_take_no_sequence(tmp_path: Path) -> None:
    microscope = scope(focus={"longest": 0})
    result, run = run_session(
        tmp_path, session={}, live={"frames": 2, **STACK}, microscope=microscope
    )
    assert result.status == "completed", result.reason
    assert_each_plane(run, 2 * PLANES)
    assert in_sequence(run) == [None] * 2 * PLANES
    why = (
        "frames are taken one by one, not as a hardware sequence: focus drive 'Focus' takes no "
        "sequence"
    )
    assert faults(run) == [(why, "go on")]


def test_a_stack_longer_than_the_drive_takes(tmp_path: Path) -> None:
    microscope = scope(focus={"longest": PLANES - 1})
    result, run = run_session(
        tmp_path, session={}, live={"frames": 2, **STACK}, microscope=microscope
    )
    assert result.status == "completed", result.reason
    assert_each_plane(run, 2 * PLANES)
    one = [(0, PLANES - 1)] * (PLANES - 1) + [None]
    assert in_sequence(run) == one + [(PLANES, PLANES - 1)] * (PLANES - 1) + [None]
    assert faults(run) == []


@pytest.mark.slow
@pytest.mark.parametrize("retries", [1, 0])
def test_a_camera_that_ends_within_a_sequence(retries: int, tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 2, **STACK},
        faults={"retries": retries},
        microscope=scope(camera={"ends": [4]}),
    )
    assert_dark()
    (fault,) = faults(run)
    assert fault[0].startswith("camera 'Camera' gave 4 of 6 frames of a sequence")
    voids = [row.frame for row in rows(run, "void")]
    assert voids == [4, 5]
    if retries == 0:
        assert result.status == "failed" and len(recorded(run).taken) == 4
        result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert_each_plane(run, 2 * PLANES)
    rest = [None] * 2 if retries else [(4, 2)] * 2
    assert in_sequence(run) == [(0, 6)] * 4 + rest + [(6, 6)] * 6


def test_a_disk_that_is_full_within_a_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RawFrames.write

    def fills_up(self: RawFrames, index: int, *args: Any) -> Any:
        if index >= 3:
            raise OSError("no space left on device")
        return write(self, index, *args)

    monkeypatch.setattr(RawFrames, "write", fills_up)
    live = {"frames": 2, **STACK}
    result, run = run_session(tmp_path, session={}, live=live, microscope=scope())
    assert result.status == "failed" and "no space left" in result.reason and result.safe
    assert_dark()
    assert [row.frame for row in rows(run, "void")] == [3, 4, 5]
    monkeypatch.undo()
    again = Session(read_config(run), run / "config.yaml", run).run()
    assert again.status == "completed", again.reason
    assert_each_plane(run, 2 * PLANES)
    assert in_sequence(run) == [(0, 6)] * 3 + [(3, 3)] * 3 + [(6, 6)] * 6


def test_a_drive_that_refuses_its_sequence(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 1, **STACK},
        faults={"retries": 1},
        microscope=scope(focus={"refuses": True}),
    )
    assert result.status == "completed", result.reason
    assert_each_plane(run, PLANES)
    assert in_sequence(run) == [None] * PLANES
    (fault,) = faults(run)
    assert "the controller has no memory left" in fault[0]


def held_within(work: Work) -> TriggeringCamera:
    """The camera of a run that is waits before a frame, and takes the last but one when halted."""
    camera: TriggeringCamera = faulty.made["TriggeringCamera"][-1]
    core = work.microscope.core
    camera.halted = core._stop_event.is_set
    camera.before = lambda number: core._stop_event.wait(40 if number == PLANES - 2 else 0)
    work.start()
    until(camera.waiting.is_set)
    return camera


@pytest.mark.slow
@pytest.mark.parametrize("told", ["stop", "pause"])
def test_told_within_a_sequence(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame under way is finished, the others are taken later."""
    microscope = scope(camera={"waits_at": 3})
    work = Work(tmp_path, live={"frames": 2, **STACK}, microscope=microscope)
    camera = held_within(work)
    mda, cancelled = work.microscope.core.mda, threading.Event()
    cancel = mda.cancel

    def noticed() -> None:
        cancel()
        cancelled.set()

    monkeypatch.setattr(mda, "cancel", noticed)
    work.tell(**{told: True})
    until(cancelled.is_set)
    camera.released.set()
    if told == "pause":
        until(lambda: work.progress.paused)
        assert_dark()
        assert work.progress.frames < PLANES
        camera.before = lambda number: None
        work.tell(resume=True)
    result = work.ended()
    if told == "stop":
        assert result.status == "stopped", result.reason
        assert_dark()
        assert 3 <= len(recorded(work.run).taken) < PLANES
        again = Session(read_config(work.run), work.run / "config.yaml", work.run)
        result = again.run(lambda _: faulty.made["TriggeringCamera"][-1].released.set())
    assert result.status == "completed", result.reason
    assert_each_plane(work.run, 2 * PLANES)
    assert len(rows(work.run, "void")) + 2 * PLANES == len(rows(work.run, "shot"))


def test_made_safe_within_a_sequence(tmp_path: Path) -> None:
    microscope = scope(camera={"waits_at": 3})
    work = Work(tmp_path, live={"frames": 2, **STACK}, microscope=microscope)
    camera = held_within(work)
    until(lambda: work.progress.frames == 3)
    safe = work.microscope.make_safe("tried")
    assert_dark()
    camera.released.set()
    result = work.ended()
    assert result.status == "failed" and "made safe" in result.reason
    assert safe.ok or "sequence running" in safe.wrong, safe.wrong
    # The fourth one was exposed in the dark.
    assert sorted(recorded(work.run).taken) == [0, 1, 2]
    assert replay(work.run).difference is None
    assert_dark()


def test_a_setting_that_changes_meanwhile_is_a_fault(tmp_path: Path) -> None:
    work = Work(tmp_path, live={"frames": 1, **STACK}, faults={"retries": 0}, microscope=scope())
    laser = faulty.made["Laser"][-1]
    device = faulty.made["TriggeringCamera"][-1]
    device.before = lambda number: laser.accept(42.0) if number == 2 else None
    result = work.start().ended()
    assert result.status == "failed"
    assert "Depletion.Power_mW is 42 mW, not 100" in result.reason
    assert len(recorded(work.run).taken) == PLANES
    assert_dark()


def test_a_plan_that_breaks_its_promise(tmp_path: Path) -> None:
    def broken(config: RunConfig) -> Plan:
        shots = [Shot("sted", plane=Plane(number, number)) for number in range(3)]
        yield Block(tuple(shots))
        yield shots[0]
        yield shots[2]

    result, _ = run_session(tmp_path, session={"make_plan": broken}, microscope=scope())
    assert result.status == "failed"
    assert "BrokenPromise: frame 1 was taken as the plan's block has it" in result.reason
    assert_dark()
    # Where nothing is taken ahead, nothing is broken.
    other = tmp_path / "singly"
    other.mkdir()
    result, _ = run_session(other, session={"make_plan": broken}, microscope=scope(sequences=False))
    assert result.status == "completed", result.reason


@pytest.mark.parametrize(
    ("longest", "plan", "said"),
    [
        (100, "live", "6 frames at once, where the plan has 6 in a row"),
        (4, "timelapse", "4 frames at once, where the plan has 12 in a row"),
        (0, "live", "none: focus drive 'Focus' takes no sequence"),
        (1, "timelapse", "none: focus drive 'Focus' takes 1 values at most"),
    ],
)
def test_check_says_what_is_taken_at_once(
    longest: int, plan: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modes = {"confocal": {"depletion_power": 0}, "sted": {}}
    data = faulty.config(plan=plan, microscope=scope(focus={"longest": longest}, modes=modes))
    data["live"] = {"frames": 1, **STACK}
    channels = ["confocal", "sted"]
    data["timelapse"] = {"frames": 1, "interval_s": 0, "channels": channels, **STACK}
    config = faulty.write(tmp_path / "config.yaml", data)
    code, out, err = faulty.cli(capsys, "check", config)
    assert code == 0, err
    assert f"sequences {said}" in " ".join(out.split())


@pytest.mark.slow
def test_the_demo_microscope(tmp_path: Path) -> None:
    """Its drive takes sequences where a property of its says so."""
    for uses in ("Yes", "No"):
        folder = tmp_path / uses
        folder.mkdir()
        demo = {
            "cfg": "demo",
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 2},
            "properties": [
                ["Camera", "OnCameraCCDXSize", 64],
                ["Camera", "OnCameraCCDYSize", 64],
                ["Z", "UseSequences", uses],
            ],
            "sequences": True,
        }
        data = {"plan": "live", "live": {"frames": 1, **STACK}, "microscope": demo}
        config = RunConfig.model_validate(data)
        run = folder / "run"
        run.mkdir()
        result = Session(config, folder / "config.yaml", run).run()
        assert result.status == "completed", result.reason
        assert in_sequence(run) == [(0, PLANES) if uses == "Yes" else None] * PLANES
        assert replay(run).difference is None
        heights = [one.shot["focus_um"] for _, one in sorted(recorded(run).taken.items())]
        assert heights == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
