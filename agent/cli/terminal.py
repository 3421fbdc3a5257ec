"""Consoles for lines that people read; names are printed as they are on any output.

Device labels, file names and mode names are a person's, so that brackets in them are no markup and
`:x:` is no picture. A stream with another encoding than UTF-8, as a file or pipe on Windows has,
gets the nearest thing that it can hold.
"""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import suppress
from io import TextIOWrapper

from rich.console import Console

_SUBSTITUTES = {
    "−": "-",
    "–": "-",
    "×": "x",
    "·": ".",
    "µ": "u",
    "μ": "u",
    "±": "+-",
    "…": "...",
    "→": "->",
    "Δ": "d",
    "²": "2",
    "≤": "<=",
    "≥": ">=",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "█": "#",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "•": "*",
}
_HANDLER = "stedfast.nearest"


class _Spoken(Console):
    """Messages beside the results; a reader that has gone is no error."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def console(*, stderr: bool = False) -> Console:
    """A console that prints plain text, without markup."""
    kind = _Spoken if stderr else Console
    return kind(stderr=stderr, markup=False, emoji=False, highlight=False)


out = console()
err = console(stderr=True)


def say(line: str) -> None:
    """A line for a person, on stderr, so that stdout stays for results."""
    with suppress(OSError):  # the terminal is gone
        err.print(line, soft_wrap=True)


def hold_anything() -> None:
    """Let stdout and stderr take every character, in an encoding that lacks some of them."""
    codecs.register_error(_HANDLER, _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _nearest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replacements for characters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SUBSTITUTES.get(letter, "?") for letter in lacking), error.end
