"""How a refusal reads: as in the devices room, which this one may not import."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def refused(value: object, known: Iterable[str]) -> str:
    """What was found, what is accepted, and which of it is meant; the key goes in front.

    Examples
    --------
    >>> refused("flwo", ["flow", "dain"])
    "found 'flwo'; accepted: flow, dain; did you mean 'flow'?"
    """
    known = list(known)
    near = get_close_matches(str(value), known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"found {value!r:.60}; accepted: {', '.join(known)}{meant}"
