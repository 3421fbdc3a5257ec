"""Pages that are served in a thread of the test."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.session import Progress, Session
from agent.web.access import Place
from devices.microscope import Microscope
from tests.runs import checked

pytest.importorskip("aiohttp")

from agent.view.site import RunSite
from agent.web.serving import Links, Site


def until(happens: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


@contextmanager
def served(site: Site) -> Iterator[Links]:
    """A site that answers while the context lasts."""
    ready, over = threading.Event(), threading.Event()
    links: list[Links] = []

    def begun(found: Links) -> None:
        links.append(found)
        ready.set()

    thread = threading.Thread(target=site.serve, args=(begun, lambda: not over.is_set()))
    thread.start()
    try:
        assert ready.wait(20)
        yield links[0]
    finally:
        over.set()
        thread.join(20)


@contextmanager
def run_pages(folder: Path) -> Iterator[tuple[RunSite, Links]]:
    """The pages of a run."""
    site = RunSite(folder, Place(port=0))
    with served(site) as links:
        yield site, links


class Work:
    """A session in a thread, which a test watches and tells things."""

    def __init__(self, tmp_path: Path, scorer: Any = None, **parts: Any) -> None:
        config, file, self.run = checked(tmp_path, **parts)
        self.microscope = Microscope.open(config.microscope, base=tmp_path)
        self.session = Session(config, file, self.run, microscope=self.microscope, scorer=scorer)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.result: Any = None

    def start(self) -> Work:
        self.thread.start()
        return self

    def _work(self) -> None:
        self.result = self.session.run()

    @property
    def progress(self) -> Progress:
        return self.session.progress

    def ended(self) -> Any:
        self.thread.join(40)
        assert not self.thread.is_alive()
        return self.result


def ask(
    links: Links | str,
    path: str,
    *,
    method: str = "GET",
    token: str | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any, dict[str, str]]:
    """One request by hand: status, JSON or bytes, headers."""
    address, _, own = (links if isinstance(links, str) else links.control).partition("/#")
    host = address.split("//")[1]
    connection = http.client.HTTPConnection(host, timeout=20)
    told = {"Authorization": f"Bearer {own if token is None else token}"}
    if method == "POST":
        told |= {"Origin": address, "Content-Type": "application/json"}
    told |= headers or {}
    told = {name: value for name, value in told.items() if value}
    text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    try:
        connection.request(method, path, text, told)
        answer = connection.getresponse()
        data = answer.read()
        kind = answer.headers.get_content_type()
        found = json.loads(data) if kind == "application/json" and data else data
        return answer.status, found, {k.lower(): v for k, v in answer.headers.items()}
    finally:
        connection.close()
