"""Leading a plan through what its ledger already holds.

Resuming and replaying are the same thing up to the tape's end: a plan is a function of its
frames, so that the stored frames must make it ask for the same shots and note the same things
again. Where it does not, the tape says so and nothing is exposed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from agent.images import ImageStore, checksum
from agent.plan import Frame, Note
from agent.recording import Recording, shot_as_dict
from devices.shot import Shot
from models.quality.score import Score


class ReplayMismatch(RuntimeError):
    """The plan asks for or notes something else than its ledger says."""


def as_stored(data: Any) -> Any:
    """Plain data as it reads back from the ledger."""
    return json.loads(json.dumps(data))


def _difference(what: str, new: dict[str, Any], old: dict[str, Any]) -> str:
    """Say in one line where a plan left its ledger."""
    key = next((key for key in new if new[key] != old.get(key)), "")
    now, was = new.get(key), old.get(key)
    while isinstance(now, dict) and isinstance(was, dict):
        inner = next((k for k in now if now[k] != was.get(k)), None)
        if inner is None:
            break
        key, now, was = f"{key}.{inner}", now[inner], was.get(inner)
    return (
        f"{what}: the plan now says {key} = {str(now)[:60]}, the ledger has {str(was)[:60]}; "
        "was the run made by another version of stedfast?"
    )


class Tape:
    """A recording that is being played to a plan.

    Parameters
    ----------
    recording
        What the ledger holds.
    images
        Where its pixels are.
    """

    def __init__(self, recording: Recording, images: ImageStore) -> None:
        self._taken = recording.taken
        self._notes = list(recording.notes)
        self._images = images

    def holds_note(self, note: Note) -> bool:
        """Whether this note is in the ledger already.

        Raises
        ------
        ReplayMismatch
            The ledger has another one in its place.
        """
        old = self._notes.pop(0) if self._notes else None
        new = as_stored({"topic": note.topic, "data": dict(note.data)})
        if old is not None and old != new:
            raise ReplayMismatch(_difference(f"note {new['topic']!r}", new, old))
        return old is not None

    def check_played_out(self, frames: int) -> None:
        """Make sure that nothing is left of the tape after `frames` frames.

        Raises
        ------
        ReplayMismatch
            The ledger holds frames or notes that the plan did not come to.
        """
        if left := sorted(index for index in self._taken if index >= frames):
            raise ReplayMismatch(
                f"frame {left[0]}: is in the ledger, but the plan came no further than {frames}"
            )
        if self._notes:
            topic = self._notes[0]["topic"]
            raise ReplayMismatch(f"note {topic!r}: is in the ledger, but the plan does not note it")

    def frame(
        self,
        index: int,
        shot: Shot,
        rescore: Callable[[int, Shot, NDArray[Any]], Callable[[], Score]],
    ) -> Frame | None:
        """The stored frame that answers a shot; None at the end of the tape.

        Parameters
        ----------
        index
            Number of the frame.
        shot
            What the plan asks for.
        rescore
            Makes the score of a frame whose ledger has none, from (index, shot, pixels).

        Raises
        ------
        ReplayMismatch
            The plan asks for something else, or the pixels have changed.
        """
        taken = self._taken.get(index)
        if taken is None:
            return None
        asked = as_stored(shot_as_dict(shot))
        was = {key: taken.shot[key] for key in asked}
        if asked != was:
            raise ReplayMismatch(_difference(f"frame {index}", asked, was))
        pixels = self._images.read(index)
        if checksum(pixels) != taken.frame["crc32"]:
            raise ReplayMismatch(f"frame {index}: the pixels on disk are not those of the ledger")
        pixels.flags.writeable = False
        stored = taken.score
        score = rescore(index, shot, pixels) if stored is None else lambda: stored
        return Frame(index, shot, taken.shot["settings"], pixels, taken.frame["time_s"], score)
