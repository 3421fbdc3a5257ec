"""The server of a page: it starts, says where, and ends."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from aiohttp import web

from agent.config.reading import UserError
from agent.ui.web.access import PORT, Place, Tokens
from agent.ui.web.doorway import HANDSHAKE_S, Doorway
from agent.ui.web.guard import MOST_BYTES, Handler, RequestGuard
from agent.ui.web.refusal_log import Refusals

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_TICK_S = 0.5
_LET_GO_S = 1.0
_LINGER_S = 2.0
_HEADER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page is to be found.

    Attributes
    ----------
    control, read
        Addresses with the token that may act, and with the one to share, that may look.
    """

    control: str
    read: str


class Site:
    """A page: its files, what it answers, and who may ask.

    Parameters
    ----------
    place
        Where it is served.
    log
        File for what is refused.
    files
        Name in an address → (package, file in its folder `static`); nothing else is served.
    """

    def __init__(self, place: Place, log: Path, files: Mapping[str, tuple[str, str]]) -> None:
        self.place = place.check()
        self.tokens = Tokens()
        self.refusals = Refusals(log)
        self.guard = RequestGuard(place, self.tokens, self.refusals)
        self.asked_at = time.monotonic()
        """When the last request came (monotonic s)."""
        self._doorway: Doorway | None = None
        middlewares = [self._hear, self.guard.middleware]
        self.app = web.Application(middlewares=middlewares, client_max_size=MOST_BYTES)
        for name, (package, file) in files.items():
            self.app.router.add_get(name, self._file(package, file))
        self._port = 0

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._doorway) if self._doorway is not None else 0

    @property
    def links(self) -> Links:
        """Known once it is served."""
        base = f"{self.place.scheme}://{self.place.named}:{self._port}/#"
        return Links(base + self.tokens.control, base + self.tokens.read)

    def _file(self, package: str, file: str) -> Handler:
        # Read once, so that a request's path never meets the disk.
        body = (resources.files(package) / "static" / file).read_bytes()
        kind = _TYPES[Path(file).suffix]

        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=body, content_type=kind, charset="utf-8")

        return answer

    @web.middleware
    async def _hear(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._doorway is not None:
            self._doorway.heard(request)
        return await handler(request)

    def serve(
        self,
        begun: Callable[[Links], None],
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """Serve until Ctrl-C, or until `go_on` says no.

        Parameters
        ----------
        begun
            Called once, when pages can be opened.
        go_on
            Asked twice a second.

        Raises
        ------
        UserError
            The address cannot be listened on.
        """
        with suppress(KeyboardInterrupt):
            asyncio.run(self._serve(begun, go_on))

    async def _serve(self, begun: Callable[[Links], None], go_on: Callable[[], bool]) -> None:
        runner = web.AppRunner(
            self.app,
            access_log=None,
            logger=self._logger(),
            lingering_time=_LINGER_S,
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
            shutdown_timeout=_LET_GO_S,
        )
        await runner.setup()
        listening: asyncio.Server | None = None
        try:
            listening = await self._listen(runner)
            begun(self.links)
            while go_on():
                await asyncio.sleep(_TICK_S)
        finally:
            if listening is not None:
                listening.close()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        assert runner.server is not None
        self._doorway = Doorway(runner.server, self.guard.log_turned_away)
        tls = self.place.tls()
        loop, asked = asyncio.get_running_loop(), self.place.port
        for port in [PORT, 0] if asked is None else [asked]:
            try:
                server = await loop.create_server(
                    self._doorway,
                    self.place.host,
                    port,
                    ssl=tls,
                    ssl_handshake_timeout=HANDSHAKE_S if tls else None,
                )
            except OSError as error:
                if error.errno == errno.EADDRINUSE and asked is None and port:
                    continue
                why = error.strerror or str(error)
                raise UserError(
                    f"--host {self.place.host}, --port {port}: cannot be listened on: {why}"
                ) from None
            self._port = server.sockets[0].getsockname()[1]
            return server
        raise AssertionError("the last port is any that is free")

    def _logger(self) -> logging.Logger:
        """Where aiohttp tells of requests that never came to be one."""
        logger = logging.Logger("stedfast pages")
        logger.addHandler(_Damaged(self.guard))
        return logger


class _Damaged(logging.Handler):
    def __init__(self, guard: RequestGuard) -> None:
        super().__init__(logging.DEBUG)
        self._guard = guard

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._guard.log_damaged(repr(error) if error else record.getMessage())


@contextmanager
def open_in_browser(link: str, *, wanted: bool) -> Iterator[None]:
    """Show a page in this computer's browser, if there is a screen.

    The browser is given a file that leads to the page, readable by this user alone: the address
    itself, with its token, would stand in the system's list of processes.
    """
    screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not (wanted and screen):
        yield
        return
    handle, name = tempfile.mkstemp(prefix="stedfast-", suffix=".html")
    file = Path(name)
    with os.fdopen(handle, "w", encoding="utf-8") as page:
        target = escape(link)
        page.write(
            f'<!DOCTYPE html><meta http-equiv="refresh" content="0;url={target}">'
            f'<a href="{target}">stedfast</a>'
        )
    try:
        with suppress(webbrowser.Error):
            webbrowser.open(file.as_uri())
        yield
    finally:
        file.unlink(missing_ok=True)
