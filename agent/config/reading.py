"""Reading a YAML file as a checked model, with errors that say what to change.

Anything that cannot be used raises `UserError`, whose message names file, line, key, the value
found and what is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.config import plain_yaml
from agent.config.explaining import Path_, explain, where
from agent.config.plain_yaml import YamlError
from devices.refusals import did_you_mean, shortened

Checked = TypeVar("Checked", bound=BaseModel)
_MAX_BYTES = 4 * plain_yaml.MAX_CHARACTERS


class UserError(ValueError):
    """A config that cannot be used; the message is complete and fits in three lines."""


def read_checked(
    path: Path,
    kind: type[Checked],
    overrides: Sequence[str] = (),
    settle: Callable[[dict[str, Any], Path], None] = lambda data, base: None,
    model: Callable[[dict[str, Any]], type[Checked]] | None = None,
) -> Checked:
    """Read a YAML file as one `kind` of config.

    Parameters
    ----------
    path
        YAML file.
    kind
        Model that the file must fit.
    overrides
        `key.path=value` pairs laid over it, values read as YAML.
    settle
        Makes the paths in a config's data absolute, in place: those of the file from its folder,
        those of an override from where the command is given.
    model
        Says from a config's data which model they must fit, if not `kind`.

    Raises
    ------
    UserError
        The file cannot be read or is no valid config.
    """
    try:
        data, node = plain_yaml.read_with_nodes(read_text(path))
    except YamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise UserError(f"{path}{line}: not valid YAML: {error}") from None
    if data is None:
        raise UserError(f"{path}: empty; a config needs at least {_needed(kind)}")
    if not isinstance(data, dict):
        raise UserError(
            f"{path}: {shortened(data)} is not a config; keys like {_needed(kind, colon=':')} are"
        )
    settle(data, path.parent)
    for override in overrides:
        _lay_over(data, override, settle)
    if model is not None:
        kind = model(data)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(explain(error, kind, path, data, node, overrides)) from None


def _needed(kind: type[BaseModel], colon: str = "") -> str:
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    return " and ".join(f"`{name}{colon}`" for name in needed or list(kind.model_fields)[:2])


def read_text(path: Path) -> str:
    """Text of a file; `UserError` if it is missing, a folder, not text or too long."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise UserError(f"{path}: larger than {_MAX_BYTES / 1e6:g} MB, no config is")
        return raw.decode("utf-8-sig")
    except FileNotFoundError:
        hint = did_you_mean(path.name, _siblings(path), quote="")
        raise UserError(f"{path}: no such file{hint}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder, a YAML file is needed") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file, a YAML file is needed") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _lay_over(
    data: dict[str, Any], override: str, settle: Callable[[dict[str, Any], Path], None]
) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override}: not key=value, like optimize.trials=12")
    try:
        value = plain_yaml.read(text)
    except YamlError as error:
        raise UserError(f"--set {override}: not a YAML value: {error}") from None
    *parents, last = key.split(".")
    alone: dict[str, Any] = {last: value}
    whole = alone
    for parent in reversed(parents):
        whole = {parent: whole}
    settle(whole, Path())
    place = data
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {override}: `{parent}` has no keys, it is {shortened(inner)}")
        place = inner
    place[last] = alone[last]


# ---------------------------------------------------------------------- errors


def noted(error: UserError, cause: BaseException) -> UserError:
    """The error, with the notes on its cause."""
    for note in getattr(cause, "__notes__", ()):
        error.add_note(note)
    return error


def located(path: Path, keys: Path_, message: str) -> UserError:
    """A `UserError` about one key of a file, with the line it stands in.

    A message that begins with the name of that key, as those of `models` do, need not say it again.
    """
    if keys:
        message = message.removeprefix(f"{keys[-1]}: ")
    try:
        _, node = plain_yaml.read_with_nodes(read_text(path))
    except (UserError, YamlError):
        node = None
    return UserError(f"{where(path, node, keys)}: {message}")
