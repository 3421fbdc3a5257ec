"""Fixtures for the devices of an Abberior microscope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.imspector import Serve


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Sets a double of Imspector's server up, which the driver connects to."""
    pytest.importorskip("specpy")
    from agent.bench.imspector.client import specpy_of
    from agent.bench.imspector.server import FakeImspector

    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path / "state"))
    servers = []
    with ExitStack() as open_:

        def begin(**options: Any) -> FakeImspector:
            server = FakeImspector(**options)
            servers.append(server)
            open_.enter_context(specpy_of(server))
            return server

        yield begin
        for server in servers:
            server.free.set()
