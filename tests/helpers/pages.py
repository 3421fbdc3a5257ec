"""Pages that are served in a thread of the test."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.ui.web.access import Place

pytest.importorskip("aiohttp")

from agent.ui.view.site import RunSite
from agent.ui.web.server import Links, Site


@contextmanager
def served(site: Site) -> Iterator[Links]:
    """A site that answers while the context lasts."""
    ready, over = threading.Event(), threading.Event()
    links: list[Links] = []

    def begun(found: Links) -> None:
        links.append(found)
        ready.set()

    whole = (begun, lambda: not over.is_set())
    thread = threading.Thread(target=site.serve, args=whole, daemon=True)
    thread.start()
    try:
        assert ready.wait(240)
        yield links[0]
    finally:
        over.set()
        thread.join(240)
        assert not thread.is_alive(), "the pages are still served"


@contextmanager
def run_pages(folder: Path) -> Iterator[tuple[RunSite, Links]]:
    """The pages of a run."""
    site = RunSite(folder, Place(port=0))
    with served(site) as links:
        yield site, links


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
    connection = http.client.HTTPConnection(host, timeout=120)
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
