"""How what a plan did again differs from what a ledger has."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devices.shot import Shot

_NOTHING = object()


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


def compare(now: Any, was: Any, where: str, **numbers: int | None) -> list[Difference]:
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


def of_frame(index: int, shot: Shot) -> tuple[str, int | None]:
    """A frame in words, and the number of the trial it belongs to."""
    where = f"frame {index} of {shot.purpose}" if shot.purpose else f"frame {index}"
    return where, shot.trial


def of_note(number: int, topic: str, trial: int | None) -> str:
    """A note in words."""
    if trial is None:
        return f"note {number} ({topic})"
    return f"note {number} ({topic}{'' if topic == 'trial' else ' of trial'} {trial})"
