"""Options that several commands take together, each group one argument of theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, get_type_hints


@dataclass(frozen=True, slots=True)
class Group:
    """A group of options: a dataclass whose fields are annotated as a command's parameters are."""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer: in place of each `Group` among its parameters stand the group's options.

    Parameters
    ----------
    command
        Called with the groups.
    """
    groups, shown = {}, []
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not (isinstance(kind, type) and issubclass(kind, Group)):
            shown.append((name, kind, parameter.default))
            continue
        groups[name] = kind
        options = get_type_hints(kind, include_extras=True)
        shown += [(own.name, options[own.name], own.default) for own in fields(kind)]

    @wraps(command)
    def unfolded(**given: Any) -> None:
        made = {
            name: kind(**{own.name: given.pop(own.name) for own in fields(kind)})
            for name, kind in groups.items()
        }
        command(**given, **made)

    keyword = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, kind, default in shown
        ]
    )
    unfolded.__dict__["__signature__"] = signature
    unfolded.__annotations__ = {name: kind for name, kind, _ in shown}
    return unfolded
