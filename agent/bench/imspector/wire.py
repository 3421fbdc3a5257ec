"""The double of Imspector's server for other processes, over a socket of this computer.

The server lives on when a client dies, and continues what it was asked for, as Imspector's own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from agent.bench.imspector.server import FakeImspector

_KEY = b"stedfast"
_HERE = "127.0.0.1"


@contextmanager
def served(server: FakeImspector) -> Iterator[int]:
    """Let other processes use a server; gives the number of the port."""
    listener = Listener((_HERE, 0), authkey=_KEY)
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError, EOFError):
                connection: Connection = listener.accept()
                threading.Thread(target=_serve, args=(server, connection), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.address[1])
    finally:
        over.set()
        with suppress(OSError):  # waits no longer
            Client((_HERE, listener.address[1]), authkey=_KEY).close()
        listener.close()


def _serve(server: FakeImspector, connection: Connection) -> None:
    """Answer one thread of a client, until it is gone."""
    with suppress(EOFError, OSError), connection:
        while True:
            name, *arguments = connection.recv()
            if name == "events":
                _pass_on(server, connection, *arguments)
                return
            try:
                work: dict[str, Callable[..., Any]] = {
                    "connect": server.connect,
                    "old": lambda: server.old,
                    "ask": server.ask,
                }
                answer = (True, work[name](*arguments))
            except RuntimeError as error:
                answer = (False, str(error))
            connection.send(answer)


def _pass_on(server: FakeImspector, connection: Connection, number: int, signal: str) -> None:
    """Tell a client of what it listens to."""
    told: queue.SimpleQueue[bool] = queue.SimpleQueue()
    try:
        server.ask(number, "listen", signal, lambda: told.put(True))
    except RuntimeError as error:
        connection.send((False, str(error)))
        return
    connection.send((True, None))
    while True:
        connection.send(told.get())


class Remote:
    """A server in another process, as a client has it.

    Parameters
    ----------
    port
        Its number.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._of_thread = threading.local()
        self.old = bool(self._call("old"))

    def _open(self) -> Connection:
        return Client((_HERE, self._port), authkey=_KEY)

    def _call(self, name: str, *arguments: Any) -> Any:
        """One call; a thread that hangs in one keeps no other from making its own."""
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = self._open()
        return _asked(self._of_thread.connection, name, *arguments)

    def connect(self, host: str) -> int:
        """Connect; returns the connection's number."""
        return int(self._call("connect", host))

    def ask(self, connection: int, name: str, *arguments: Any) -> Any:
        """Make a call; what listens is called in a thread of its own."""
        if name != "listen":
            return self._call("ask", connection, name, *arguments)
        signal, told = arguments
        events = self._open()
        _asked(events, "events", connection, signal)
        threading.Thread(target=_listen, args=(events, told), daemon=True).start()
        return None


def _asked(connection: Connection, name: str, *arguments: Any) -> Any:
    connection.send((name, *arguments))
    well, answer = connection.recv()
    if not well:
        raise RuntimeError(answer)
    return answer


def _listen(events: Connection, told: Callable[[], object]) -> None:
    with suppress(EOFError, OSError), events:
        while events.recv():
            told()
