"""Config of messages: who is told what of a run that is not watched."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field, field_validator

from devices.config import Model

Topic = Literal["end", "fault", "focus"]
"""The end of a session, a fault that it goes on after, a focus that was not found or not held."""


_WEB = ("http://", "https://")


class NotifyConfig(Model):
    """Messages to phones and mailboxes, and a sign of life for monitors."""

    to: tuple[str, ...] = Field(
        (),
        description="addresses as Apprise writes them (`ntfy://TOPIC`, `mailto://…`, `tgram://…`); "
        "`$NAME` is read from the environment, so that no password is in the config",
    )
    about: tuple[Topic, ...] = Field(
        ("end", "fault", "focus"), description="what is told, each kind of fault once"
    )
    heartbeat: str | None = Field(
        None, description="address that is asked for while the run works, for monitors; or `$NAME`"
    )
    heartbeat_s: float = Field(300.0, ge=1, description="time between two of them")

    @field_validator("heartbeat")
    @classmethod
    def _is_web_address(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("$", *_WEB)):
            raise ValueError(f"{address!r}; accepted: an address of http or https, or $NAME")
        return address


def expanded(address: str) -> str:
    """An address, from the environment where it is `$NAME`.

    Raises
    ------
    ValueError
        The environment has no such variable.

    Examples
    --------
    >>> expanded("ntfy://my-microscope")
    'ntfy://my-microscope'
    """
    if not address.startswith("$"):
        return address
    if not (found := os.environ.get(address[1:])):
        raise ValueError(f"{address}: the environment has no variable of this name")
    return found


def web_address(address: str) -> str:
    """The same of a heartbeat's address.

    Raises
    ------
    ValueError
        There is no such variable, or it holds no address of the web.
    """
    if not (found := expanded(address)).startswith(_WEB):
        raise ValueError(f"{address}: holds no address of http or https")
    return found
