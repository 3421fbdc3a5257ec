"""Files that say where to look: Micro-Manager's position lists, and useq sequences.

The bare list of positions that pymmcore-widgets saves counts as the latter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from devices.position import (
    KINDS,
    MOST,
    Positions,
    PositionsError,
    problem,
)
from devices.position_lists import micro_manager_1, micro_manager_2
from devices.position_sequences import places_of
from devices.refusals import shortened

_MOST_BYTES = 20_000_000
"""Size of a file that is read at all; chosen: a hundred thousand places take less."""


def read_positions(file: Path) -> Positions:
    """The places of a file, in its order.

    Raises
    ------
    PositionsError
        It cannot be read, or is none that says places.
    """
    try:
        found = _read(_text(file))
        if not found.places:
            raise PositionsError("has no positions; accepted: at least one")
        if len(found.places) > MOST:
            raise PositionsError(f"has {len(found.places):,} positions; accepted: {MOST:,} at most")
        if why := problem(found.places):
            raise PositionsError(why)
    except PositionsError as error:
        raise PositionsError(f"{file}: {error}") from None
    return found


def read_data(file: Path, kinds: str) -> Any:
    """Plain data of a JSON or YAML file.

    Parameters
    ----------
    file
        Where they are.
    kinds
        What is accepted, in words, for errors.

    Raises
    ------
    PositionsError
        It cannot be read as either.
    """
    return _data(_text(file, kinds), kinds)


def _text(file: Path, kinds: str = KINDS) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise PositionsError(f"no such file; accepted: {kinds}") from None
    except IsADirectoryError:
        raise PositionsError(f"is a folder; accepted: {kinds}") from None
    except (OSError, ValueError) as error:
        raise PositionsError(f"cannot be read: {error}") from None
    if len(raw) > _MOST_BYTES:
        raise PositionsError(f"is larger than {_MOST_BYTES / 1e6:g} MB, as no list of places is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Micro-Manager 1.4 writes in the encoding of its Windows.
        return raw.decode("latin-1")


def _read(text: str) -> Positions:
    data = _data(text)
    if isinstance(data, list):
        return places_of({"stage_positions": data})
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"says {shortened(data)}"
        raise PositionsError(f"{found}; accepted: {KINDS}")
    if "POSITIONS" in data or "ID" in data:
        return micro_manager_1(data)
    if "map" in data or "format" in data:
        return micro_manager_2(data)
    return places_of(data)


def _data(text: str, kinds: str = KINDS) -> Any:
    """Plain data of a JSON or YAML text."""
    import yaml

    json_like = text.lstrip()[:1] in ("{", "[")
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            wrong = f"is no JSON, line {error.lineno}: {error.msg}"
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            said = getattr(error, "problem", None) or str(error).splitlines()[0]
            wrong = wrong if json_like else f"is neither JSON nor YAML{line}: {said}"
    except (RecursionError, ValueError):
        wrong = "cannot be read as JSON or YAML"
    raise PositionsError(f"{wrong}; accepted: {kinds}")
