"""Leading a plan through what its ledger already holds.

Resuming and replaying are the same thing up to the tape's end: a plan is a function of its
frames and instructions, so that the stored ones must make it ask for the same shots and note the
same things again. Where it does not, the tape says so and nothing is exposed. Another machine's
arithmetic may give other last digits: the tape only keeps a list of these.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from numpy.typing import NDArray

from agent.plan import AnalysisError, Frame, Instruction, Late, Note, Rebuild, Rebuilt
from agent.record.images import checksum
from agent.record.raw import RawFrames
from agent.record.recording import (
    Recording,
    instructions_from_list,
    rebuild_as_dict,
    rebuilt_from_dict,
    shot_as_dict,
    shot_from_dict,
)
from devices.shot import Shot
from models.quality.score import Score


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a plan left its ledger.

    Parameters
    ----------
    where
        In words: `frame 7 of trial 3`, `note 4 (trial 3)`, …
    what
        What differs, in words.
    frame, note, listen, trial
        Number of the frame, from 0 as in the ledger, of the note, the listening and the trial,
        from 1; None where it is about none.
    key, now, was
        Path of the first value that differs, and the two values.
    """

    where: str
    what: str
    frame: int | None = None
    note: int | None = None
    listen: int | None = None
    trial: int | None = None
    key: str | None = None
    now: Any = None
    was: Any = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ReplayMismatch(RuntimeError):
    """The plan asks for or notes something else than its ledger says.

    Parameters
    ----------
    difference
        Where, and what.
    """

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def as_stored(data: Any) -> Any:
    """Plain data as it reads back from the ledger."""
    return json.loads(json.dumps(data))


_T = TypeVar("_T")
_NOTHING = object()
_ROUNDING = 1e-6
"""Largest relative difference of two floats that another machine's arithmetic may explain."""


def _differences(now: Any, was: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path and values of each difference; a NaN is no other than a NaN."""
    if isinstance(now, dict) and isinstance(was, dict):
        for key in [*now, *(key for key in was if key not in now)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(now.get(key, _NOTHING), was.get(key, _NOTHING), inner)
    elif isinstance(now, list) and isinstance(was, list) and len(now) == len(was):
        for at, (one, other) in enumerate(zip(now, was, strict=True)):
            yield from _differences(one, other, f"{path}[{at}]")
    elif now != was and (now == now or was == was):
        yield path, now, was


def _is_rounding(now: Any, was: Any) -> bool:
    """Whether two values are floats that agree but for their last digits."""
    both = isinstance(now, float) and isinstance(was, float)
    return both and math.isclose(now, was, rel_tol=_ROUNDING, abs_tol=1e-12)


def _compare(now: Any, was: Any, where: str, **numbers: int | None) -> list[Difference]:
    """Differences that are rounding; `ReplayMismatch` where a plan left its ledger."""
    rounded = []
    for key, new, old in _differences(now, was):
        rounding = _is_rounding(new, old)
        why = "rounding" if rounding else "was the run made by another version of stedfast?"
        what = f"the plan now says {key} = {_shown(new)}, the ledger has {_shown(old)}; {why}"
        new, old = (None if value is _NOTHING else value for value in (new, old))
        difference = Difference(where, what, **numbers, key=key, now=new, was=old)
        if not rounding:
            raise ReplayMismatch(difference)
        rounded.append(difference)
    return rounded


def _shown(value: Any) -> str:
    text = "nothing" if value is _NOTHING else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}…"


def _of_frame(index: int, shot: Shot) -> tuple[str, int | None]:
    """A frame in words, and the number of the trial it belongs to."""
    where = f"frame {index} of {shot.purpose}" if shot.purpose else f"frame {index}"
    return where, shot.trial


def _of_note(number: int, topic: str, trial: int | None) -> str:
    """A note in words."""
    if trial is None:
        return f"note {number} ({topic})"
    return f"note {number} ({topic}{'' if topic == 'trial' else ' of trial'} {trial})"


def failing(why: str) -> Callable[[], NoReturn]:
    """What a plan asks for a score or an uncertainty that there is not, and why."""

    def fail() -> NoReturn:
        raise AnalysisError(why)

    return fail


def _known(value: _T) -> Callable[[], _T]:
    return lambda: value


class Tape:
    """A recording that is being played to a plan.

    Parameters
    ----------
    recording
        What the ledger holds.
    images
        Where its pixels are.
    """

    def __init__(self, recording: Recording, images: RawFrames) -> None:
        self._taken = recording.taken
        self._last = max(recording.taken, default=-1)
        self._notes = deque(recording.notes)
        self._told = {
            told["listen"]: instructions_from_list(told["instructions"])
            for told in recording.told
            if told["instructions"]
        }
        self._late = {late["due"]: Late(late["by_s"], late["points"]) for late in recording.late}
        self._rebuilt = recording.rebuilt
        self._given_up, self._unfiltered = recording.given_up(), recording.unfiltered()
        self._images = images
        self.notes = 0
        """Notes that came out as they are in the ledger."""
        self.trials = 0
        """Trials that are done, by these notes."""
        self.rounded: list[Difference] = []
        """Where the plan came out as in the ledger but for the last digits of a number."""

    def holds_note(self, note: Note) -> bool:
        """Whether this note is in the ledger already.

        Raises
        ------
        ReplayMismatch
            The ledger has another one in its place.
        """
        if not self._notes:
            return False
        old = self._notes.popleft()
        new = as_stored({"topic": note.topic, "data": dict(note.data)})
        trial = self.trials + 1 if note.topic == "trial" else new["data"].get("trial")
        number = self.notes + 1
        where = _of_note(number, note.topic, trial)
        about = {"note": number, "trial": trial}
        _compare({"topic": new["topic"]}, {"topic": old["topic"]}, where, **about)
        self.rounded += _compare(new["data"], old["data"], where, **about)
        self.notes = number
        self.trials += note.topic == "trial"
        return True

    def told(self, number: int, frames: int) -> tuple[Instruction, ...] | None:
        """What answered a `Listen`; None where the tape is played out and does not know.

        Parameters
        ----------
        number
            Of the `Listen`, from 0.
        frames
            How many frames the plan has had.
        """
        if number in self._told:
            return self._told.pop(number)
        # An empty answer is not recorded. It was one, if the plan continued from here.
        return None if self._played_out(frames) else ()

    def late(self, number: int, frames: int) -> Late | None:
        """How late a time point was; None where the tape is played out and does not know.

        Parameters
        ----------
        number
            Of the question, from 0.
        frames
            How many frames the plan has had.
        """
        if number in self._late:
            return self._late.pop(number)
        # A time point that was in time is not recorded.
        return None if self._played_out(frames) else Late()

    def _played_out(self, frames: int) -> bool:
        left = self._notes or self._told or self._late
        return not left and frames > self._last

    def rebuilt(self, number: int, request: Rebuild) -> Rebuilt | None:
        """The result of a request to rebuild frames; None where the ledger does not know.

        Parameters
        ----------
        number
            Of the request, from 0.

        Raises
        ------
        ReplayMismatch
            The ledger has another request in its place.
        """
        old = self._rebuilt.get(number)
        if old is None:
            return None
        now, after = as_stored(rebuild_as_dict(request)), request.after[0]
        where = f"rebuilding before frame {after}"
        self.rounded += _compare(now, {key: old[key] for key in now}, where, frame=after)
        return rebuilt_from_dict(old)

    def check_played_out(self, frames: int) -> None:
        """Make sure that nothing is left of the tape after `frames` frames.

        Raises
        ------
        ReplayMismatch
            The ledger holds frames, notes or instructions that the plan did not come to.
        """
        if left := sorted(index for index in self._taken if index >= frames):
            what = f"is in the ledger, but the plan came no further than {frames} frames"
            where, trial = _of_frame(left[0], shot_from_dict(self._taken[left[0]].shot))
            raise ReplayMismatch(Difference(where, what, frame=left[0], trial=trial))
        if self._notes:
            topic, number = self._notes[0]["topic"], self.notes + 1
            trial = self.trials + 1 if topic == "trial" else self._notes[0]["data"].get("trial")
            what = "is in the ledger, but the plan does not note it"
            raise ReplayMismatch(
                Difference(_of_note(number, topic, trial), what, note=number, trial=trial)
            )
        if self._told:
            number = min(self._told)
            told = ", ".join(instruction.key for instruction in self._told[number])
            what = f"the ledger has an answer ({told}), but the plan does not listen again"
            raise ReplayMismatch(Difference(f"listening {number + 1}", what, listen=number + 1))
        if self._late:
            what = "the ledger has it late, but the plan does not come to it"
            raise ReplayMismatch(Difference(f"time point {min(self._late) + 1}", what))

    def frame(
        self,
        index: int,
        shot: Shot,
        rescore: Callable[[int, Shot, NDArray[Any], float | None], Callable[[], Score]],
        refilter: Callable[[int, Shot], Callable[[], float]],
    ) -> Frame | None:
        """The stored frame that answers a shot; None at the end of the tape.

        Parameters
        ----------
        index
            Number of the frame.
        shot
            What the plan asks for.
        rescore, refilter
            Make, from (index, shot, pixels) and from (index, shot), what waits for the score and
            the uncertainty of a frame of which the ledger has neither those nor why they failed:
            a plan that was told so has decided on it, and is told the same again.

        Raises
        ------
        ReplayMismatch
            The plan asks for something else, or the pixels have changed.
        """
        taken = self._taken.get(index)
        if taken is None:
            return None
        asked = as_stored(shot_as_dict(shot))
        where, trial = _of_frame(index, shot)
        # What earlier versions did not write was not another thing then.
        asked = {key: asked[key] for key in asked if key in taken.shot}
        was_asked = {key: taken.shot[key] for key in asked}
        self.rounded += _compare(asked, was_asked, where, frame=index, trial=trial)
        pixels = self._images.read(index)
        now, was = checksum(pixels), taken.frame["crc32"]
        if now != was:
            what = "the pixels on disk are not those of the ledger"
            raise ReplayMismatch(
                Difference(where, what, frame=index, trial=trial, key="crc32", now=now, was=was)
            )
        pixels.flags.writeable = False
        stored, filtered = taken.score, taken.filtered
        if stored is not None:
            score = _known(stored)
        elif (why := self._given_up.get(index)) is not None:
            score = failing(why)
        else:
            score = rescore(index, shot, pixels, taken.frame.get("pixel_size_nm"))
        if filtered is not None:
            unsure = _known(float(filtered["uncertainty"]))
        elif (why := self._unfiltered.get(index)) is not None:
            unsure = failing(why)
        else:
            unsure = refilter(index, shot)
        return Frame(
            index,
            shot,
            taken.shot["settings"],
            pixels,
            taken.frame["time_s"],
            score,
            unsure,
            taken.frame.get("dose_J"),
            taken.frame.get("pixel_size_nm"),
        )
