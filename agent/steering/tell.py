"""`stedfast tell`: change a run while it works; the browser view does so, too."""

from __future__ import annotations

import getpass
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from agent.config import plain_yaml
from agent.config.reading import UserError
from agent.plan import PLACE, ROI
from agent.record.folder import check_run_folder, is_running, read_config
from agent.record.ledger import reading
from agent.steering.commands import check_command
from agent.steering.control_file import COMMANDS, append, stamp_of
from agent.steering.instructions import check
from agent.steering.roi import FULL, RecordedCamera
from agent.steering.search_state import SearchState
from devices.refusals import refused, shortened


def tell(folder: Path, pairs: Sequence[str]) -> str:
    """Check instructions against the run's config and write them to its control file.

    Parameters
    ----------
    folder
        Of the run, which may be running or interrupted.
    pairs
        `key=value`, values read as YAML; the keys are those of `agent.steering.instructions` and
        `agent.steering.commands`. All are written or none. Also `place`, and its coordinates (µm);
        `roi`, a mode, and x, y, width, height (px) or `full`.

    Returns
    -------
    str
        When it will be applied.

    Raises
    ------
    UserError
        `folder` is no run that can be told anything, or one of `pairs` cannot be applied.
    """
    try:
        by = getpass.getuser()
    except (OSError, KeyError, ImportError):  # in some containers users have no name
        by = "stedfast tell"
    return submit(folder, _parsed(pairs), by=by)


def submit(folder: Path, told: Mapping[str, Any], *, by: str, id: str | None = None) -> str:
    """Write one line to a run's control file, checked and stamped.

    Parameters
    ----------
    folder
        Of the run.
    told
        Keys and values.
    by
        Who says so.
    id
        Tells this line from any other; a new one if absent.

    Returns
    -------
    str
        When it will be applied.

    Raises
    ------
    UserError
        The run cannot be told that.
    """
    check_run_folder(folder)
    running = is_running(folder)
    if not running and _is_complete(folder):
        raise UserError(f"{folder}: is complete, it can be told nothing more")
    if any(key in COMMANDS for key in told):
        when = _command(folder, told, running)
    else:
        when = _instructions(folder, told, running)
    stamp = {
        "id": id or uuid4().hex,
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    stamp_of(stamp)
    append(folder, {**stamp, **told})
    return f"{', '.join(told)}: will be applied {when}"


def _is_complete(folder: Path) -> bool:
    with reading(folder) as ledger:
        last = deque(ledger.entries("run", "end"), maxlen=1)
    return any(entry.kind == "end" and entry.data["status"] == "completed" for entry in last)


def _command(folder: Path, told: Mapping[str, Any], running: bool) -> str:
    # A run must obey `stop` even if its config was changed or damaged since.
    filters = "filter" in told and read_config(folder).filter is not None
    check_command(told, filters=filters)
    if not running:
        raise UserError(f"{folder}: no session of this run is running")
    return "at once"


def _instructions(folder: Path, told: Mapping[str, Any], running: bool) -> str:
    config = read_config(folder)
    if not config.listens and not ({PLACE, ROI} & set(told) and config.plan_is_loaded):
        raise UserError(
            f"{folder}: is `plan: {config.plan}`, which can be told nothing; accepted: "
            f"{', '.join(COMMANDS)}"
        )
    with reading(folder) as ledger:
        standing = SearchState.after(config, (entry.data for entry in ledger.entries("note")))
        whole = [entry.data.get("whole", {}) for entry in ledger.entries("run")]
    if standing.over:
        raise UserError(f"{folder}: its search is over, only the retests are left")
    check(config, told, standing, RecordedCamera(whole[-1] if whole else {}))
    if PLACE in told and PLACE not in config.adjustable():
        return "in the next time point" if running else "when the run is resumed"
    if not config.section.searches():
        if not running:
            return "when the run is resumed"
        return "before the next frame" if config.plan_is_loaded else "when its plan listens next"
    done = len(standing.gave)
    if isinstance(fewer := told.get("trials"), int) and fewer < done:
        raise UserError(f"`trials`: {refused(fewer, f'at least the {done} done')}")
    when = "before the next trial" if running else "when the run is resumed"
    return f"{when} ({done} of {standing.trials} trials are done)"


def _parsed(pairs: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if pairs[:1] == [PLACE]:
        pairs = [f"{PLACE}=[{', '.join(pairs[1:])}]"]
    if pairs[:1] == [ROI]:
        return {ROI: _region(pairs[1:])}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{shortened(pair, quoted=False)}: not key=value, like trials=12")
        if key in told:
            raise UserError(f"`{key}`: stands here twice; accepted: once, or one after the other")
        try:
            told[key] = plain_yaml.read(text)
        except plain_yaml.YamlError:
            raise UserError(f"`{key}`: {shortened(text)} is not a YAML value") from None
    return told


def _region(words: Sequence[str]) -> dict[str, Any]:
    """What `roi MODE X Y WIDTH HEIGHT` or `roi MODE full` tells."""
    if not words:
        return {}
    mode, *rest = words
    try:
        return {mode: FULL if rest == [FULL] else [plain_yaml.read(one) for one in rest]}
    except plain_yaml.YamlError:
        raise UserError(f"`{ROI}`: {shortened(' '.join(rest))} is no YAML value") from None
