"""Paths in a config.

Those in a file start in its folder; those typed on a command line start where the person stands.
Made absolute, they mean the same in the config of a run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.config.own_code import NAME


def settle(data: dict[str, Any], base: Path) -> None:
    """Make the paths in a config's data absolute, in place; other values stay.

    Parameters
    ----------
    data
        Of a whole config or of a part of it, not checked yet.
    base
        Folder that relative paths start in.
    """
    scope = data.get("microscope")
    if isinstance(scope, dict) and scope.get("python_devices"):
        scope.setdefault("modules", ".")
    for keys, absolute in _PATHS.items():
        place: Any = data
        *parents, last = keys.split(".")
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            continue
        value = place[last]
        if isinstance(value, str):
            place[last] = absolute(value, base)
        elif isinstance(value, list):
            place[last] = [
                absolute(entry, base) if isinstance(entry, str) else entry for entry in value
            ]


def _path(text: str, base: Path) -> str:
    return str((base / text).absolute())


def _cfg(text: str, base: Path) -> str:
    return text if text == "demo" else _path(text, base)


def _model(text: str, base: Path) -> str:
    """A bare name is that of bundled weights, MODULE:FUNCTION is code of one's own."""
    named = text == Path(text).stem or (":" in text and NAME.fullmatch(text))
    return text if named else _path(text, base)


_PATHS: dict[str, Callable[[str, Path], str]] = {
    "modules": _path,
    "microscope.cfg": _cfg,
    "microscope.modules": _path,
    "microscope.replay.file": _path,
    "microscope.fields.positions": _path,
    "mda.sequence": _path,
    "analysis.weights": _path,
    "optimize.prior": _path,
    "filter.model": _model,
    "timelapse.model": _model,
}
