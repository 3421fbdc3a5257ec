"""Answers to a plan while its run is in progress, each recorded before the plan has it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from numpy.typing import NDArray

from agent.plan import Due, Instruction, Late, Note, Rebuild, Rebuilt
from agent.run.parts import RunParts
from agent.run.tape import failing
from agent.steering.inbox import PlanMessages
from agent.workers.filter import FilterTask, not_filtered
from devices.shot import Shot
from models.quality.score import Score


class Answers:
    """Control file, clock, scorer, filter and interpolator, as a plan sees them.

    Parameters
    ----------
    parts
        They answer; the journal has each answer before the plan.
    """

    def __init__(self, parts: RunParts) -> None:
        self._clock, self._journal = parts.clock, parts.journal
        self._analysis, self._filtering = parts.analysis, parts.filtering
        self._rebuilding, self._control = parts.rebuilding, parts.control

    def note(self, note: Note, *, stored: bool) -> None:
        """Record a decision, and pass it on to the parts that depend on it."""
        data = {"topic": note.topic, "data": dict(note.data)}
        if stored:
            self._journal.announce("note", data)
        else:
            self._journal.add("note", data)
        if self._control is not None:
            self._control.learn(data)
        if self._rebuilding is not None:
            self._rebuilding.learn(data)

    def played(self) -> None:
        """A stored frame was played to the plan."""
        self._journal.announce("frame", {})

    def due(self, number: int, due: Due) -> Late:
        """How late a time point is; one that is too late is left out, or shifts the schedule.

        Half an interval is not too late: the next time point is in time again, and the schedule
        stays where it is. A time point that is in time is not recorded.
        """
        self._clock.go()
        by_s = self._clock.schedule_s - due.at_s
        if by_s <= due.interval_s / 2:
            return Late()
        points = 0
        if due.skip:
            points = ceil(by_s / due.interval_s - 0.5)
            points = points if due.most is None else min(points, due.most)
        entry = {
            "due": number,
            "at_s": due.at_s,
            "by_s": by_s,
            "policy": "skip" if points else "shift",
            "points": points,
            "frames": points * due.frames,
        }
        self._journal.add("late", entry)
        if not points:
            self._clock.shift(by_s)
        return Late(by_s, points)

    def rebuild(self, number: int, request: Rebuild) -> Rebuilt | None:
        """Have frames rebuilt; waits if the plan does."""
        if self._rebuilding is None:
            return Rebuilt(failed="nobody rebuilds frames")
        task = self._rebuilding.submit(number, request)
        return self._rebuilding.answer(task) if request.wait else None

    def listen(self, number: int) -> tuple[Instruction, ...]:
        """New instructions in the control file.

        They are recorded with the number of the `Listen` that they answer, before the plan is
        answered, so that this `Listen` has the same answer in every later session. An empty answer
        leaves no entry: where the tape continues behind a `Listen` the answer is known to have
        been empty. Where the tape ends at one, the file is read although an earlier session may
        have had an empty answer here: nothing that followed from it was kept, so that nothing is
        contradicted, and instructions given meanwhile are applied at once.

        Refused lines are recorded first. After a kill in between, their refusal is recorded twice
        instead of never.
        """
        heard = self._control.hear() if self._control is not None else None
        if heard is None:
            return ()
        self._record_heard(heard, number)
        return heard.instructions

    def close_control(self, number: int) -> None:
        """Record that lines which came after the plan's end were not applied."""
        if self._control is not None:
            self._control.close()
            if (heard := self._control.hear()) is not None:
                self._record_heard(heard, number)

    def _record_heard(self, heard: PlanMessages, number: int) -> None:
        for why in heard.refused:
            self._journal.fault(why, "ignored")
        self._journal.add("told", {"listen": number, **heard.as_dict()})

    def scored(
        self, index: int, shot: Shot, pixels: NDArray[Any], pixel_size_nm: float | None = None
    ) -> Callable[[], Score]:
        """Hand a frame to the analysis; returns what waits for its score."""
        analysis = self._analysis
        if analysis is None or shot.mode not in analysis.modes:
            return failing(f"frame {index} ({shot.mode}) is not scored")
        future = analysis.submit(index, pixels, pixel_size_nm)
        return lambda: analysis.result(index, pixels, future, pixel_size_nm)

    def refiltered(self, index: int, shot: Shot) -> Callable[[], float]:
        """Of a stored frame: one that was passed over once is not filtered now, unless asked."""
        return self.filtered(index, shot, stored=True)

    def filtered(self, index: int, shot: Shot, *, stored: bool = False) -> Callable[[], float]:
        """Hand a frame to the filter; returns what waits for its uncertainty."""
        filtering = self._filtering
        if filtering is None or shot.mode not in filtering.modes:
            return failing(not_filtered(index, shot.mode))
        task = FilterTask(index) if stored and not filtering.all else filtering.submit(index)
        return lambda: filtering.uncertainty(task)
