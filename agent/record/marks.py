"""What the frames of a rebuilt movie are, in its image: measured, rebuilt or missing.

All marks of an image stand in one file, its attributes, which is rewritten at each tenth part more
of them, and at the end of a session; the latest are beside it in `marks.jsonl` until then, one a
line.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from agent.record.images import ImageStore

_LATEST = "marks.jsonl"
_MORE = 1.1
Key = tuple[int, ...]
"""Field, time point, channel and plane; the last two are 0 where there is one of each."""


class MarkedImage(ImageStore):
    """An image whose frames are marked."""

    _marks: dict[Key, dict[str, Any]] | None = None
    _settled = 0
    """How many marks the image's attributes have."""
    _left_over = False
    """Whether a session that was killed left marks, whose last line may be half a line."""
    about: Mapping[str, Any] = {}
    """Said beside the marks."""

    def mark(self, marks: Iterable[Mapping[str, Any]]) -> None:
        """Mark frames as measured or rebuilt; the last mark of a frame counts."""
        known = self._known()
        if self._left_over:
            self.settle()
        new = [dict(mark) for mark in marks if known.get(_key(mark)) != mark]
        known.update((_key(mark), mark) for mark in new)
        if new and self._is_there():
            lines = "".join(f"{json.dumps(mark)}\n" for mark in new)
            with (self.path / _LATEST).open("a", encoding="utf-8") as file:
                file.write(lines)
        if new and len(known) >= _MORE * self._settled:
            self.settle()

    def settle(self) -> None:
        """Write all marks to the attributes of the image."""
        known, latest = self._known(), self.path / _LATEST
        if not self._is_there() or (len(known) == self._settled and not latest.exists()):
            return
        frames = [known[key] for key in sorted(known)]
        self.say({**self.about, "frames": frames})
        self._settled, self._left_over = len(known), False
        latest.unlink(missing_ok=True)

    def scale_time_by(self, times_s: Sequence[float]) -> None:
        """Say how long it is from one time point to the next, as it was measured.

        It is the median over neighbouring measured frames of a field: a run may be late, or skip a
        time point, and its plan says only how long it should be.

        Parameters
        ----------
        times_s
            When each raw frame was taken (s), by its number.
        """
        taken: dict[tuple[int, ...], list[tuple[int, float]]] = defaultdict(list)
        for mark in self.marks():
            if mark.get("frame") is not None and mark["frame"] < len(times_s):
                taken[_series(mark)].append((mark["point"], times_s[mark["frame"]]))
        steps = [
            (late - early) / (end - start)
            for found in taken.values()
            for (start, early), (end, late) in pairwise(sorted(found))
        ]
        if steps and (between := median(steps)) > 0:
            self.scale_time(between)

    def marks(self) -> list[dict[str, Any]]:
        """The last mark of each frame."""
        known = self._known()
        return [known[key] for key in sorted(known)]

    def _known(self) -> dict[Key, dict[str, Any]]:
        """Marks by field and time point; reading them writes nothing."""
        if self._marks is None:
            self._marks = {}
            if self._is_there():
                said = self.said().get("frames", [])
                self._marks.update((_key(mark), mark) for mark in said)
                self._settled = len(self._marks)
                latest = self.path / _LATEST
                lines = latest.read_text(encoding="utf-8") if latest.exists() else ""
                for line in lines.splitlines(keepends=True):
                    if line.endswith("\n"):
                        mark = json.loads(line)
                        self._marks[_key(mark)] = mark
                self._left_over = bool(lines)
        return self._marks


def _series(mark: Mapping[str, Any]) -> tuple[int, ...]:
    return mark["field"], mark.get("channel", 0), mark.get("plane", 0)


def _key(mark: Mapping[str, Any]) -> Key:
    field, *place = _series(mark)
    return field, mark["point"], *place
