"""From a file to a checked config, whose plan and engine may be of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from agent.config.optimize import ENGINES, OptimizeConfig
from agent.config.own_code import ENGINE, NAME, PLAN, Own, Part, find, installed, not_loaded
from agent.config.paths import settle
from agent.config.reading import located, read_checked
from agent.config.schema import PLANS, RunConfig

OWN = "own"
"""Key of a run's provenance: names of its plan and its engine, where they are of one's own."""


def load(path: Path, overrides: Sequence[str] = (), *, code: bool = True) -> RunConfig:
    """Read and check a config file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        `key.path=value` pairs laid over it, values read as YAML.
    code
        Whether to import a plan or an engine of one's own; without it, its section is kept as it
        is, and answers nothing.

    Raises
    ------
    UserError
        The file cannot be read or is no valid config.
    """
    model = partial(_model_of, path=path, code=code)
    return read_checked(path, RunConfig, overrides, settle, model)


def _model_of(data: dict[str, Any], path: Path, *, code: bool) -> type[RunConfig]:
    """The model that fits a config's plan and engine.

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
    search = data.get("optimize")
    engine = search.get("engine") if isinstance(search, dict) else None
    plan = _own(PLAN, data.get("plan"), RunConfig, data, path, code=code)
    return _model(plan, _own(ENGINE, engine, OptimizeConfig, data, path, code=code))


_KEYS = {PLAN: ("plan",), ENGINE: ("optimize", "engine")}
_OURS = {PLAN: PLANS, ENGINE: ENGINES}


def _own(
    part: Part,
    name: object,
    beside: type[BaseModel],
    data: dict[str, Any],
    path: Path,
    *,
    code: bool,
) -> Own | None:
    """What a config names, if that does not come with this package."""
    if not isinstance(name, str) or name in _OURS[part] or not NAME.fullmatch(name):
        return None  # ours, or no name at all, which the model refuses
    kept = data.get("provenance")
    known = kept.get(OWN) if isinstance(kept, dict) else None
    was = known.get(part.word) if isinstance(known, Mapping) else None
    if not (":" in name or name == was or name in installed(part)):
        if part is PLAN and any(key not in RunConfig.model_fields for key in data):
            # Its section is no key of a config, but that is not what is wrong.
            raise located(path, _KEYS[part], _not_installed(part, name))
        return None
    own = not_loaded(part, name)
    if hasattr(beside, own.key) or own.key in beside.model_fields:
        raise located(
            path,
            _KEYS[part],
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
        raise located(path, _KEYS[part], str(error)) from None


def _not_installed(part: Part, name: str) -> str:
    known = [*_OURS[part], *installed(part)]
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return (
        f"no {part.word} {name!r} is installed; accepted: {', '.join(known)}, or MODULE:FUNCTION "
        f"of a file beside the config{hint}"
    )


@cache
def _model(plan: Own | None, engine: Own | None) -> type[RunConfig]:
    """A config that has the sections of a plan and an engine of one's own."""
    if plan is None and engine is None:
        return RunConfig
    fields: dict[str, Any] = {}
    own: dict[str, Own] = {}
    if plan is not None:
        fields = _fields(plan, "plan", RunConfig)
        own[PLAN.word] = plan
    if engine is not None:
        more = _fields(engine, "engine", OptimizeConfig)
        search = create_model("OptimizeConfig", __base__=OptimizeConfig, **more)
        fields["optimize"] = (search, Field(default_factory=search))
        own[ENGINE.word] = engine
    made = create_model("RunConfig", __base__=RunConfig, **fields)
    made.own = own
    return made


def _fields(own: Own, key: str, beside: type[BaseModel]) -> dict[str, Any]:
    """The key that may name it, and its section."""
    was = beside.model_fields[key]
    named = Field(was.default, description=was.description)
    needed = any(field.is_required() for field in own.section.model_fields.values())
    section = Field(...) if needed else Field(default_factory=own.section)
    return {
        key: (Literal[(*_OURS[own.part], own.name)], named),
        own.key: (own.section, section),
    }
