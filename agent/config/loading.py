"""From a file to a checked config, whose plan, engine, … may be of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from agent.config.optimize import ENGINES, OBJECTIVES, OptimizeConfig
from agent.config.own_code import (
    ENGINE,
    FILTER,
    INTERPOLATOR,
    NAME,
    OBJECTIVE,
    PLAN,
    Own,
    Part,
    failure,
    find,
    installed,
    not_loaded,
)
from agent.config.paths import settle
from agent.config.plans import TimelapseConfig
from agent.config.reading import UserError, located, read_checked
from agent.config.schema import PLANS, FilterConfig, RunConfig
from devices.refusals import did_you_mean, refused

OWN = "own"
"""Key of a run's provenance: names of its plan, engine, … where they are of one's own."""


def load(path: Path, overrides: Sequence[str] = (), *, code: bool = True) -> RunConfig:
    """Read and check a config file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        `key.path=value` pairs laid over it, values read as YAML.
    code
        Whether to import code of one's own; without it, its section is kept as it is, and answers
        nothing.

    Raises
    ------
    UserError
        The file cannot be read or is no valid config.
    """
    own: Mapping[str, Own] = {}

    def model(data: dict[str, Any]) -> type[RunConfig]:
        nonlocal own
        found = _model_of(data, path, code=code)
        own = found.own
        return found

    try:
        return read_checked(path, RunConfig, overrides, settle, model)
    except UserError:
        raise
    except Exception as error:
        if not own:
            raise
        names = ", ".join(one.name for one in own.values())
        raise UserError(f"{path}: {names}: its section fails: {failure(error)}") from error


def _model_of(data: dict[str, Any], path: Path, *, code: bool) -> type[RunConfig]:
    """The model that fits what a config names of one's own.

    Parameters
    ----------
    data
        Of the config; gets the folder of their modules.
    path
        Its file.
    code
        Whether to import them.

    Raises
    ------
    UserError
        One cannot be imported, or is something else.
    """
    found = {part: _own(part, data, path, code=code) for part in _PARTS}
    engine, objective = found[ENGINE], found[OBJECTIVE]
    if engine is not None and objective is not None and engine.key == objective.key:
        why = f"{objective.name!r}: its section would be that of the engine; rename the function"
        raise located(path, _PARTS[OBJECTIVE][1], why)
    return _model(*(own for own in found.values() if own is not None))


_PARTS: dict[Part, tuple[type[BaseModel], tuple[str, ...], tuple[str, ...]]] = {
    PLAN: (RunConfig, ("plan",), PLANS),
    ENGINE: (OptimizeConfig, ("optimize", "engine"), ENGINES),
    OBJECTIVE: (OptimizeConfig, ("optimize", "objective"), OBJECTIVES),
    FILTER: (FilterConfig, ("filter", "model"), ()),
    INTERPOLATOR: (TimelapseConfig, ("timelapse", "model"), ()),
}
"""What has its section, the key that names it, and which come with this package.

Filters and interpolators that do are files.
"""


def _own(part: Part, data: dict[str, Any], path: Path, *, code: bool) -> Own | None:
    """What a config names, if that does not come with this package."""
    beside, keys, ours = _PARTS[part]
    place: Any = data
    for key in keys[:-1]:
        place = place.get(key) if isinstance(place, dict) else None
    name = place.get(keys[-1]) if isinstance(place, dict) else None
    if not isinstance(name, str) or name in ours or not NAME.fullmatch(name):
        return None  # ours, or no name at all, which the model refuses
    kept = data.get("provenance")
    known = kept.get(OWN) if isinstance(kept, dict) else None
    was = known.get(part.word) if isinstance(known, Mapping) else None
    if not (":" in name or name == was or name in installed(part)):
        if ours and any(key not in beside.model_fields for key in place):
            # Its section is no key there, but that is not the error to report.
            raise located(path, keys, _not_installed(part, name))
        return None
    own = not_loaded(part, name)
    if hasattr(beside, own.key) or own.key in beside.model_fields:
        raise located(
            path,
            keys,
            f"{name!r}: its section would be `{own.key}`, which is another part of the config; "
            "rename the function",
        )
    if not code:
        return own
    if ":" in name:
        data.setdefault("modules", str(path.parent.absolute()))
    try:
        return find(part, name, Path(data.get("modules") or path.parent))
    except ValueError as error:
        raise located(path, keys, str(error)) from None


def _not_installed(part: Part, name: str) -> str:
    known = [*_PARTS[part][2], *installed(part)]
    accepted = f"{', '.join(known)}, or MODULE:FUNCTION of a file beside the config"
    return refused(name, accepted) + did_you_mean(name, known)


@cache
def _model(*owns: Own) -> type[RunConfig]:
    """A config that has the sections of what is of one's own."""
    if not owns:
        return RunConfig
    added: dict[type[BaseModel], dict[str, Any]] = {}
    for own in owns:
        added.setdefault(_PARTS[own.part][0], {}).update(_fields(own))
    fields = added.get(RunConfig, {})
    for key, base in (("optimize", OptimizeConfig), ("timelapse", TimelapseConfig)):
        if found := added.get(base):
            section = create_model(base.__name__, __base__=base, **found)
            fields[key] = (section, Field(default_factory=section))
    if found := added.get(FilterConfig):
        made = create_model("FilterConfig", __base__=FilterConfig, **found)
        about = RunConfig.model_fields["filter"].description
        fields["filter"] = (made | None, Field(None, description=about))
    model = create_model("RunConfig", __base__=RunConfig, **fields)
    model.own = {own.part.word: own for own in owns}
    return model


def _fields(own: Own) -> dict[str, Any]:
    """Its section, and the key that may name it."""
    beside, (*_, key), ours = _PARTS[own.part]
    needed = any(field.is_required() for field in own.section.model_fields.values())
    section = Field(...) if needed else Field(default_factory=own.section)
    fields: dict[str, Any] = {own.key: (own.section, section)}
    if ours:
        was = beside.model_fields[key]
        named = Field(was.default, description=was.description)
        fields[key] = (Literal[(*ours, own.name)], named)
    return fields
