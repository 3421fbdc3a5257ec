"""One process that goes through damaged files, and says of each how it ended.

    python -m agent.bench.fuzz.child ORIGINALS KIND SEED FIRST END MEMORY_MB

Each case is a line of JSON before it begins and one after it; a case is drawn from kind, seed and
number alone, so that any of them can be looked at again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from agent.bench.fuzz.kinds import KINDS, Act
from agent.config.reading import UserError

Outcome = Literal["done", "refused", "traceback", "memory"]
_ROOT = Path(__file__).parents[3]
_NO_MEMORY = ("not enough memory", "can't allocate memory", "Unable to allocate")


def main(arguments: list[str]) -> None:
    """Go through the cases from FIRST up to END."""
    originals, kind, seed, first, end, memory_mb = arguments
    protocol = _protocol()
    warnings.simplefilter("ignore")
    # Undamaged files must be read: this checks the benchmark, and loads large imports early.
    for number in range(8):
        found = _case(Path(originals), kind, int(seed), number, damaged=False)
        if found["outcome"] != "done":
            raise RuntimeError(f"{kind}: the original of case {number} is not read: {found}")
    _limit(int(memory_mb))
    print(json.dumps({"ready": True}), file=protocol, flush=True)
    for number in range(int(first), int(end)):
        print(json.dumps({"begun": number}), file=protocol, flush=True)
        found = _case(Path(originals), kind, int(seed), number)
        print(json.dumps({"case": number, **found}), file=protocol, flush=True)


def _protocol() -> TextIO:
    """The real stdout; all other output is dropped."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return ours


def _limit(memory_mb: int) -> None:
    """Let this process have so much more memory than it has now, where the system can limit it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc").exists() else 0
    most = pages * resource.getpagesize() + memory_mb * 2**20
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _case(originals: Path, kind: str, seed: int, number: int, *, damaged: bool = True) -> Any:
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind), number])
    with tempfile.TemporaryDirectory(prefix="stedfast-fuzz-") as folder:
        act = KINDS[kind].prepare(Path(folder), originals, rng, damaged)
        return outcome_of(act)


def outcome_of(act: Act | Callable[[], object]) -> dict[str, Any]:
    """How it ends: done, refused in words, with a traceback or for want of memory."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            act()
    except SystemExit as left:
        text = said.getvalue()
        if any(words in text for words in _NO_MEMORY):
            return {"outcome": "memory", "where": text[-200:]}
        return {"outcome": "refused", "why": text[-300:]} if left.code else {"outcome": "done"}
    except (UserError, OSError, sqlite3.Error) as error:
        # The command line puts these in a line.
        return {"outcome": "refused", "why": str(error)[:300]}
    except MemoryError as error:
        return {"outcome": "memory", "where": _where(error)}
    except BaseException as error:
        if any(words in str(error) for words in _NO_MEMORY):
            return {"outcome": "memory", "where": _where(error)}
        return {"outcome": "traceback", "where": _where(error)}
    return {"outcome": "done"}


def _where(error: BaseException) -> str:
    """Kind and place of an error: the innermost line that is ours, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if _ROOT in Path(f.filename).parents and "bench" not in f.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in (*ours[-1:], *frames[-1:])]
    return f"{type(error).__name__} at {' < '.join(dict.fromkeys(places))}: {str(error)[:160]}"


if __name__ == "__main__":
    main(sys.argv[1:])
