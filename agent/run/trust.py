"""Whether a run folder may load the code that its config names: not if another user made it.

A config names Python classes, plans and Micro-Manager configurations that are loaded with it, so
that to continue a run is to run its code. A run that was begun by this user on this machine may:
its config is signed at its birth, with a key that only this user has. Any other run, and one whose
config was changed since, has to be trusted once (`--trust`), and is signed then.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.folder import CONFIG, read_config

FILE = "signature"
_BYTES = 32
"""Length of the secret key that run folders are signed with (bytes)."""


def code_of(config: RunConfig) -> list[str]:
    """The names in a config that may load code of its author's own."""
    scope = config.microscope
    named = [device.class_ for device in scope.python_devices.values()]
    named += [own.name for own in config.own.values()]
    if config.filter is not None and config.filter.trust:
        named.append(config.filter.model)
    return named if scope.cfg is None or scope.cfg == "demo" else [scope.cfg, *named]


def sign(folder: Path) -> None:
    """Say that a run was begun here; where that cannot be written, it is asked for later."""
    with suppress(OSError):
        (folder / FILE).write_text(_signature(folder, _key()), encoding="ascii")


def check_trusted(folder: Path, config: RunConfig, *, trust: bool) -> None:
    """Make sure that what a run's config names may be loaded.

    Parameters
    ----------
    folder, config
        The run's.
    trust
        The user says so; from now on this run may.

    Raises
    ------
    UserError
        The run was not begun by this user on this machine, or its config was changed since.
    """
    named = code_of(config)
    if not named or _is_signed(folder):
        return
    if trust:
        sign(folder)
        return
    raise UserError(
        f"{folder / CONFIG}: loads {', '.join(named)}, and was not written by you on this machine, "
        "or changed since; look at what that is, then say --trust"
    )


def read_trusted(folder: Path, *, trust: bool) -> RunConfig:
    """The config of a run that is to be resumed or replayed, with the code of its plan.

    Raises
    ------
    UserError
        Code that it names may not be loaded, or cannot be.
    """
    config = read_config(folder)
    check_trusted(folder, config, trust=trust)
    return read_config(folder, code=True) if config.own else config


def _is_signed(folder: Path) -> bool:
    try:
        with (folder / FILE).open("rb") as file:
            found = file.read(200)
        return hmac.compare_digest(found.strip(), _signature(folder, _key()).encode("ascii"))
    except OSError:
        return False


def _signature(folder: Path, key: bytes) -> str:
    return hmac.new(key, (folder / CONFIG).read_bytes(), hashlib.sha256).hexdigest()


def _key() -> bytes:
    """The key of this user on this machine; made when it is first needed."""
    file = user_state_path("stedfast") / "key"
    with suppress(FileNotFoundError):
        return _read(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        made = os.open(file, flags, 0o600)
        try:
            os.write(made, os.urandom(_BYTES))
        finally:
            os.close(made)
    return _read(file)


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _BYTES:
        raise OSError(f"{file}: is no key")
    return key
