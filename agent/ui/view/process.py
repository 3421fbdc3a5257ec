"""The view in a process of its own, beside a session that it neither waits for nor dies with.

    python -m agent.ui.view.process < JSON of folder and place      prints JSON of the links, once

It continues when the run is over, or was killed, and ends when no page has asked for a while.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.config.reading import UserError
from agent.ui.web.access import Place
from devices.extras import install

_NICER = 10
_START_S = 60.0
_LINGER_S = 900.0
"""Time without a request, after the run's end, after which it ends (s)."""
_ALONE_S = 20.0
"""The same where there is no run, and no process that could begin it."""
_LOOK_EVERY_S = 5.0


class ViewProcess:
    """A view that is being started; make it early, as both processes take a while to begin.

    Parameters
    ----------
    folder
        The run's.
    place
        Where its pages are served.

    Raises
    ------
    UserError
        It may not be served there, or the extra is not installed.
    """

    def __init__(self, folder: Path, place: Place) -> None:
        check_installed("--view")
        place.check()
        asked = {"folder": str(folder.absolute()), "place": _as_dict(place)}
        # A session of its own: Ctrl-C in the terminal is for the run.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "agent.ui.view.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(asked))
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def links(self) -> dict[str, str]:
        """Addresses of the pages, `control` and `read`; waits until they can be opened.

        Raises
        ------
        UserError
            It could not be started.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._process.stdout.close()
        try:
            told = json.loads(line)
        except ValueError:
            told = {"error": f"its process ended, with exit code {self._process.wait(_START_S)}"}
        if "error" in told:
            raise UserError(f"--view: {told['error']}")
        return {"control": told["control"], "read": told["read"]}

    def end(self) -> None:
        """End it now."""
        self._process.terminate()
        self._process.wait(_START_S)


def check_installed(what: str) -> None:
    """Make sure that the extra is there.

    Raises
    ------
    UserError
        It is not.
    """
    if find_spec("aiohttp") is None:
        raise UserError(f"{what}: needs aiohttp, which is not installed: {install('view')}")


def _as_dict(place: Place) -> dict[str, Any]:
    files = {"certificate": place.certificate, "key": place.key}
    named = {name: str(file.absolute()) if file else None for name, file in files.items()}
    return {
        "host": place.host,
        "port": place.port,
        "allow_plain": place.allow_plain,
        **named,
    }


def _place(told: dict[str, Any]) -> Place:
    files = {name: Path(told[name]) if told[name] else None for name in ("certificate", "key")}
    return Place(told["host"], told["port"], allow_plain=told["allow_plain"], **files)


def main() -> None:
    """What the other process does."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICER)
    asked = json.loads(sys.stdin.read())
    parent = os.getppid()
    from agent.ui.view.site import RunSite
    from agent.ui.web.server import Links

    try:
        site = RunSite(Path(asked["folder"]), _place(asked["place"]))
    except UserError as error:
        _announce({"error": str(error)})
        return
    looked = time.monotonic()

    def go_on() -> bool:
        nonlocal looked
        now = time.monotonic()
        if now - looked < _LOOK_EVERY_S:
            return True
        looked = now
        site.reader.refresh()
        idle = now - site.asked_at
        if site.reader.phase == "waiting":
            return os.getppid() == parent or idle < _ALONE_S
        return not site.reader.over or idle < _LINGER_S

    def begun(links: Links) -> None:
        _announce({"control": links.control, "read": links.read})

    try:
        site.serve(begun, go_on)
    except UserError as error:
        _announce({"error": str(error)})


def _announce(told: dict[str, str]) -> None:
    """Print it for the process that started this one, which may have ended."""
    with suppress(OSError, ValueError):
        print(json.dumps(told), flush=True)
        # Later output is not read.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    main()
