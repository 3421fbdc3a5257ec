"""The pinhole."""

from __future__ import annotations

from pymmcore_plus.experimental.unicore import GenericDevice

from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven, scaled

_SIZE_M = (0.0, 1e-3)
"""Sizes that are accepted where Imspector states no limits (m)."""


class Pinhole(GenericDevice):
    """The pinhole, whose size Imspector may choose itself until one is set.

    Parameters
    ----------
    link, driven
        The connection, and what is watched.
    """

    def __init__(self, link: Imspector, driven: Driven) -> None:
        super().__init__()
        self._driven, layout = driven, link.layout
        self._set = layout.pinhole
        self._used = layout.pinhole_used if link.find(layout.pinhole_used) is not None else None
        if self._used is not None:
            driven.follow([self._used])
        self.register_property(
            "Size_um",
            limits=scaled(link.values.limits(self._set) or _SIZE_M, 1e6),
            property_type=float,
            getter=Pinhole._get_size,
            setter=Pinhole._set_size,
        )

    def _get_size(self) -> float:
        found = self._driven.number(self._set)
        if found < 0 and self._used is not None:  # Imspector chooses it
            found = self._driven.number(self._used)
        return found * 1e6

    def _set_size(self, value: float) -> None:
        if self._used is not None:
            self._driven.forget([self._used])
        self._driven.set(self._set, float(value) * 1e-6)
