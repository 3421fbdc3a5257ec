"""`stedfast tell`: change a running `plan: optimize` between two trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.control import append
from agent.folder import is_running
from agent.instructions import Standing, check, short
from agent.reading import ConfigError
from agent.summary import read


def tell(folder: Path, pairs: Sequence[str]) -> str:
    """Check what a person says against the run's config and write it to its control file.

    Parameters
    ----------
    folder
        Of the run, which may be at work or interrupted.
    pairs
        `key=value`, values read as YAML; the keys are those of `agent.instructions`. All are
        written or none.

    Returns
    -------
    str
        When it will be heeded.

    Raises
    ------
    ConfigError
        `folder` is no run that can be told anything, or one of `pairs` cannot be heeded.
    """
    config, recording = read(folder)
    if config.plan != "optimize":
        raise ConfigError(f"{folder}: is `plan: {config.plan}`; only `plan: optimize` can be told")
    told = _parsed(pairs)
    running = is_running(folder)
    standing = Standing.after(config, recording.notes)
    done = len(standing.gave)
    if not running and recording.end is not None and recording.end["status"] == "completed":
        raise ConfigError(f"{folder}: is complete, it can be told nothing more")
    if standing.over:
        raise ConfigError(f"{folder}: its search is over, only the retests are left")
    check(config, told, standing)
    if isinstance(fewer := told.get("trials"), int) and fewer < done:
        raise ConfigError(f"`trials`: {fewer} is not accepted; accepted: at least the {done} done")
    append(folder, told)
    when = "before the next trial" if running else "when the run is resumed"
    return f"{', '.join(told)}: will be heeded {when} ({done} of {standing.trials} trials are done)"


def _parsed(pairs: Sequence[str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{short(pair, quoted=False)}: not key=value, like trials=12")
        if key in told:
            raise ConfigError(f"`{key}`: stands here twice; accepted: once, or one after the other")
        try:
            told[key] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, TypeError, RecursionError):
            raise ConfigError(f"`{key}`: {short(text)} is not a YAML value") from None
    return told
