"""Child processes that go through damaged files; none may hang, or take too much memory."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANGS_S = 10.0
MEMORY_MB = 1024
_CHILD = ("-m", "agent.bench.fuzz.child")
_START_S = 300.0
_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class Ended:
    """How a case ended.

    Parameters
    ----------
    kind, case
        Which file.
    outcome
        `done`, `refused`, `traceback`, `memory`, `hang` or `died`.
    where
        Kind and place of an error.
    """

    kind: str
    case: int
    outcome: str
    where: str = ""


def go_through(
    originals: Path, cases: dict[str, int], seed: int, child: tuple[str, ...] = _CHILD
) -> Iterator[Ended]:
    """Go through so many cases of each kind, in batches and side by side.

    Parameters
    ----------
    originals
        Folder that they are made from.
    cases
        How many of each kind.
    seed
        Of the work on them.
    child
        What Python is given to be the child process.
    """
    batches = [
        (kind, first, min(first + _AT_ONCE, count))
        for kind, count in cases.items()
        for first in range(0, count, _AT_ONCE)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for ended in pool.map(lambda batch: _batch(child, originals, seed, *batch), batches):
            yield from ended


def _batch(
    child: tuple[str, ...], originals: Path, seed: int, kind: str, first: int, end: int
) -> list[Ended]:
    """One batch; a child that hangs or dies is followed by another, from the next case on."""
    ended: list[Ended] = []
    while first < end:
        found, first = _child(child, originals, seed, kind, first, end)
        ended += found
    return ended


def _child(
    child: tuple[str, ...], originals: Path, seed: int, kind: str, first: int, end: int
) -> tuple[list[Ended], int]:
    """What one child came to, and the case that comes next."""
    arguments = (str(originals), kind, *map(str, (seed, first, end, MEMORY_MB)))
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, *child, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYMM_LOG_LEVEL": "CRITICAL"},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
        )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        ended: list[Ended] = []
        begun = False
        hung = False
        while True:
            try:
                line = lines.get(timeout=HANGS_S if begun else _START_S)
            except queue.Empty:
                hung = True
                break
            if line is None:
                break
            told: dict[str, Any] = json.loads(line)
            begun = begun or "begun" in told
            if "case" in told:
                ended.append(Ended(kind, told["case"], told["outcome"], told.get("where", "")))
        process.kill()
        process.wait()
        said.seek(0)
        words = said.read()[-2000:]
    done = ended[-1].case + 1 if ended else first
    if done == end:
        return ended, end
    if not begun:
        raise RuntimeError(f"{kind}: no case began: {words}")
    return [*ended, Ended(kind, done, "hang" if hung else "died", words[-200:])], done + 1


def _read(stream: Any, lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
