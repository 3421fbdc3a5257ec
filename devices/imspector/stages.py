"""The coarse stage, and its z as the focus."""

from __future__ import annotations

from pymmcore_plus.experimental.unicore import StageDevice, XYStageDevice

from devices.imspector.connection import Imspector


class Stage(XYStageDevice):
    """The coarse stage."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link

    def _path(self, axis: str) -> str:
        return self._link.layout.at(self._link.layout.coarse, axis=axis)

    def get_position_um(self) -> tuple[float, float]:
        """Where it is (µm)."""
        x, y = (float(self._link.read(self._path(axis))) * 1e6 for axis in "xy")
        return x, y

    def set_position_um(self, x: float, y: float) -> None:
        """Move, and read back."""
        for axis, to in (("x", x), ("y", y)):
            self._link.confirm(self._path(axis), to * 1e-6)

    def home(self) -> None:
        """Not supported: a sample may be in the way."""
        raise NotImplementedError("homing is done in Imspector")

    def stop(self) -> None:
        """Nothing to do: a position is read back before anything else is done."""

    def set_origin_x(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")

    def set_origin_y(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")


class Focus(StageDevice):
    """The focus: the z of the coarse stage."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link
        self._path = link.layout.at(link.layout.coarse, axis="z")

    def get_position_um(self) -> float:
        """Where it is (µm)."""
        return float(self._link.read(self._path)) * 1e6

    def set_position_um(self, val: float) -> None:
        """Move, and read back."""
        self._link.confirm(self._path, val * 1e-6)

    def home(self) -> None:
        """Not supported: a sample may be in the way."""
        raise NotImplementedError("homing is done in Imspector")

    def stop(self) -> None:
        """Nothing to do: a position is read back before anything else is done."""

    def set_origin(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")
