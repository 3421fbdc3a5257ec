"""A run's folder on disk: its config, its heartbeat and the lock of the running session."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import platform, python_version
from typing import Any

from filelock import FileLock, Timeout

from agent.config import RunConfig, load, plain_yaml
from agent.config.data import as_data
from agent.config.reading import UserError
from agent.config.rules import FIRST
from agent.record.durable import write_file
from agent.record.ledger import FILE as LEDGER
from agent.record.safe_files import replace_text
from agent.record.strict_json import dumps

CONFIG = "config.yaml"
STATUS = "status.json"
REPORT = "report.html"
_LOCK = ".lock"
_TRY_EVERY_S = 0.002
_ASKED_S = 0.3
"""How long a session waits for processes that only ask whether another is running (s)."""
_ANSWERED_S = 0.02
"""How long one of those waits for the others (s)."""
_PARTS = ("stedfast", "pymmcore-plus", "pymmcore", "pysted", "torch", "numpy", "scikit-optimize")


class RunBusy(RuntimeError):
    """Another process is running in this run folder."""


def new_folder(config: RunConfig, base: Path, out: Path | None, does: str | None = None) -> Path:
    """Make the folder of a new run: `out`, or one named after time and plan.

    Raises
    ------
    UserError
        `out` holds something already, or cannot be made.
    """
    try:
        return _made(config, base, out, does or config.plan)
    except OSError as error:
        named = out or base / config.runs
        raise UserError(f"{named}: cannot be made: {error.strerror}") from None


def _made(config: RunConfig, base: Path, out: Path | None, does: str) -> Path:
    if out is None:
        stamp = datetime.now().strftime("%Y-%m-%d_%H%M%S")
        runs = base / config.runs
        out = runs / f"{stamp}_{does}"
        number = 1
        while out.exists():
            number += 1
            out = runs / f"{stamp}_{does}_{number}"
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already; give --out a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    return out


@contextmanager
def begun_folder(
    config: RunConfig, base: Path, out: Path | None, does: str | None = None
) -> Iterator[Path]:
    """Make the folder of a new run; one that never began leaves none behind.

    Parameters
    ----------
    config, base, out
        As `new_folder` takes them.
    does
        What it does, in a word, for its name; the plan if absent.

    Raises
    ------
    UserError
        `out` holds something already, or cannot be made.
    """
    there = out is not None and out.exists()
    made = new_folder(config, base, out, does)
    try:
        yield made
    finally:
        with suppress(OSError):
            if not (made / LEDGER).exists():
                (made / _LOCK).unlink(missing_ok=True)
                if not there:
                    made.rmdir()


def versions() -> dict[str, str]:
    """Versions of what a run's results depend on."""
    found = {"python": python_version(), "platform": platform(), **_installed()}
    if commit := commit_of_this_code():
        found["commit"] = commit
    return found


@cache
def _installed() -> dict[str, str]:
    found = {}
    for part in _PARTS:
        with suppress(PackageNotFoundError):
            found[part] = version(part)
    return found


@cache
def commit_of_this_code() -> str:
    """Commit that the running code was checked out from; empty for an installed package."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def write_config(folder: Path, config: RunConfig, provenance: dict[str, Any]) -> None:
    """Write the fully resolved config; it can be run again as it is."""
    text = plain_yaml.write(as_data(config) | {"provenance": provenance})
    write_file(folder / CONFIG, text.encode())


def read_config(folder: Path, *, code: bool = False) -> RunConfig:
    """The resolved config of a run.

    Parameters
    ----------
    folder
        Of the run.
    code
        Whether to import a plan of one's own, see `agent.config.load`. What only reads a run does
        not; `agent.run.trust` says who may.

    Raises
    ------
    UserError
        `folder` is no run folder.
    """
    check_run_folder(folder)
    config = load(folder / CONFIG, code=code)
    # A run without a number is older than the numbers.
    if "rules" not in config.model_fields_set:
        config = config.model_copy(update={"rules": FIRST})
    return config


def check_folder(folder: Path) -> None:
    """Make sure that there is a folder, that of a run or not.

    Raises
    ------
    UserError
        There is none.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {found}; a run folder is needed")


def check_run_folder(folder: Path) -> None:
    """Make sure that a folder is that of a run.

    Raises
    ------
    UserError
        It is none.
    """
    check_folder(folder)
    if not (folder / LEDGER).is_file() or not (folder / CONFIG).is_file():
        raise UserError(f"{folder}: not a run folder, it lacks {LEDGER} or {CONFIG}")


def lock(folder: Path, wait_s: float = _ASKED_S) -> FileLock:
    """Take the run for this process; the system lets go of it when the process dies.

    Parameters
    ----------
    folder
        The run's.
    wait_s
        For how long others may have it (s): asking whether a session is running takes it, too.

    Raises
    ------
    RunBusy
        Another process has it.
    """
    taken = FileLock(folder / _LOCK)
    try:
        taken.acquire(timeout=wait_s, poll_interval=_TRY_EVERY_S)
    except Timeout:
        raise RunBusy(f"{folder}: another process is running this run") from None
    return taken


def is_running(folder: Path) -> bool:
    """Whether a session of this run is running."""
    if not (folder / _LOCK).exists():
        return False
    try:
        lock(folder, _ANSWERED_S).release()
    except RunBusy:
        return True
    except OSError:  # a run on a read-only medium
        return False
    return False


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Replace the heartbeat; a reader sees the old one or the new one, never half."""
    replace_text(folder / STATUS, dumps(status, indent=1) + "\n")
