"""What was set in Imspector, so that a change by someone else is seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.values import same


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

    def verify(self) -> None:
        """Read all again.

        Raises
        ------
        RuntimeError
            One is another one than before: someone changed it.
        """
        groups = {group: self._link.read(group) for group in self._link.layout.groups}
        for path, value in self._values.items():
            found = self._within(groups, path)
            if not same(found, value):
                self._values[path] = found
                raise RuntimeError(
                    f"{path} became {found!r} during the frame, and was {value!r}: it was changed"
                    " in Imspector"
                )

    def _within(self, groups: Mapping[str, Any], path: str) -> Any:
        for group, found in groups.items():
            if path.startswith(f"{group}/"):
                for part in path.removeprefix(f"{group}/").split("/"):
                    found = found[int(part)] if isinstance(found, list) else found[part]
                return found
        return self._link.read(path)
