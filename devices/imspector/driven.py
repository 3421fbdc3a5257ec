"""What was set in Imspector, so that a change by someone else is seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.values import number_of, same


class Driven:
    """What was set, so that a change by someone else is seen.

    Parameters
    ----------
    link
        The connection.
    """

    def __init__(self, link: Imspector) -> None:
        self._link = link
        self._values: dict[str, Any] = {}

    def set(self, path: str, value: Any) -> None:
        """Set and read back."""
        self._values.pop(path, None)
        self._values[path] = self._link.confirm(path, value)

    def get(self, path: str) -> Any:
        """Read; a value that was read once is watched, too."""
        found = self._link.read(path)
        self._values.setdefault(path, found)
        return found

    def known(self, path: str) -> Any:
        """As it was last read: a change by someone else shows behind the next scan."""
        return self._values[path] if path in self._values else self.get(path)

    def forget(self, paths: Iterable[str]) -> None:
        """These follow from others that were set."""
        for path in paths:
            self._values.pop(path, None)

    def number(self, path: str) -> float:
        """Read a number.

        Raises
        ------
        RuntimeError
            It is none.
        """
        return number_of(path, self.get(path))

    def number_in(self, path: str, place: int) -> float:
        """Read a number of a list."""
        found = self.get(path)
        return number_of(f"{path}, {place}", found[place] if place < len(found) else None)

    def set_in(self, path: str, place: int, value: float) -> None:
        """Set a number of a list, which is set as a whole: so public clients do."""
        wanted = list(self.get(path))
        wanted[place] = value
        self.set(path, wanted)

    def verify(self) -> None:
        """Read all again.

        Raises
        ------
        RuntimeError
            One is another one than before: someone changed it.
        """
        groups = {group: self._link.read(group) for group in self._link.layout.groups}
        now = {path: self._within(groups, path) for path in self._values}
        changed = [path for path, found in now.items() if not same(found, self._values[path])]
        if not changed:
            return
        if self._link.claim():
            raise RuntimeError(
                "another measurement or configuration became active in Imspector during the frame"
            )
        path = changed[0]
        was = self._values[path]
        # All at once: each would be a fault of its own otherwise.
        self._values |= {path: now[path] for path in changed}
        more = f", and so were {len(changed) - 1} more" if len(changed) > 1 else ""
        raise RuntimeError(
            f"{path} became {now[path]!r} during the frame, and was {was!r}: it was changed in"
            f" Imspector{more}"
        )

    def _within(self, groups: Mapping[str, Any], path: str) -> Any:
        for group, found in groups.items():
            if path.startswith(f"{group}/"):
                try:
                    for part in path.removeprefix(f"{group}/").split("/"):
                        found = found[int(part)] if isinstance(found, list) else found[part]
                except (LookupError, TypeError, ValueError):
                    break  # not in what the group gives as a whole
                return found
        return self._link.read(path)


def scaled(limits: tuple[float, float], by: float) -> tuple[float, float]:
    """Limits in another unit; what the factor adds behind the twelfth digit is rounding.

    Examples
    --------
    >>> scaled((1e-7, 1e-2), 1e6)
    (0.1, 10000.0)
    """
    low, high = (float(f"{limit * by:.12g}") for limit in limits)
    return low, high
