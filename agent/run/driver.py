"""Leading a plan: each of its steps is answered, by its tape as long as that plays.

A session and a replay differ only in what answers behind the tape's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from agent.plan import (
    Answer,
    Block,
    Due,
    Instruction,
    Late,
    Listen,
    Note,
    Plan,
    Rebuild,
    Rebuilt,
    Step,
)
from agent.run.tape import Tape
from devices.autofocus import Autofocus
from devices.shot import Shot
from models.quality.score import Score


class Beyond(Protocol):
    """What answers a plan where its tape does not; each may end the leading by an exception."""

    def note(self, note: Note, *, stored: bool) -> None:
        """Take in a note, which the tape has or not."""
        ...

    def listen(self, number: int) -> tuple[Instruction, ...]:
        """What a person has told the run by its listening `number`, from 0."""
        ...

    def due(self, number: int, due: Due) -> Late:
        """How late a time point is; `number` counts these questions, from 0."""
        ...

    def rebuild(self, number: int, request: Rebuild) -> Rebuilt | None:
        """The result of a request, from 0; None where the plan does not wait for it."""
        ...

    def scored(
        self, index: int, shot: Shot, pixels: NDArray[Any], pixel_size_nm: float | None = None
    ) -> Callable[[], Score]:
        """What waits for the score of a stored frame that has none."""
        ...

    def refiltered(self, index: int, shot: Shot) -> Callable[[], float]:
        """What waits for the uncertainty of a stored frame that has none."""
        ...

    def played(self) -> None:
        """A stored frame was played to the plan."""
        ...


class Leader:
    """A plan that is being led.

    Attributes
    ----------
    frames
        Frames that the plan has had, or has asked for and will have next.
    told
        Instructions that it has had.
    searches
        Searches for the focus that it has asked for.
    ahead
        Shots that it said it asks for after the last one, whatever comes of that.
    """

    def __init__(self, plan: Plan, tape: Tape, beyond: Beyond) -> None:
        self._plan, self.tape, self._beyond = plan, tape, beyond
        self.frames = self.told = self.searches = 0
        self._listened = self._asked = self._rebuilt = 0
        self.ahead: deque[Shot] = deque()

    @property
    def listened(self) -> int:
        """How often the plan has listened."""
        return self._listened

    def next(self, answer: Answer) -> Shot | Autofocus:
        """The next step for the microscope that is not on the tape.

        Parameters
        ----------
        answer
            What came of the last one; None at first.

        Raises
        ------
        StopIteration
            The plan has come to its end.
        ReplayMismatch
            The plan does not follow its tape.
        """
        while True:
            step = self._step(answer)
            answer = None
            if isinstance(step, Block):
                self.ahead.extend(step.shots)
            elif isinstance(step, Note):
                self._beyond.note(step, stored=self.tape.holds_note(step))
            elif isinstance(step, Listen):
                answer = self._listen()
            elif isinstance(step, Due):
                answer = self._due(step)
            elif isinstance(step, Autofocus):
                answer = self.tape.focused(self.searches, step)
                self.searches += 1
                if answer is None:
                    return step
            elif isinstance(step, Rebuild):
                answer = self._rebuild(step)
            else:
                beyond = self._beyond
                answer = self.tape.frame(self.frames, step, beyond.scored, beyond.refiltered)
                if answer is None:
                    return step
                self.frames += self.tape.at_once(self.frames)
                beyond.played()

    def _step(self, answer: Answer) -> Step:
        """The plan's next step; one that its block does not have ends the block."""
        step = self._plan.send(answer)
        if self.ahead and not isinstance(step, Note) and step != self.ahead.popleft():
            self.ahead.clear()
        return step

    def _listen(self) -> tuple[Instruction, ...]:
        number = self._listened
        self._listened += 1
        told = self.tape.told(number, self.frames)
        if told is None:
            told = self._beyond.listen(number)
        self.told += len(told)
        return told

    def _due(self, due: Due) -> Late:
        number = self._asked
        self._asked += 1
        late = self.tape.late(number, self.frames)
        return self._beyond.due(number, due) if late is None else late

    def _rebuild(self, request: Rebuild) -> Rebuilt | None:
        number = self._rebuilt
        self._rebuilt += 1
        found = self.tape.rebuilt(number, request)
        if found is None:
            found = self._beyond.rebuild(number, request)
        return found if request.wait else None
