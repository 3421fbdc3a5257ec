"""Messages of a run, sent beside it: the acquisition never waits for a network."""

from __future__ import annotations

import logging
import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from agent.config.notify import NotifyConfig, expanded, web_address
from agent.plan import FOCUS as SOUGHT
from agent.record.recording import FOCUS
from devices.extras import install

_TIMEOUT_S = 15.0
"""How long a target, or a monitor, has to take a message (s)."""
_LAST_S = 20.0
"""How long the end of a run waits for its last message (s)."""
_TICK_S = 0.5
"""Longest wait for a message before a heartbeat is looked at (s)."""
_LOOK_S = 0.05
"""Time between two looks at whether the last message is worth waiting for (s)."""
_ALIVE_S = 10.0
"""Age of a sign of life of the session at which its heartbeat ceases (s)."""
_LONGEST = 600
"""Letters of a message at most; chosen: a phone shows them."""

NOTIFY = "notify"
"""Part of a fault: a message did not leave."""
Send = Callable[[str, str], None]
"""Takes title and text of a message; raises where an address did not get it."""


def targets(config: NotifyConfig) -> Send:
    """What sends a message to all addresses of a config, if there are any.

    Raises
    ------
    ValueError
        An address is none, its variable is not set, or Apprise is not installed; says which, but
        not what it is: it may hold a password.
    """
    if not config.to:
        return lambda title, text: None
    try:
        import apprise
    except ModuleNotFoundError:
        raise ValueError(f"needs Apprise: {install('notify')}") from None
    # What it has to say to a log is told as a fault.
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    everybody = apprise.Apprise()
    for address in config.to:
        if not everybody.add(expanded(address)):
            named = address if address.startswith("$") else address.partition("://")[0]
            raise ValueError(f"{named!r} is no address that Apprise knows")

    def send(title: str, text: str) -> None:
        results: list[bool] = []
        # Some of its services have no time limit of their own.
        worker = threading.Thread(
            target=lambda: results.append(bool(everybody.notify(title=title, body=text))),
            name="message",
            daemon=True,
        )
        worker.start()
        worker.join(_TIMEOUT_S)
        if results != [True]:
            why = "was refused" if results else f"did not leave in {_TIMEOUT_S:g} s"
            raise OSError(f"a message {why}: {title}")

    return send


class Notifier:
    """Sends what a run has to tell, in a thread of its own, each kind of thing once.

    Parameters
    ----------
    config
        Whom to tell what.
    run
        Name of the run.
    send
        Sends a message.
    failed
        Called with why a message did not leave, once; from the notifier's thread.
    """

    def __init__(
        self, config: NotifyConfig, run: str, send: Send, failed: Callable[[str], None]
    ) -> None:
        self._config, self._run, self._send = config, run, send
        self._failed: Callable[[str], None] | None = failed
        self._told: set[str] = set()
        self._messages: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._alive = time.monotonic()
        self._next_beat = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._thread.start()

    def hear(self, kind: str, data: dict[str, Any]) -> None:
        """Take an entry of the ledger, as a listener of its journal."""
        for topic, key, title, text in _news(kind, data):
            if topic in self._config.about and key not in self._told:
                self._told.add(key)
                self._messages.put((f"{self._run}: {title}", _short(text)))

    def pulse(self) -> None:
        """Give a sign of life of the session."""
        self._alive = time.monotonic()

    def close(self, go_on: Callable[[], bool] = lambda: True) -> None:
        """Wait for what is still to be sent, but not long, and only while `go_on` says so."""
        self._messages.put(None)
        end = time.monotonic() + _LAST_S
        while self._thread.is_alive() and time.monotonic() < end and go_on():
            self._thread.join(_LOOK_S)

    def _work(self) -> None:
        while True:
            try:
                message = self._messages.get(timeout=_TICK_S)
            except queue.Empty:
                self._beat()
                continue
            if message is None:
                return
            self._try(partial(self._send, *message))

    def _beat(self) -> None:
        address, now = self._config.heartbeat, time.monotonic()
        if address is None or now < self._next_beat or now - self._alive > _ALIVE_S:
            return
        self._next_beat = now + self._config.heartbeat_s
        self._try(partial(_ask, address))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # of any service
            if self._failed is not None:
                failed, self._failed = self._failed, None
                with suppress(Exception):
                    failed(str(error) or type(error).__name__)


def _ask(address: str) -> None:
    try:
        with urllib.request.urlopen(web_address(address), timeout=_TIMEOUT_S) as answer:
            answer.read(1)
    except Exception as error:  # its own words may have the address, which may hold a password
        raise OSError(f"a heartbeat was not taken: {type(error).__name__}") from error


def _news(kind: str, data: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What an entry has for a person: topic, its kind of thing, title and text."""
    if kind == "end":
        return [("end", "end", data["status"], data["reason"])]
    part = data.get("part")
    if kind == "fault" and data["policy"] != "stop" and part != NOTIFY:  # the end tells of stops
        if part == FOCUS:
            return [("focus", "focus", "focus lost", data["what"])]
        title = f"fault, {data['policy']}"
        return [("fault", f"{part} {data['policy']}", title, data["what"])]
    if kind == "clock" and data["event"] == "sleep":
        return [("fault", "sleep", "fault, go on", data["what"])]
    if kind == "note" and data["topic"] == SOUGHT and not data["data"]["found"]:
        return [("focus", "focus", "focus lost", "a search for the focus found none")]
    return []


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
