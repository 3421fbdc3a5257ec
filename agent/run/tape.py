"""Leading a plan through what its ledger already holds.

Resuming and replaying are the same thing up to the tape's end: a plan is a function of its
frames and instructions, so that the stored ones must make it ask for the same shots and note the
same things again. Where it does not, the tape says so and nothing is exposed. Another machine's
arithmetic may give other last digits: the tape only keeps a list of these.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from numpy.typing import NDArray

from agent.plan import (
    AnalysisError,
    Frame,
    Instruction,
    Late,
    Note,
    Rebuild,
    Rebuilt,
)
from agent.record.images import checksum
from agent.record.raw import RawFrames
from agent.record.recording import (
    Recording,
    Taken,
    autofocus_as_dict,
    focused_from_dict,
    instructions_from_list,
    rebuild_as_dict,
    rebuilt_from_dict,
    shot_as_dict,
    shot_from_dict,
)
from agent.run.differences import Difference, ReplayMismatch, as_stored, compare, of_frame, of_note
from devices.autofocus import Autofocus, Focused
from devices.shot import Shot
from models.quality.score import Score

_T = TypeVar("_T")


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
        self._rebuilt, self._focused = recording.rebuilt, dict(recording.focused)
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
        where = of_note(number, note.topic, trial)
        about = {"note": number, "trial": trial}
        compare({"topic": new["topic"]}, {"topic": old["topic"]}, where, **about)
        self.rounded += compare(new["data"], old["data"], where, **about)
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

    def focused(self, number: int, search: Autofocus) -> Focused | None:
        """What the autofocus device found; None where the ledger does not know.

        Parameters
        ----------
        number
            Of the search, from 0.

        Raises
        ------
        ReplayMismatch
            The ledger has another search in its place.
        """
        old = self._focused.pop(number, None)
        if old is None:
            return None
        now = as_stored(autofocus_as_dict(search))
        where = f"autofocus {number + 1}"
        self.rounded += compare(now, {key: old.get(key) for key in now}, where)
        return focused_from_dict(old)

    def _played_out(self, frames: int) -> bool:
        left = self._notes or self._told or self._late or self._focused
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
        self.rounded += compare(now, {key: old[key] for key in now}, where, frame=after)
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
            where, trial = of_frame(left[0], shot_from_dict(self._taken[left[0]].shot))
            raise ReplayMismatch(Difference(where, what, frame=left[0], trial=trial))
        if self._notes:
            topic, number = self._notes[0]["topic"], self.notes + 1
            trial = self.trials + 1 if topic == "trial" else self._notes[0]["data"].get("trial")
            what = "is in the ledger, but the plan does not note it"
            raise ReplayMismatch(
                Difference(of_note(number, topic, trial), what, note=number, trial=trial)
            )
        if self._told:
            number = min(self._told)
            told = ", ".join(instruction.key for instruction in self._told[number])
            what = f"the ledger has an answer ({told}), but the plan does not listen again"
            raise ReplayMismatch(Difference(f"listening {number + 1}", what, listen=number + 1))
        if self._focused:
            what = "is in the ledger, but the plan does not look for the focus again"
            raise ReplayMismatch(Difference(f"autofocus {min(self._focused) + 1}", what))
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
            Number of the frame; of the first one where the camera gave several at once, of which
            one answers.
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
        where, trial = of_frame(index, shot)
        # What earlier versions did not write was not another thing then.
        asked = {key: asked[key] for key in asked if key in taken.shot}
        if "roi" in taken.shot:
            asked.setdefault("roi", None)
        was_asked = {key: taken.shot[key] for key in asked}
        self.rounded += compare(asked, was_asked, where, frame=index, trial=trial)
        dose_j = taken.frame.get("dose_J")
        index, taken = self._seen_of(index, taken, where)
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
            dose_j,
            taken.frame.get("pixel_size_nm"),
        )

    def at_once(self, index: int) -> int:
        """How many frames the camera gave together with a stored one, itself counted."""
        taken = self._taken.get(index)
        return 1 if taken is None or "camera" not in taken.shot else int(taken.shot["camera"]["of"])

    def _seen_of(self, first: int, taken: Taken, where: str) -> tuple[int, Taken]:
        """Number and row of the frame that the plan had of a shot.

        Raises
        ------
        ReplayMismatch
            The ledger does not have all frames of it.
        """
        if "camera" not in taken.shot:
            return first, taken
        together = [self._taken.get(first + camera) for camera in range(self.at_once(first))]
        seen = [
            (first + camera, one)
            for camera, one in enumerate(together)
            if one is not None and one.camera == camera and one.seen
        ]
        if len(seen) != 1 or None in together:
            what = "the ledger does not have the frames that the camera gave at once"
            raise ReplayMismatch(Difference(where, what, frame=first))
        return seen[0]
