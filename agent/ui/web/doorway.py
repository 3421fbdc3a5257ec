"""How many may stand in the doorway of a page, and for how long: connections, before any request.

    connection ── too many from there? ── the one that is silent for longest goes
        └── asks nothing whole within a few seconds ── goes

A connection costs a file descriptor, of which a process has about a thousand; a client that asks
nothing holds one in vain. Requests themselves are checked by `agent.ui.web.guard`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

HANDSHAKE_S = 5.0
"""Within which TLS is agreed upon (s)."""
_SILENT_S = 5.0
"""Within which a first request has come as a whole (s)."""
_EACH, _ALL = 64, 512
"""Connections from one address, and from all."""


@dataclass(slots=True, eq=False)
class _Visitor:
    """A connection.

    Attributes
    ----------
    silent
        Ends it; None once it has asked something.
    """

    address: str
    transport: asyncio.BaseTransport
    silent: asyncio.TimerHandle | None


class Doorway:
    """Makes protocols for connections, and ends those that hold a place for nothing.

    Parameters
    ----------
    make
        Makes the protocol that serves a connection.
    turned_away
        Called with an address and why one of its connections was ended.
    """

    def __init__(
        self, make: Callable[[], asyncio.Protocol], turned_away: Callable[[str, str], None]
    ) -> None:
        self._make = make
        self._turned_away = turned_away
        self._visitors: dict[asyncio.BaseTransport, _Visitor] = {}

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection, for `loop.create_server`."""
        return _Entrance(self, self._make())

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._visitors)

    def heard(self, request: web.Request) -> None:
        """A request came as a whole: its connection is not silent."""
        visitor = self._visitors.get(request.transport) if request.transport else None
        if visitor is not None and visitor.silent is not None:
            visitor.silent.cancel()
            visitor.silent = None

    def enter(self, transport: asyncio.BaseTransport) -> bool:
        """Let a connection in; whether there was room, or could be made."""
        name = transport.get_extra_info("peername")
        address = str(name[0]) if isinstance(name, tuple) else "?"
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_SILENT_S, self._too_slow, transport)
        self._visitors[transport] = _Visitor(address, transport, timer)
        for which, most in ((address, _EACH), (None, _ALL)):
            those = self._from(which)
            if len(those) > most:
                # The newest is silent yet: if no other one is, it goes itself.
                silent = next(one for one in those if one.silent is not None)
                self._end(silent, f"more than {most} connections")
        return transport in self._visitors

    def leave(self, transport: asyncio.BaseTransport) -> None:
        """A connection is over."""
        visitor = self._visitors.pop(transport, None)
        if visitor is not None and visitor.silent is not None:
            visitor.silent.cancel()

    def _from(self, address: str | None) -> list[_Visitor]:
        """Connections from an address, or from all, in the order in which they came."""
        return [one for one in self._visitors.values() if address in (None, one.address)]

    def _too_slow(self, transport: asyncio.BaseTransport) -> None:
        if (visitor := self._visitors.get(transport)) is not None:
            self._end(visitor, f"asked nothing whole within {_SILENT_S:g} s")

    def _end(self, visitor: _Visitor, why: str) -> None:
        self.leave(visitor.transport)
        self._turned_away(visitor.address, why)
        # Unsent data is not waited for.
        if isinstance(visitor.transport, asyncio.WriteTransport):
            visitor.transport.abort()
        else:
            visitor.transport.close()


class _Entrance(asyncio.Protocol):
    """Stands between a connection and what serves it."""

    def __init__(self, doorway: Doorway, served: asyncio.Protocol) -> None:
        self._doorway, self._served = doorway, served
        self._transport: asyncio.BaseTransport | None = None
        self._let_in = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._let_in = self._doorway.enter(transport)
        if self._let_in:
            self._served.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._doorway.leave(self._transport)
        if self._let_in:
            self._served.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._let_in:
            self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received() if self._let_in else None

    def pause_writing(self) -> None:
        if self._let_in:
            self._served.pause_writing()

    def resume_writing(self) -> None:
        if self._let_in:
            self._served.resume_writing()
