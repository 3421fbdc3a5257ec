"""What was set in Imspector, so that a change by someone else is seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
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
        self._following: set[str] = set()

    def keep(self, path: str | None) -> None:
        """Watch what nothing here may ever change, where it is there."""
        if path is None or path in self._values:
            return
        if (found := self._link.find(path)) is not None:
            self._values[path] = _shape(found)

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

    def follow(self, paths: Iterable[str]) -> None:
        """These only follow from others: they are not set back."""
        self._following.update(paths)

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
        """Read all again, and set back what someone has changed.

        Raises
        ------
        RuntimeError
            One is another one than before: someone changed it.
        """
        groups = {group: self._link.read(group) for group in self._link.layout.groups}
        now = {path: self._within(groups, path) for path in self._values}
        changed = [path for path, was in self._values.items() if not same(_shape(now[path]), was)]
        if not changed:
            return
        if self._link.claim():
            raise RuntimeError(
                "another measurement or configuration became active in Imspector during the frame"
            )
        path = next((one for one in changed if one not in self._following), changed[0])
        found, was = _shape(now[path]), self._values[path]
        for one in changed:
            self._set_back(one, now[one])
        more = f", and so were {len(changed) - 1} more" if len(changed) > 1 else ""
        raise RuntimeError(
            f"{path} became {found!r} during the frame, and was {was!r}: it was changed in"
            f" Imspector{more}"
        )

    def _set_back(self, path: str, found: Any) -> None:
        """As it was; what cannot be set back is a fault again, behind the next frame."""
        if path in self._following:
            del self._values[path]
        elif not _entries(found):
            with suppress(RuntimeError):
                self._link.confirm(path, self._values[path])

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


def _shape(found: Any) -> Any:
    """Of entries, what they are called; anything else as it is."""
    return [str(entry.get("name", "")) for entry in found] if _entries(found) else found


def _entries(found: Any) -> bool:
    return isinstance(found, list) and bool(found) and isinstance(found[0], dict)
