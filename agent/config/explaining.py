"""What is wrong with a value of a config, where it stands, and what is accepted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from devices.refusals import did_you_mean, refused, unknown

Path_ = tuple[str | int, ...]


def explain(
    error: ValidationError,
    root: type[BaseModel],
    path: Path,
    data: Any,
    node: yaml.Node | None,
    overrides: Sequence[str],
) -> str:
    """What pydantic refuses, in words that say where it is, and what would be accepted."""
    found = error.errors(include_url=False)
    # One cause often fails several branches of a union; the first names the key best.
    first = min(found, key=lambda entry: entry["type"] != "extra_forbidden")
    keys = _keys(first, data)
    text = _what(first, root, keys)
    # A check across keys starts its message with the key it is about.
    if first["type"] == "value_error" and (about := re.match(r"`([\w.]+)`: ", text)):
        keys = (*keys, *about[1].split("."))
        text = text[about.end() :]
    # A line of the file is not where a value comes from that was laid over it.
    typed = [tuple(override.partition("=")[0].split(".")) for override in overrides]
    laid = any(_within(tuple(map(str, keys)), over) for over in typed)
    lines = [f"{where(path, None if laid else node, keys)}: {text}"]
    others = {_keys(entry, data) for entry in found}
    # The branches of a union all complain, each about its own part of the same value.
    others = {other for other in others if not _within(other, keys) and not _within(keys, other)}
    if others:
        named = ", ".join(sorted(".".join(map(str, other)) for other in others)[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        lines.append(f"also wrong: {named}{more}")
    if overrides:
        lines.append("with " + " ".join(f"--set {override}" for override in overrides))
    return "\n".join(lines[:3])


def _within(keys: Path_, outer: Path_) -> bool:
    return keys[: len(outer)] == outer


def _keys(error: Any, data: Any) -> Path_:
    """Where in a config's data an error is.

    Pydantic puts the names of a union's branches into its path, too: what the data do not have
    is none of their keys, but for the one that is missing.
    """
    keys: list[str | int] = []
    place = data
    for key in error["loc"]:
        held = isinstance(place, list) and isinstance(key, int) and key < len(place)
        if held or (isinstance(place, dict) and key in place):
            place = place[key]
            keys.append(key)
    if error["type"] == "missing":
        keys.append(error["loc"][-1])
    return tuple(keys)


def _what(error: Any, root: type[BaseModel], keys: Path_) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(root, keys[:-1])
        return unknown(keys[-1], known)
    if kind == "missing":
        return "missing" + (f"; {about}" if (about := _description(root, keys)) else "")
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        words = str(context["expected"])
        return refused(value, words) + did_you_mean(value, re.findall("'(.*?)'", words))
    about = _description(root, keys)
    about = f" ({about})" if about else ""
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        names = ", ".join(_known_keys(root, keys))
        return refused(value, f"keys with values{about}" + (f": {names}" if names else ""))
    if kind in ("tuple_type", "list_type"):
        return refused(value, f"a list{about}")
    if kind == "string_pattern_mismatch":
        return refused(value, _description(root, keys) or context["pattern"])
    return refused(value, f"{wanted(error['msg'])}{about}")


def wanted(message: str) -> str:
    """What pydantic accepts, of what it says: `Input should be greater than 0`."""
    accepted = re.sub(r"^[A-Z]\w+ should (be |have )?", "", message)
    # What it found instead is said already.
    return re.sub(r"(, (unable to|got)| after validation, not) .*$", "", accepted)


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


def where(path: Path, node: yaml.Node | None, keys: Path_) -> str:
    """File, line and key of a value."""
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
