"""Somebody is told of a run: once of each thing, and a run never waits for it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.bench.sink import Sink, sink
from agent.config import load
from agent.config.notify import NotifyConfig
from agent.config.reading import UserError
from agent.run import open_microscope
from agent.workers.notify import Notifier
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import Work, recorded, run_session, until


def told(got: Sink, **more: Any) -> dict[str, Any]:
    return {"to": [got.address], **more}


@pytest.mark.slow
def test_a_run_tells_of_its_faults_once_and_of_its_end(tmp_path: Path) -> None:
    with sink() as got:
        result, _ = run_session(
            tmp_path,
            session={},
            live={"frames": 6},
            camera=faulty.device("FlakyCamera", fail_at=3, times=2),
            faults={"retries": 3},
            notify=told(got),
        )
    assert result.status == "completed", result.reason
    (fault, said), (end, why) = got.messages
    assert (fault, end) == ("run: fault, retry", "run: completed")
    assert "camera" in said and why == result.reason


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    with sink() as got:
        parts: dict[str, Any] = {"live": {"frames": 2}, "notify": told(got, about=["fault"])}
        result, _ = run_session(tmp_path, session={}, **parts)
    assert result.status == "completed" and got.messages == []


def test_nobody_listens(tmp_path: Path) -> None:
    """The run is as it would be, and its ledger says once that nobody was told."""
    with sink() as gone:
        pass
    notify = told(gone, heartbeat=f"http://127.0.0.1:{gone.port}/", heartbeat_s=1)
    result, run = run_session(tmp_path, session={}, live={"frames": 4}, notify=notify)
    assert (result.status, result.safe) == ("completed", True), result.reason
    ended = recorded(run)
    assert len(ended.taken) == 4 and ended.end is not None
    (fault,) = ended.faults
    assert fault["part"] == "notify" and "did not leave" in fault["what"]


def test_a_service_that_never_answers_holds_up_no_frame() -> None:
    stuck = threading.Event()
    notifier = Notifier(NotifyConfig(), "run", lambda *_: bool(stuck.wait()), lambda why: None)
    for _ in range(1000):
        notifier.hear("fault", {"what": "a fault", "policy": "go on"})
    notifier.hear("end", {"status": "completed", "reason": "finished"})
    notifier.close(lambda: False)  # a second Ctrl-C
    stuck.set()


def test_a_monitor_hears_that_it_lives_and_when_the_next_frame_is_due(tmp_path: Path) -> None:
    with sink() as got:
        beat = {"heartbeat": f"http://127.0.0.1:{got.port}/beat", "heartbeat_s": 1}
        work = Work(tmp_path, live={"frames": 3, "interval_s": 600}, notify=beat).start()
        until(lambda: got.beats > 0)

        def due() -> str | None:
            status = work.run / "status.json"
            return json.loads(status.read_bytes()).get("due") if status.exists() else None

        until(lambda: due() is not None)
        work.tell(stop=True)
        assert work.ended().status == "stopped"
    assert recorded(work.run).faults == [], "nobody was to get a message"


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ({"to": ["nonsense"]}, "`notify.to`: 'nonsense' is no address that Apprise knows"),
        ({"to": ["$STEDFAST_NO_SUCH"]}, "$STEDFAST_NO_SUCH: the environment has no variable"),
        ({"heartbeat": "$STEDFAST_NO_SUCH"}, "`notify.heartbeat`: $STEDFAST_NO_SUCH"),
        ({"heartbeat": "ftp://here"}, "`notify.heartbeat`: 'ftp://here'; accepted: an address of"),
        ({"heartbeat": "$HOME"}, "`notify.heartbeat`: $HOME: holds no address of http or https"),
        ({"about": ["lunch"]}, "notify.about"),
    ],
)
def test_what_is_wrong_is_said_before_any_light(
    notify: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "config.yaml", faulty.config(notify=notify))
    code, _, err = cli(capsys, "check", file)
    assert code == 2 and said in " ".join(err.split()), err


def test_a_password_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "nonsense://user:password")
    file = faulty.write(tmp_path / "config.yaml", faulty.config(notify={"to": ["$MY_SECRET"]}))
    with pytest.raises(UserError, match="MY_SECRET") as refused, open_microscope(load(file), file):
        pass
    assert "user:password" not in str(refused.value)
