"""`stedfast replay`: the same stored frames must give the same decisions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.images import ImageStore
from agent.plan import AnalysisError, Note
from agent.planning import build_plan
from agent.summary import read
from agent.tape import ReplayMismatch, Tape
from devices.shot import Shot
from models.quality.score import Score


class _EndOfTape(Exception):
    """The plan reads a score that the ledger does not have."""


def replay(folder: Path) -> tuple[int, int]:
    """Lead the run's plan through its stored frames, without any microscope.

    Returns
    -------
    tuple of int
        Frames and notes that came out as the ledger has them.

    Raises
    ------
    ConfigError
        `folder` is no run folder.
    ReplayMismatch
        The plan decides otherwise, or the pixels have changed.
    """
    config, recording = read(folder)
    images = ImageStore(folder, pixel_size_um=config.microscope.pixel_size_nm * 1e-3)
    tape = Tape(recording, images)
    plan = build_plan(config)
    frames = notes = 0
    answer = None

    given_up = recording.given_up()

    def unscored(index: int, shot: Shot, pixels: NDArray[Any]) -> Callable[[], Score]:
        def score() -> Score:
            if (why := given_up.get(index)) is not None:
                raise AnalysisError(why)
            raise _EndOfTape

        return score

    finished = False
    try:
        while True:
            step = plan.send(answer)
            answer = None
            if isinstance(step, Note):
                if not tape.holds_note(step):
                    break
                notes += 1
                continue
            answer = tape.frame(frames, step, unscored)
            if answer is None:
                break
            frames += 1
    except StopIteration:
        finished = True
    except (_EndOfTape, AnalysisError):
        pass  # the run ended while its plan waited for a score, or for want of one
    tape.check_played_out(frames)
    if recording.end is not None and recording.end["status"] == "completed" and not finished:
        raise ReplayMismatch(
            f"after frame {frames - 1} and note {notes}: the run was completed, "
            "but its ledger ends before its plan does"
        )
    return frames, notes
