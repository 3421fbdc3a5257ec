"""The config: one YAML file, checked before any device is opened.

`load` turns a file into a frozen `RunConfig` or raises `ConfigError`, whose message names
file, line, key, the value found and what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from devices.config import MicroscopeConfig, Model, Range, Value

Path_ = tuple[str | int, ...]
Checked = TypeVar("Checked", bound=BaseModel)


class ConfigError(ValueError):
    """A config that cannot be used; the message is complete and fits in three lines."""


class AnalysisConfig(Model):
    """What is computed from each frame, beside the acquisition."""

    score: bool = Field(False, description="score every STED frame with the quality network")
    weights: Path | None = Field(None, description="other weights than those that come along")
    queue: int = Field(8, ge=1, le=1000, description="frames that may wait for the worker")
    timeout_s: float = Field(60.0, gt=0, description="longest wait of a plan for a score")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="a score that fails: stop the run safely, or give up that trial"
    )


class DoseConfig(Model):
    """Light budgets, in J on the sample, by laser; a run stops before it exceeds one."""

    budget_J: dict[str, float] = Field(default_factory=dict)
    per_field_J: dict[str, float] = Field(default_factory=dict)


class FaultConfig(Model):
    """What a failing camera or device leads to."""

    retries: int = Field(0, ge=0, le=10, description="times a failed frame is tried again")


class LiveConfig(Model):
    """`plan: live`: frame after frame at the starting settings."""

    frames: int | None = Field(None, ge=1, description="how many; endless if absent")
    mode: str = "sted"
    interval_s: float = Field(0.0, ge=0)


class TimelapseConfig(Model):
    """`plan: timelapse`: the same fields at fixed intervals."""

    frames: int = Field(10, ge=1, description="time points")
    interval_s: float = Field(10.0, ge=0)
    fields: int = Field(1, ge=1, description="how many of the microscope's fields, from the centre")
    mode: str = "sted"


class OptimizeConfig(Model):
    """`plan: optimize`: find good settings for this sample."""

    trials: int = Field(24, ge=1, le=1000)
    initial: int = Field(
        8, ge=1, description="space-filling trials before a model without memory decides"
    )
    engine: Literal["stedfast", "skopt", "botorch", "sobol", "random"] = "stedfast"
    goal: Literal["best", "front"] = Field(
        "best", description="engine stedfast: look for the best settings, or for the whole front"
    )
    library: bool = Field(
        True, description="engine stedfast: begin with what simulated sessions teach"
    )
    prior: tuple[Path, ...] = Field(
        (), description="engine stedfast: folders of earlier runs of `plan: optimize` to learn from"
    )
    begin_with: tuple[dict[str, Value], ...] = Field(
        (), description="settings an expert would try first; what is left out takes its start"
    )
    least_gain: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="end the search after two trials that promised less gain in score; 0: never",
    )
    search: dict[str, Range | tuple[Value, ...]] = Field(
        default_factory=dict, description="settings to tune: [low, high], or choices; all if empty"
    )
    bleaching_limit: float = Field(
        0.2, gt=0, le=1, description="largest share of the dye one STED frame may bleach"
    )
    saturation_limit: float = Field(
        0.01, ge=0, le=1, description="largest share of the pixels at the detector's limit"
    )
    retest_fields: int = Field(4, ge=1, le=100)
    repeat_flagged: int = Field(
        0,
        ge=0,
        le=100,
        description="trials taken again because their score is doubtful, in all",
    )


class RunConfig(Model):
    """A whole run."""

    plan: Literal["live", "optimize", "timelapse"]
    seed: int = Field(0, ge=0, le=2**31 - 1)
    runs: Path = Field(Path("runs"), description="folder that new run folders are made in")
    microscope: MicroscopeConfig
    analysis: AnalysisConfig = AnalysisConfig()
    dose: DoseConfig = DoseConfig()
    faults: FaultConfig = FaultConfig()
    live: LiveConfig = LiveConfig()
    optimize: OptimizeConfig = OptimizeConfig()
    timelapse: TimelapseConfig = TimelapseConfig()
    provenance: dict[str, Any] | None = Field(
        None, description="written by stedfast into a run's own config; ignored when read"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        scope = self.microscope
        for section in ("budget_J", "per_field_J"):
            for laser, joules in getattr(self.dose, section).items():
                if laser not in scope.lasers:
                    raise ValueError(_unknown(f"dose.{section}.{laser}", "laser", scope.lasers))
                if joules <= 0:
                    raise ValueError(f"`dose.{section}.{laser}`: {joules:g} J, must be above 0")
        asked = {"live": self.live.mode, "timelapse": self.timelapse.mode}.get(self.plan)
        if asked is not None and asked not in scope.modes:
            raise ValueError(
                f"`{self.plan}.mode`: no mode {asked!r} in `microscope.modes`; "
                f"accepted: {', '.join(scope.modes) or 'none'}"
            )
        count = scope.fields.rows * scope.fields.columns
        if self.plan == "timelapse" and self.timelapse.fields > count:
            raise ValueError(
                f"`timelapse.fields`: {self.timelapse.fields}, but `microscope.fields` has {count}"
            )
        if self.plan == "optimize":
            self._optimize_fits(count)
        return self

    def _optimize_fits(self, fields: int) -> None:
        for mode in ("sted", "confocal"):
            if mode not in self.microscope.modes:
                raise ValueError(
                    f"`microscope.modes`: no mode {mode!r}; `plan: optimize` needs sted "
                    "and confocal"
                )
        asked = self.optimize
        needed = asked.trials + asked.repeat_flagged + 2 * asked.retest_fields
        if needed > fields:
            raise ValueError(
                f"`microscope.fields`: {fields} fields, but `optimize` needs {needed} fresh ones "
                "(trials, repeat_flagged, and retest_fields for the start and for the best)"
            )
        if not self.analysis.score:
            raise ValueError("`analysis.score`: must be true, `plan: optimize` reads the score")
        if "initial" in asked.model_fields_set and asked.initial > asked.trials:
            raise ValueError(
                f"`optimize.initial`: {self.optimize.initial}, more than "
                f"`optimize.trials` ({self.optimize.trials})"
            )
        settings = self.microscope.settings
        if not settings:
            raise ValueError("`microscope.settings`: empty, `plan: optimize` has nothing to tune")
        for name, values in self.optimize.search.items():
            if name not in settings:
                raise ValueError(_unknown(f"optimize.search.{name}", "setting", settings))
            if name in self.microscope.modes["sted"]:
                raise ValueError(f"`optimize.search.{name}`: pinned by `microscope.modes.sted`")
            for value in values:
                if why := settings[name].refusal(value):
                    raise ValueError(f"`optimize.search.{name}`: {why}")
            if settings[name].kind == "choice":
                if not values:
                    raise ValueError(
                        f"`optimize.search.{name}`: empty; accepted: some of "
                        f"{list(settings[name].choices or ())}"
                    )
            elif len(values) != 2 or float(values[0]) >= float(values[1]):
                raise ValueError(
                    f"`optimize.search.{name}`: must be [low, high] with low < high, "
                    f"got {list(values)}"
                )
        self._suggestions_fit()
        for name in self.tuned():
            span = self.optimize.search.get(name, settings[name].range)
            if settings[name].scale == "log" and span is not None and float(span[0]) <= 0:
                raise ValueError(
                    f"`optimize.search.{name}`: {list(span)}, must start above 0 for scale: log"
                )

    def _suggestions_fit(self) -> None:
        asked, tuned = self.optimize, self.tuned()
        if len(asked.begin_with) > asked.trials:
            raise ValueError(
                f"`optimize.begin_with`: {len(asked.begin_with)} settings, more than "
                f"`optimize.trials` ({asked.trials})"
            )
        for at, settings in enumerate(asked.begin_with):
            for name, value in settings.items():
                where = f"optimize.begin_with.{at}.{name}"
                if name not in tuned:
                    raise ValueError(_unknown(where, "tuned setting", tuned))
                setting = self.microscope.settings[name]
                if why := setting.refusal(value):
                    raise ValueError(f"`{where}`: {why}")
                span = asked.search.get(name)
                if span is None:
                    continue
                fits = (
                    value in span
                    if setting.kind == "choice"
                    else float(span[0]) <= float(value) <= float(span[1])
                )
                if not fits:
                    raise ValueError(
                        f"`{where}`: {value} is not within `optimize.search.{name}` ({list(span)})"
                    )

    def tuned(self) -> list[str]:
        """Names of the settings that `plan: optimize` tunes."""
        pinned = self.microscope.modes["sted"]
        names = self.optimize.search or self.microscope.settings
        return [name for name in self.microscope.settings if name in names and name not in pinned]


def _unknown(what: str, kind: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    return f"`{what}`: no such {kind}; accepted: {', '.join(known) or 'none'}"


# ---------------------------------------------------------------------- reading


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        `key.path=value` pairs laid over it, values read as YAML.

    Raises
    ------
    ConfigError
        The file cannot be read or is no valid config.
    """
    return _settled(read_checked(path, RunConfig, overrides), path.parent)


def read_checked(path: Path, kind: type[Checked], overrides: Sequence[str] = ()) -> Checked:
    """Read a YAML file as one `kind` of config; parameters and errors as in `load`."""
    text = read_text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    except (ValueError, RecursionError) as error:  # a date like 2020-99-99, braces without end
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if data is None:
        raise ConfigError(f"{path}: empty; a config needs at least {_needed(kind)}")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: {_short(data)} is not a config; keys like {_needed(kind, colon=':')} are"
        )
    for override in overrides:
        _lay_over(data, override)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, kind, path, node, overrides)) from None


def _needed(kind: type[BaseModel], colon: str = "") -> str:
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    return " and ".join(f"`{name}{colon}`" for name in needed or list(kind.model_fields)[:2])


def _settled(config: RunConfig, base: Path) -> RunConfig:
    """The config with absolute paths, so that it can be read from its run's folder as well."""
    scope, analysis = config.microscope, config.analysis
    if scope.cfg is not None and scope.cfg != "demo":
        scope = scope.model_copy(update={"cfg": str((base / scope.cfg).absolute())})
    if scope.replay is not None:
        file = (base / scope.replay.file).absolute()
        scope = scope.model_copy(update={"replay": scope.replay.model_copy(update={"file": file})})
    if analysis.weights is not None:
        weights = (base / analysis.weights).absolute()
        analysis = analysis.model_copy(update={"weights": weights})
    optimize = config.optimize
    if optimize.prior:
        folders = tuple((base / folder).absolute() for folder in optimize.prior)
        optimize = optimize.model_copy(update={"prior": folders})
    parts = {"microscope": scope, "analysis": analysis, "optimize": optimize}
    return config.model_copy(update=parts)


def read_text(path: Path) -> str:
    """Text of a file; `ConfigError` if it is missing, a folder or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = get_close_matches(path.name, _siblings(path), n=1, cutoff=0.75)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise ConfigError(f"{path}: no such file{hint}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, a YAML file is needed") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file, a YAML file is needed") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key written twice, of which it would silently drop one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a single word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{key.value}` stands here twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: not key=value, like optimize.trials=12")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError):
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value") from None
    *parents, last = key.split(".")
    place = data
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: `{parent}` has no keys, it is {_short(inner)}")
        place = inner
    place[last] = value


# ---------------------------------------------------------------------- errors


def located(path: Path, keys: Path_, message: str) -> ConfigError:
    """A `ConfigError` about one key of a file, with the line it stands in."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        node = None
    return ConfigError(f"{_where(path, node, keys)}: {message}")


def _explain(
    error: ValidationError,
    root: type[BaseModel],
    path: Path,
    node: yaml.Node | None,
    overrides: Sequence[str],
) -> str:
    found = error.errors(include_url=False)
    # One cause often fails several branches of a union; the first names the key best.
    first = min(found, key=lambda entry: entry["type"] != "extra_forbidden")
    keys = tuple(k for k in first["loc"] if not _is_branch(k))
    text = _what(first, root, keys)
    # A check across keys starts its message with the key it is about.
    if first["type"] == "value_error" and (about := re.match(r"`([\w.]+)`: ", text)):
        keys = (*keys, *about[1].split("."))
        text = text[about.end() :]
    lines = [f"{_where(path, node, keys)}: {text}"]
    others = {tuple(k for k in entry["loc"] if not _is_branch(k)) for entry in found}
    # The branches of a union all complain, each about its own part of the same value.
    others = {other for other in others if not _within(other, keys) and not _within(keys, other)}
    if others:
        named = ", ".join(sorted(".".join(map(str, other)) for other in others)[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        lines.append(f"also wrong: {named}{more}")
    if overrides:
        lines.append(f"with --set {' '.join(overrides)}")
    return "\n".join(lines[:3])


def _within(keys: Path_, outer: Path_) -> bool:
    return keys[: len(outer)] == outer


def _is_branch(key: str | int) -> bool:
    """Pydantic puts the name of a union's branch into the path; the file has no such key."""
    return isinstance(key, str) and ("[" in key or key in ("float", "int", "str"))


def _where(path: Path, node: yaml.Node | None, keys: Path_) -> str:
    line = _line(node, keys)
    place = f"{path}, line {line}" if line else str(path)
    return f"{place}: `{'.'.join(map(str, keys))}`" if keys else place


def _line(node: yaml.Node | None, keys: Path_) -> int | None:
    """Line of a key, or of the innermost part of its path that the file has."""
    line = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == str(key):
                    line, node = key_node.start_mark.line + 1, value_node
                    break
            else:
                break
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _what(error: Any, root: type[BaseModel], keys: Path_) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(root, keys[:-1])
        near = get_close_matches(str(keys[-1]), known, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        return f"unknown key; {hint}accepted: {', '.join(known)}"
    if kind == "missing":
        return "missing" + (f"; {about}" if (about := _description(root, keys)) else "")
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        near = get_close_matches(str(value), [w.strip("'") for w in context["expected"].split("'")])
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{_short(value)} is not accepted; accepted: {context['expected']}{hint}"
    about = _description(root, keys)
    about = f" ({about})" if about else ""
    found = "nothing" if value is None else _short(value)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        accepted = ", ".join(_known_keys(root, keys))
        accepted = f"; accepted: {accepted}" if accepted else ""
        return f"{found}: must be keys with values{about}{accepted}"
    if kind in ("tuple_type", "list_type"):
        return f"{found}: must be a list{about}"
    if kind == "string_pattern_mismatch":
        return f"{found}: must be{about or ' ' + context['pattern']}"
    return f"{found}: {error['msg'].removeprefix('Input ')}{about}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _model_at(root: type[BaseModel], keys: Path_) -> type[BaseModel] | None:
    """The config's model at a key path; None where the path leads into plain values."""
    model: type[BaseModel] | None = root
    for key in keys:
        if model is None:
            return None
        if key not in model.model_fields:
            continue  # a name chosen by the user, as in `settings.excitation_power`
        model = _inner_model(model.model_fields[str(key)].annotation)
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        if (model := _inner_model(part)) is not None:
            return model
    return None


def _known_keys(root: type[BaseModel], keys: Path_) -> list[str]:
    model = _model_at(root, keys)
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _description(root: type[BaseModel], keys: Path_) -> str:
    """What the innermost key that the config knows by name is about."""
    while keys:
        model = _model_at(root, keys[:-1])
        field = _field(model, keys[-1]) if model else None
        if field is not None:
            return field.description or ""
        keys = keys[:-1]
    return ""


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    """A model's field by the name that it has in the file."""
    for name, field in model.model_fields.items():
        if key == (field.alias or name):
            return field
    return None
