"""A config as the plain data that it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def as_data(config: BaseModel) -> dict[str, Any]:
    """A config as plain data, without absent values; `load` reads it back as the same config."""
    return {
        field.alias or name: _as_data(getattr(config, name))
        for name, field in type(config).model_fields.items()
        if not (field.default is None and getattr(config, name) is None)
    } | (config.model_extra or {})


def _as_data(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return as_data(value)
    if isinstance(value, Mapping):
        return {key: _as_data(inner) for key, inner in value.items()}
    return [_as_data(inner) for inner in value] if isinstance(value, tuple | list) else value
