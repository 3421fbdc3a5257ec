"""Row before news: what happens is in the ledger before anyone hears of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from agent.record.ledger import Kind, Ledger

Policy = Literal["retry", "skip", "stop", "go on", "ignored"]
"""What a fault leads to."""
Listener = Callable[[str, dict[str, Any]], None]
"""Called with (kind, data) of an entry that the ledger has; must be quick."""


class Journal:
    """A run's ledger, and listeners to each entry.

    Safe to use from several threads; a listener is called from the thread that added the entry.

    Parameters
    ----------
    ledger
        Open for writing.
    listeners
        Called after each entry, in this order.
    """

    def __init__(self, ledger: Ledger, *listeners: Listener) -> None:
        self._ledger = ledger
        self._listeners = list(listeners)

    def listen(self, listener: Listener) -> None:
        """Have one more called from now on."""
        self._listeners.append(listener)

    def add(self, kind: Kind, data: dict[str, Any], frame: int | None = None) -> None:
        """Write an entry, then announce it; one that could not be written is not announced.

        Raises
        ------
        OSError, sqlite3.Error
            The ledger cannot be written.
        """
        self._ledger.add(kind, data, frame)
        self.announce(kind, data)

    def add_all(self, kind: Kind, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Write the entries of shots, (frame, data) each, at once; the first is announced.

        Raises
        ------
        OSError, sqlite3.Error
            The ledger cannot be written.
        """
        (frame, data), *others = rows
        if others:
            self._ledger.add_all(kind, rows)
            self.announce(kind, data)
        else:
            self.add(kind, data, frame)

    def fault(
        self, what: str, policy: Policy, frame: int | None = None, *, part: str | None = None
    ) -> None:
        """Add a fault.

        Parameters
        ----------
        what
            A sentence on what failed.
        policy
            Its consequence.
        frame
            Number of the frame that it concerns.
        part
            The part it happened in; None: the acquisition, or the scoring.
        """
        entry = {"what": what, "policy": policy}
        self.add("fault", entry if part is None else {**entry, "part": part}, frame)

    def announce(self, kind: str, data: dict[str, Any]) -> None:
        """Tell of what the ledger has from an earlier session."""
        for listener in self._listeners:
            listener(kind, data)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()
