"""`stedfast replay`: the same stored frames must give the same decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import (
    AnalysisError,
    Due,
    Instruction,
    Late,
    Note,
    Plan,
    Rebuild,
    Rebuilt,
)
from agent.plans.build import build_plan
from agent.record.load import read
from agent.record.raw import RawFrames
from agent.record.recording import Recording
from agent.run.differences import Difference, ReplayMismatch
from agent.run.driver import Leader
from agent.run.origins import DECIDE, changed_code, code_of
from agent.run.tape import Tape, failing
from agent.run.trust import read_trusted
from agent.workers.filter import not_filtered
from devices.shot import Shot
from models.quality.score import Score

_FEW = 10
"""Rounded values that are listed at most."""


class _EndOfTape(Exception):
    """The plan reads a score, an uncertainty or an audit that the ledger does not have."""


def _over() -> NoReturn:
    raise _EndOfTape


@dataclass(frozen=True, slots=True)
class Replayed:
    """Result of a replay.

    Parameters
    ----------
    frames, notes, told
        Frames that the plan asked for, decisions that it took and instructions that it had, up to
        the difference if there is one.
    difference
        Where the plan left its ledger; None where it did not.
    rounded
        Where numbers agree but for their last digits, as between two machines; no difference.
    """

    frames: int
    notes: int
    told: int
    difference: Difference | None
    rounded: tuple[Difference, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; of rounded numbers, the first few and how many."""
        few = [asdict(one) for one in self.rounded[:_FEW]]
        of = {"values": len(self.rounded), "first": few}
        return {**asdict(replace(self, rounded=())), "rounded": of}

    def rounding(self) -> str:
        """A line about rounded numbers; empty where there are none."""
        if not self.rounded:
            return ""
        many = f"{len(self.rounded)} numbers are" if len(self.rounded) > 1 else "a number is"
        one = self.rounded[0]
        return (
            f"{many} other than in the ledger by rounding only, first {one.key} of {one.where} "
            f"({one.now!r}, not {one.was!r}): another machine, or another number of threads"
        )


def replay(
    folder: Path, make_plan: Callable[[RunConfig], Plan] = build_plan, *, trust: bool = False
) -> Replayed:
    """Lead the run's plan through its stored frames, without any microscope.

    Parameters
    ----------
    folder
        The run's.
    make_plan
        Makes the plan of a run that had one of its own.
    trust
        Load a plan that the run's config names, though the run was not begun here.

    Raises
    ------
    UserError
        `folder` is no run folder, or its plan is none of a config's, may not be loaded or is
        another version.
    """
    config, recording = read(folder)
    made_by = recording.sessions[-1].get("plan_of") if recording.sessions else None
    if made_by and make_plan is build_plan:
        raise UserError(
            f"{folder}: is a run of the plan {made_by}, which no config names; accepted: "
            "`agent.run.replay.replay(folder, make_plan)` with this plan, in Python"
        )
    if any(part in config.own for part in DECIDE) and make_plan is build_plan:
        config = read_trusted(folder, trust=trust)
        last = recording.sessions[-1] if recording.sessions else {}
        if changed := changed_code(last, code_of(config, None), DECIDE):
            raise UserError(f"{folder}: {'; '.join(changed)}; accepted: the version that decided")
    images = RawFrames(folder, pixel_size_um=config.microscope.pixel_size_nm * 1e-3)
    player = _Player(make_plan(config), recording, images, config.filtered_modes())
    try:
        player.play()
    except ReplayMismatch as mismatch:
        difference: Difference | None = mismatch.difference
    else:
        difference = None
    leader, tape = player.leader, player.tape
    return Replayed(leader.frames, tape.notes, leader.told, difference, tuple(tape.rounded))


class _Player:
    """Plays a recording to its plan, and ends where the recording does."""

    def __init__(
        self, plan: Plan, recording: Recording, images: RawFrames, filtered_modes: Collection[str]
    ) -> None:
        self.tape = Tape(recording, images)
        self.leader = Leader(plan, self.tape, self)
        self._recording = recording
        self._filtered_modes = filtered_modes

    def play(self) -> None:
        """Lead the plan to the tape's end; `ReplayMismatch` if it does not follow."""
        end = self._recording.end or {}
        finished = False
        try:
            self.leader.next(None)
        except StopIteration:
            finished = True
        except (_EndOfTape, AnalysisError):
            pass  # the run ended while its plan waited for a score, or for want of one
        except ReplayMismatch:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            if why != end.get("reason"):
                raise ReplayMismatch(
                    Difference(self._here(), f"the plan now fails: {why}", frame=self.leader.frames)
                ) from error
        self.tape.check_played_out(self.leader.frames)
        if end.get("status") == "completed" and not finished:
            what = "the run was completed, but its ledger ends before its plan does"
            raise ReplayMismatch(Difference(self._here(), what, frame=self.leader.frames))

    def _here(self) -> str:
        last = self.leader.frames - 1
        return f"after frame {last}, note {self.tape.notes}, trial {self.tape.trials}"

    # ------------------------------------------------------------------ behind the tape's end

    def note(self, note: Note, *, stored: bool) -> None:
        """A decision that is not recorded was not taken."""
        if not stored:
            raise _EndOfTape

    def listen(self, number: int) -> tuple[Instruction, ...]:
        """A run that is over is told nothing."""
        return ()

    def due(self, number: int, due: Due) -> Late:
        """Nothing was late of which nothing is recorded."""
        return Late()

    def rebuild(self, number: int, request: Rebuild) -> Rebuilt | None:
        """The run ended before anything came of a request that is not recorded."""
        if request.wait:
            raise _EndOfTape
        return None

    def scored(
        self, index: int, shot: Shot, pixels: NDArray[Any], pixel_size_nm: float | None = None
    ) -> Callable[[], Score]:
        """The run ended before the frame had a score."""
        return _over

    def refiltered(self, index: int, shot: Shot) -> Callable[[], float]:
        """Or before it was filtered, if it was to be."""
        if shot.mode not in self._filtered_modes:
            return failing(not_filtered(index, shot.mode))
        return _over

    def played(self) -> None:
        """The leader counts."""
