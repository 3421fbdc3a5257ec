"""A watchdog of the hardware is fed as long as the session is alive, and is at rest at its end."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.run.feeding import Feeder
from devices.errors import DeviceFault
from devices.watchdog import WatchdogConfig
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import Work, assert_left_well, recorded, run_session, until

EVERY_S = 0.02
DOG = {"device": "Controller", "property": "Alive", "values": [1, 2], "every_s": EVERY_S, "rest": 0}


def scope(
    dog: dict[str, Any] = DOG, camera: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Keys of a microscope with a controller, and its watchdog."""
    devices = faulty.config(camera=camera or {})["microscope"]["python_devices"]
    devices["Controller"] = faulty.device("Controller", **options)
    return {"python_devices": devices, "watchdog": dog}


def controller() -> Any:
    return faulty.made["Controller"][-1]


def test_it_is_fed_while_frames_are_taken_and_put_at_rest_in_the_dark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {"options": {"frame_s": 0.5, "slow_from": 2, "slow_to": 3}}
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 5},
        microscope=scope(camera=slow, trips_s=60),
    )
    assert result.status == "completed", result.reason
    times, values = zip(*controller().fed, strict=True)
    shutter, laser = faulty.made["Shutter"][-1], faulty.made["Laser"][-1]
    opened = [at for at, is_open in shutter.given if is_open]
    assert times[0] < opened[0], "it is fed before the first light"
    assert len([at for at in times if opened[2] < at < opened[3]]) >= 5, "beside a slow frame"
    assert [one for one, two in pairwise(values[:-1]) if one == two] == [], "values take turns"
    assert values[-1] == 0 and times[-1] > max(shutter.given[-1][0], laser.given[-1][0])
    assert_left_well(capsys, run, "completed", acquired=5)


def test_it_is_fed_in_a_pause(tmp_path: Path) -> None:
    work = Work(tmp_path, live={"frames": 500}, microscope=scope(trips_s=60)).start()
    until(lambda: work.progress.frames > 2)
    work.tell(pause=True)
    until(lambda: work.progress.paused)
    fed = len(controller().fed)
    until(lambda: len(controller().fed) > fed + 5)
    work.tell(stop=True)
    assert work.ended().status == "stopped"
    assert controller().fed[-1][1] == 0


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_hangs_feeds_it_no_more(tmp_path: Path) -> None:
    dog = {key: value for key, value in DOG.items() if key != "rest"}
    result, run = run_session(
        tmp_path,
        session={},
        microscope=scope(dog, faulty.device("HangingCamera", fail_at=3)) | {"timeout_s": 0.5},
    )
    assert result.status == "failed" and "hangs" in result.reason
    fed = len(controller().fed)
    until(lambda: controller().tripped)
    assert len(controller().fed) == fed
    faulty.HangingCamera.released.set()
    assert len(recorded(run).taken) == 3


def test_a_watchdog_that_cannot_be_written_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(
        tmp_path, session={}, live={"frames": 5000}, microscope=scope(fails_at=4)
    )
    assert result.status == "failed"
    assert "watchdog Controller.Alive cannot be written: the controller's cable" in result.reason
    assert_left_well(capsys, run, "failed")
    assert any("is not at rest" in fault["what"] for fault in recorded(run).faults)


@pytest.mark.usefixtures("impatient")
def test_a_watchdog_that_hangs_prevents_all_light(tmp_path: Path) -> None:
    result, _ = run_session(tmp_path, session={}, microscope=scope(hangs_at=0) | {"timeout_s": 0.2})
    faulty.Controller.released.set()
    assert result.status == "failed" and "hangs: not written in 0.2 s" in result.reason
    assert not any(is_open for _, is_open in faulty.made["Shutter"][-1].given)


@pytest.mark.parametrize(
    ("dog", "more", "words"),
    [
        ({"device": "Controler"}, {}, ["`microscope.watchdog.device`", "Controler", "Controller"]),
        ({"property": "Alife"}, {}, ["`microscope.watchdog.property`", "Alife", "Alive"]),
        ({"property": "Serial"}, {}, ["`microscope.watchdog.property`", "read-only"]),
        ({"values": [1, 12]}, {}, ["`microscope.watchdog.values`", "12", "0 … 9"]),
        ({"rest": 10}, {}, ["`microscope.watchdog.values`", "10", "0 … 9"]),
        ({"values": []}, {}, ["`microscope.watchdog.values`"]),
        ({"every_s": 0}, {}, ["`microscope.watchdog.every_s`", "greater than 0"]),
        (
            {},
            {"properties": [["Controller", "Alive", 1]]},
            ["`microscope.properties.0`", "is the watchdog, which alone writes it"],
        ),
        (
            {"device": "Excitation", "property": "Power_mW"},
            {},
            ["`microscope.watchdog`", "is the setting 'excitation_power'"],
        ),
    ],
)
def test_what_cannot_be_fed_is_refused_in_a_line(
    dog: dict[str, Any],
    more: dict[str, Any],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = faulty.write(tmp_path / "c.yaml", faulty.config(microscope=scope({**DOG, **dog}) | more))
    code, _, err = cli(capsys, "check", file)
    assert code == 2 and "Traceback" not in err
    assert all(word in err.replace("\n", " ") for word in words), err


def test_check_says_what_is_fed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dog = {**DOG, "values": 1}
    file = faulty.write(tmp_path / "c.yaml", faulty.config(microscope=scope(dog)))
    code, out, _ = cli(capsys, "check", file)
    assert code == 0 and "Controller.Alive = 1, every 0.02 s" in out
    assert controller().fed == []


class Bowl:
    """A watchdog that counts."""

    config = WatchdogConfig(device="a", property="b", values=(1,), every_s=0.01)

    def __init__(self) -> None:
        self.fed = 0
        self.full = threading.Event()
        self.full.set()

    def feed(self) -> None:
        assert self.full.wait(40)
        self.fed += 1

    def rest(self) -> None: ...


def test_nothing_is_fed_without_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.run.feeding._ALIVE_S", 0.1)
    bowl, said = Bowl(), list[str]()
    feeder = Feeder(bowl, said.append)  # type: ignore[arg-type]
    feeder.start(40)
    until(lambda: time.monotonic() - feeder._alive > 0.2)
    fed = bowl.fed
    until(lambda: time.monotonic() - feeder._alive > 0.4)
    assert bowl.fed == fed
    feeder.pulse()
    until(lambda: said)
    assert "was not written for" in said[0]
    feeder.end()


def test_a_watchdog_that_is_fed_late_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bowl, said = Bowl(), list[str]()
    feeder = Feeder(bowl, said.append)  # type: ignore[arg-type]
    feeder.start(40)
    for _ in range(2):
        bowl.full.clear()
        fed = bowl.fed
        time.sleep(0.05)
        bowl.full.set()
        until(lambda fed=fed: bowl.fed > fed + 1)
        feeder.pulse()
    feeder.end()
    assert len(said) == 1 and "may be dark" in said[0]


def test_a_watchdog_that_never_answers_is_named() -> None:
    bowl = Bowl()
    bowl.full.clear()
    feeder = Feeder(bowl, print)  # type: ignore[arg-type]
    with pytest.raises(DeviceFault, match=r"a\.b hangs"):
        feeder.start(0.05)
    bowl.full.set()
