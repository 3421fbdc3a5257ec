"""A place on this machine that messages and heartbeats are sent to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Sink:
    """What came.

    Attributes
    ----------
    port
        Where it listens.
    messages
        Title and text of each message.
    beats
        How often it was asked whether it is there.
    """

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[tuple[str, str]] = []
        self.beats = 0

    @property
    def address(self) -> str:
        """For `notify.to`."""
        return f"json://127.0.0.1:{self.port}"


@contextmanager
def sink() -> Iterator[Sink]:
    """Listen while the context lasts."""
    got = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            """Take a message."""
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.messages.append((body["title"], body["message"]))
            self._answer()

        def do_GET(self) -> None:  # the library's name
            """Take a heartbeat."""
            got.beats += 1
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    got.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        server.server_close()
