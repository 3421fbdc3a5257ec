"""Configs drawn at random, as their models describe them.

Every key of a model is drawn, so that a new one needs no line here. Most draws do not fit
together; `configs` keeps those that are accepted.
"""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from agent.config import RunConfig, plain_yaml

TEXTS = (
    *("red", "far red", "1e2", "1:30", "010", "0x1F", "yes", "null", "~", "=", "", " "),
    *("2020-01-01", "Power [mW]", "State [/]", ":x:", "µm", "a: b", "# x", "'", '"', "- a", "*a"),
    *("&a", "!a", "%", "%a", "{}", "[", "a\nb", "a\rb", "a\x85b", "\u2028", "\ufeff", "\x07"),
    *("é" * 90, "…" * 200),
)
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 8, 24, 100, -0.0),
    *(1e-9, 1e-3, 0.1, 0.5, 2.5, 1e2, 1e6, 1234567.0, 1e300),
)
_TRIES = 40


def configs(seed: int) -> Iterator[tuple[dict[str, Any], RunConfig]]:
    """Accepted configs without end, each as data and as a model."""
    rng = np.random.default_rng(seed)
    bases = [*_shipped(), _rich()]
    while True:
        data = copy.deepcopy(bases[rng.integers(len(bases))])
        found = RunConfig.model_validate(data)
        wanted = int(rng.integers(1, 9))
        for _ in range(_TRIES):
            tried = copy.deepcopy(data)
            _redraw(tried, RunConfig, rng)
            try:
                found, data = RunConfig.model_validate(tried), tried
            except ValidationError:
                continue
            wanted -= 1
            if not wanted:
                break
        yield data, found


@cache
def _shipped() -> list[dict[str, Any]]:
    folder = Path(__file__).parents[3] / "configs"
    return [plain_yaml.read(file.read_text("utf-8")) for file in sorted(folder.glob("*.yaml"))]


def _rich() -> dict[str, Any]:
    """A config that has of everything, so that there is much to redraw."""
    laser = {"device": "Laser", "property": "Power", "unit": "mW", "range": [0, 300]}
    return {
        "plan": "optimize",
        "analysis": {"score": True},
        "filter": {"model": "actin"},
        "dose": {"budget_J": {"one": 1.0}},
        "optimize": {
            "trials": 3,
            "retest_fields": 1,
            "search": {"one": [1, 200], "which": ["a", "1e2"]},
            "begin_with": [{"one": 30}, {"which": "1e2"}],
        },
        "microscope": {
            "python_devices": {"Laser": {"class": "lasers:Laser", "options": {"line_nm": 640}}},
            "properties": [["Camera", "Gain", 3]],
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 10},
            "fields": {"rows": 5, "columns": 5},
            "settings": {
                "line": {
                    "group": "Laser line",
                    "choices": ["640 nm", "1e2", 405],
                    "start": 405,
                    "safe": "off",
                    "watts": {"640 nm": {"red": 1e-5}, "1e2": {"red": 2e-5, "blue": 3.0}, 405: {}},
                },
                "one": {**laser, "start": 3, "safe": 0, "laser": "one"},
                "which": {
                    "device": "Wheel",
                    "property": "Label",
                    "kind": "choice",
                    "choices": ["a", "1e2", "yes", 3],
                    "start": "a",
                },
            },
            "modes": {"sted": {}, "confocal": {"one": 1}},
        },
    }


def _redraw(data: dict[str, Any], model: type[BaseModel], rng: np.random.Generator) -> None:
    """Draw one value of a config again, in place; its place is drawn, too."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    fields.pop("provenance", None)
    names = [name for name in fields if name in data and rng.random() < 0.7] or list(fields)
    name = names[rng.integers(len(names))]
    field = fields[name]
    inner, inside = _model_in(field.annotation), data.get(name)
    if inner is not None and isinstance(inside, dict) and inside and rng.random() < 0.9:
        if _is_mapping(field.annotation):
            inside = inside[list(inside)[rng.integers(len(inside))]]
        if isinstance(inside, dict):
            return _redraw(inside, inner, rng)
    if name in data and not field.is_required() and rng.random() < 0.1:
        del data[name]
    else:
        data[name] = _drawn(field.annotation, rng, field)
    return None


def _drawn(
    kind: Any, rng: np.random.Generator, field: FieldInfo | None = None, deep: int = 0
) -> Any:
    """A value of an annotation; mostly, but not always, an accepted one."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _drawn(parts[0], rng, field, deep)
    if origin in (typing.Union, types.UnionType):
        return _drawn(parts[rng.integers(len(parts))], rng, field, deep)
    if origin is Literal:
        return parts[rng.integers(len(parts))]
    if origin is dict:
        return {_name(rng): _drawn(parts[1], rng, None, deep + 1) for _ in range(rng.integers(4))}
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return [_drawn(parts[0], rng, None, deep + 1) for _ in range(rng.integers(4))]
        values = [_drawn(part, rng, None, deep + 1) for part in parts]
        numbers = all(isinstance(value, int | float) for value in values)
        return sorted(values) if numbers else values
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {
            inner.alias or name: _drawn(inner.annotation, rng, inner, deep + 1)
            for name, inner in kind.model_fields.items()
            if inner.is_required() or rng.random() < 0.5
        }
    if kind is bool:
        return bool(rng.integers(2))
    if kind in (int, float):
        return _number(kind, rng, field)
    if kind is type(None):
        return None
    if kind is Any and deep < 4:
        some = (str, float, int, bool, type(None), dict[str, Any], tuple[Any, ...])
        return _drawn(some[rng.integers(len(some))], rng, None, deep + 1)
    return _name(rng)


def _number(kind: type, rng: np.random.Generator, field: FieldInfo | None) -> float | int:
    limits = {type(one).__name__: one for one in (field.metadata if field else ())}
    edges = [
        getattr(limits[name], name.lower()) for name in ("Ge", "Le", "Gt", "Lt") if name in limits
    ]
    low, high = (edges[0], edges[-1]) if len(edges) > 1 else (None, None)
    if low is not None and rng.random() < 0.5:
        value = float(low + (high - low) * rng.random())
    else:
        some = (*NUMBERS, *edges)
        value = some[rng.integers(len(some))]
    return round(value) if kind is int and abs(value) < 1e9 else value


def _name(rng: np.random.Generator) -> str:
    return TEXTS[rng.integers(len(TEXTS))]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _is_mapping(annotation: Any) -> bool:
    return typing.get_origin(annotation) is dict
