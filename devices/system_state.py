"""What the core knows of all its devices: once as a whole, then what changed from frame to frame.

Everything comes from the core's cache: what devices were last told, asked, or told by themselves.
No device is asked, so that none can hold a frame up.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

Properties = dict[str, dict[str, str]]
"""Values of properties, by device and property."""
_A_FRAME_S = 80e-6
"""Time that looking for changes may take a frame, on average (s)."""


class SystemState:
    """The state of a core's devices.

    Parameters
    ----------
    core
        The devices.
    left_out
        (device, property) whose changes are recorded elsewhere: those of the settings.
    """

    def __init__(self, core: UniMMCore, left_out: Collection[tuple[str, str]]) -> None:
        self._core, self._left_out = core, frozenset(left_out)
        self._cache: Any = None
        self._known: dict[tuple[str, str], str] = {}
        self._saved_s = self._took_s = 0.0

    def whole(self) -> dict[str, Any]:
        """All properties, the presets that they make up, and the pixel size configuration.

        Changes count from here on. What a device does not say is left out.
        """
        core = self._core
        with suppress(Exception):
            self._cache = _cached(core)
            self._known = _entries(self._cache)
        known = dict(self._known)
        for label in core.getLoadedDevices():
            for name in core.getDevicePropertyNames(label):
                if (label, name) not in known:  # of a Python device
                    with suppress(Exception):  # it was neither told nor asked yet
                        known[label, name] = str(core.getPropertyFromCache(label, name))
        groups = {}
        for group in core.getAvailableConfigGroups():
            with suppress(Exception):
                groups[str(group)] = str(core.getCurrentConfigFromCache(group))
        found: dict[str, Any] = {"properties": _by_device(known), "groups": groups}
        with suppress(Exception):
            found["pixel_size"] = str(core.getCurrentPixelSizeConfig(True))
        return found

    def changed(self) -> Properties:
        """What changed since the last time, of Micro-Manager's own devices; empty before `whole`.

        Where there are so many devices that looking takes long, it looks less often than it is
        called: a change is then told some frames later.
        """
        if self._cache is None:
            return {}
        self._saved_s += _A_FRAME_S
        if self._saved_s < self._took_s:
            return {}
        started = time.perf_counter()
        found: dict[tuple[str, str], str] = {}
        with suppress(Exception):  # it must not cost the frame
            cache = _cached(self._core)
            if not cache.isConfigurationIncluded(self._cache):
                entries = _entries(cache)
                found = {
                    key: value
                    for key, value in entries.items()
                    if self._known.get(key) != value and key not in self._left_out
                }
                self._cache, self._known = cache, entries
        self._saved_s, self._took_s = 0.0, time.perf_counter() - started
        return _by_device(found)


def _cached(core: UniMMCore) -> Any:
    """The cache of Micro-Manager's own devices, as the core has it."""
    import pymmcore

    # The Python core's own adds its devices one property after the other, which takes long.
    return pymmcore.CMMCore.getSystemStateCache(core)


def _entries(cache: Any) -> dict[tuple[str, str], str]:
    """Its properties."""
    settings = (cache.getSetting(at) for at in range(cache.size()))
    return {
        (one.getDeviceLabel(), one.getPropertyName()): one.getPropertyValue() for one in settings
    }


def _by_device(properties: dict[tuple[str, str], str]) -> Properties:
    found: Properties = {}
    for (device, name), value in sorted(properties.items()):
        found.setdefault(device, {})[name] = value
    return found
