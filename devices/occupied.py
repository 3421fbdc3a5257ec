"""One microscope, one session: the process that opens one holds it until it is let go.

A microscope is known by its `.cfg`, by the host of its Imspector, and by its Python devices with
their options. Simulated and
recorded devices are each session's own. The system lets go of a lock when its process ends, in any
way.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from getpass import getuser
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_state_path

from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.modules import module_named

STATE = "STEDFAST_STATE"
"""Environment variable: the folder for locks; for one that several people's sessions share."""
_EVERYBODYS = 0o666
"""Permissions of a lock's file: all people of a shared folder can take the lock."""
_HERE = ("", "localhost", "127.0.0.1", "::1")


class Occupied(BindingError):
    """Another session has the microscope open."""


def occupy(config: MicroscopeConfig, base: Path) -> ExitStack:
    """Take a config's microscope for this process; closing what is returned lets go of it.

    Parameters
    ----------
    config
        The `microscope` section.
    base
        Folder that relative paths in it start from.

    Raises
    ------
    Occupied
        Another session has it open; says which.
    """
    taken = ExitStack()
    try:
        for at, what in _parts(config, base):
            key = hashlib.sha256(what.encode()).hexdigest()[:20]
            taken.callback(_take(_folder() / f"{key}.lock", at).release)
    except BaseException:
        taken.close()
        raise
    return taken


def _parts(config: MicroscopeConfig, base: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    """The parts that all sessions of this microscope share, and their places in the config."""
    if config.cfg is not None and config.cfg != "demo":
        yield ("cfg",), f"cfg {os.path.realpath(base / config.cfg)}"
    if config.imspector is not None:
        # Names of this computer are one, and only one measurement is scanned at a time.
        host = config.imspector.host.lower()
        yield ("imspector",), f"imspector {'' if host in _HERE else host}"
    alike: Counter[str] = Counter()
    for label, device in config.python_devices.items():
        module, _, name = device.class_.partition(":")
        place = module
        with suppress(Exception):  # its error is reported when it is loaded
            class_ = getattr(module_named(module, config.modules or base), name)
            place = os.path.realpath(inspect.getfile(class_))
        options = json.dumps(device.options, sort_keys=True, default=str)
        what = f"python {place} {name} {options}"
        alike[what] += 1  # two lasers of one make on one microscope
        yield ("python_devices", label), f"{what} {alike[what]}"


def _take(file: Path, at: tuple[str, ...]) -> FileLock:
    lock = FileLock(file, mode=_EVERYBODYS)
    # Taking a lock empties its file.
    who = file.with_suffix(".json")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Occupied(at, f"is in use by {_told(who)}; one session at a time") from None
    with suppress(OSError):
        who.unlink(missing_ok=True)  # another person's could not be written over
        about = {
            "pid": os.getpid(),
            "since": datetime.now().isoformat(" ", "seconds"),
            "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "folder": str(Path.cwd()),
        }
        who.write_text(json.dumps(about), encoding="utf-8")
    return lock


def _told(who: Path) -> str:
    """The holder of a lock, by its own account."""
    try:
        about = json.loads(who.read_text(encoding="utf-8"))
        return (
            f"process {about['pid']} since {about['since']} "
            f"(`{about['command']}` in {about['folder']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _folder() -> Path:
    """Where the locks of this user are."""
    named = os.environ.get(STATE)
    places = [Path(named) if named else user_state_path("stedfast") / "microscopes"]
    if not named:
        places.append(Path(tempfile.gettempdir()) / f"stedfast-{getuser()}")
    for place in places:
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    raise BindingError(
        (), f"{places[-1]}: cannot be written, so that it cannot be locked; see {STATE}"
    )
