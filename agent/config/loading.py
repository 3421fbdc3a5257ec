"""From a file to a checked config, whose plan, engine and filter may be of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from agent.config.optimize import ENGINES, OptimizeConfig
from agent.config.own_code import ENGINE, FILTER, NAME, PLAN, Own, Part, find, installed, not_loaded
from agent.config.paths import settle
from agent.config.reading import located, read_checked
from agent.config.schema import PLANS, FilterConfig, RunConfig
from devices.refusals import did_you_mean, refused

OWN = "own"
"""Key of a run's provenance: names of its plan, engine and filter, where they are of one's own."""


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
    model = partial(_model_of, path=path, code=code)
    return read_checked(path, RunConfig, overrides, settle, model)


def _model_of(data: dict[str, Any], path: Path, *, code: bool) -> type[RunConfig]:
    """The model that fits a config's plan, engine and filter.

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
    found = [_own(part, data, path, code=code) for part in _PARTS]
    return _model(*found)


_PARTS: dict[Part, tuple[type[BaseModel], tuple[str, ...], tuple[str, ...]]] = {
    PLAN: (RunConfig, ("plan",), PLANS),
    ENGINE: (OptimizeConfig, ("optimize", "engine"), ENGINES),
    FILTER: (FilterConfig, ("filter", "model"), ()),
}
"""What has its section, the key that names it, and which come with this package.

Filters that do are files.
"""


def _own(part: Part, data: dict[str, Any], path: Path, *, code: bool) -> Own | None:
    """What a config names, if that does not come with this package."""
    beside, keys, ours = _PARTS[part]
    name: Any = data
    for key in keys:
        name = name.get(key) if isinstance(name, dict) else None
    if not isinstance(name, str) or name in ours or not NAME.fullmatch(name):
        return None  # ours, or no name at all, which the model refuses
    kept = data.get("provenance")
    known = kept.get(OWN) if isinstance(kept, dict) else None
    was = known.get(part.word) if isinstance(known, Mapping) else None
    if not (":" in name or name == was or name in installed(part)):
        if part is PLAN and any(key not in RunConfig.model_fields for key in data):
            # Its section is no key of a config, but that is not the error to report.
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
def _model(plan: Own | None, engine: Own | None, filter: Own | None) -> type[RunConfig]:
    """A config that has the sections of what is of one's own."""
    fields: dict[str, Any] = {}
    if plan is not None:
        fields |= _fields(plan)
    if engine is not None:
        search = create_model("OptimizeConfig", __base__=OptimizeConfig, **_fields(engine))
        fields["optimize"] = (search, Field(default_factory=search))
    if filter is not None:
        made = create_model("FilterConfig", __base__=FilterConfig, **_fields(filter))
        about = RunConfig.model_fields["filter"].description
        fields["filter"] = (made | None, Field(None, description=about))
    if not fields:
        return RunConfig
    model = create_model("RunConfig", __base__=RunConfig, **fields)
    model.own = {own.part.word: own for own in (plan, engine, filter) if own is not None}
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
