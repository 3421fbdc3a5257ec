"""How a refusal reads: one voice for all errors that a person can cause.

    FILE, line N: `key`: found VALUE; accepted: A, B; did you mean A?

The code that raises it says where, in front of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 60
"""Characters of a value in a message; chosen."""


def shortened(value: object, *, quoted: bool = True, longest: int = _LONGEST) -> str:
    """A value for a message, in no more characters than a line bears.

    Parameters
    ----------
    value
        Anything.
    quoted
        As Python writes it, so that a text is seen to be one.
    longest
        Most characters.
    """
    try:
        text = repr(value) if quoted else str(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = "a number of thousands of digits"
    return text if len(text) <= longest else f"{text[: longest - 3]}…"


def did_you_mean(wrong: object, known: Iterable[str], quote: str = "'") -> str:
    """`; did you mean 'sted'?`, or nothing where none is near.

    Parameters
    ----------
    wrong
        What was found.
    known
        What it may be.
    quote
        Stands on both sides: `'` for a value, a backtick for a key, nothing for a word of the
        command line.
    """
    near = get_close_matches(str(wrong), list(known), n=1)
    return f"; did you mean {quote}{near[0]}{quote}?" if near else ""


def refused(value: object, accepted: str | Iterable[str]) -> str:
    """`found 'stde'; accepted: sted, confocal; did you mean 'sted'?`.

    Parameters
    ----------
    value
        What was found; None reads `nothing`.
    accepted
        In words, or one by one: then the nearest is named.
    """
    found = "nothing" if value is None else shortened(value)
    if isinstance(accepted, str):
        return f"found {found}; accepted: {accepted}"
    known = list(accepted)
    return f"found {found}; accepted: {_listed(known)}{did_you_mean(value, known)}"


def unknown(name: object, known: Iterable[str], kind: str = "key") -> str:
    """`unknown key; accepted: frames, mode; did you mean `frames`?`; the key itself goes in front.

    Parameters
    ----------
    name
        What was found.
    known
        What there is.
    kind
        What it is the name of.
    """
    known = list(known)
    return f"unknown {kind}; accepted: {_listed(known)}{did_you_mean(name, known, '`')}"


def _listed(known: list[str]) -> str:
    return ", ".join(known) or "none"
