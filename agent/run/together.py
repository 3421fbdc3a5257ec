"""Which frames of a run are taken together, as one hardware sequence."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from agent.plan import Answer, Block, Due, Late, Listen, Plan, Step
from agent.record.recording import SEQUENCE
from agent.run.parts import RunParts
from devices.autofocus import Autofocus
from devices.microscope import Microscope
from devices.sequences import MOST
from devices.shot import Shot

if TYPE_CHECKING:
    from pymmcore_plus.core._sequencing import SequencedEvent


class BrokenPromise(RuntimeError):
    """A plan does not ask for a frame that was taken because its `Block` has it."""


class Together:
    """Chooses them, among those between which the plan decides nothing.

    Parameters
    ----------
    microscope, parts
        Of the session.
    """

    def __init__(self, microscope: Microscope, parts: RunParts) -> None:
        self._microscope, self._journal = microscope, parts.journal
        faults = parts.recording.faults
        self._told_why = any(fault.get("part") == SEQUENCE for fault in faults)
        self._end = self._singly_until = 0

    def candidates(self, index: int, shot: Shot, ahead: Collection[Shot]) -> list[Shot]:
        """A shot and those after it, where they may be one sequence; else nothing.

        Parameters
        ----------
        index
            Number of its frame.
        shot
            The one that is asked for.
        ahead
            All that follow, whatever it shows.
        """
        begins = self._end <= index
        self._end = index + (1 + len(ahead)) * self._microscope.frames_a_shot
        wanted = self._microscope.config.sequences and ahead and index >= self._singly_until
        self._begins = begins
        return [shot, *islice(ahead, MOST - 1)] if wanted else []

    def singly(self) -> None:
        """Take what is left of this block one by one."""
        self._singly_until = self._end

    def event(self, shots: Iterable[Shot], index: int, elapsed_s: float) -> SequencedEvent | None:
        """The event of as many of the first shots as are one sequence; None if they are none.

        Why not even the first ones of a block are is told once in a run.

        Parameters
        ----------
        shots
            The candidates, on the clock of the sample.
        index
            Number of the first one's frame.
        elapsed_s
            See `Microscope.event`.
        """
        found = self._microscope.sequence(shots, index, elapsed_s=elapsed_s)
        if not isinstance(found, str):
            return found
        if self._begins and not self._told_why:
            self._told_why = True
            what = f"frames are taken one by one, not as a hardware sequence: {found}"
            self._journal.fault(what, "go on", index, part=SEQUENCE)
        return None


def foreseen(plan: Plan, microscope: Microscope) -> str:
    """How the first frames of a plan would be taken, in words.

    Parameters
    ----------
    plan
        A new one, which is closed.
    microscope
        With the focus where a run begins.
    """
    answer: Answer = None
    step: Step | None = None
    try:
        while not isinstance(step, Block | Shot | Autofocus):
            step = plan.send(answer)
            answer = () if isinstance(step, Listen) else Late() if isinstance(step, Due) else None
    except StopIteration:
        step = None
    finally:
        plan.close()
    if not isinstance(step, Block):
        return "none before a first frame has been looked at"
    found = microscope.sequence(step.shots, 0)
    if isinstance(found, str):
        return f"none: {found}"
    return f"{len(found.events)} frames at once, where the plan has {len(step.shots)} in a row"
