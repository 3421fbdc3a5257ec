"""What the double's frames show: the sample of the virtual STED microscope, at accepted values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import GenericDevice

from agent.bench.imspector.scans import lasers_of, pixel_time
from devices.sources import VirtualStedConfig
from devices.virtual.build import build_virtual_sted
from devices.virtual.devices import PIXEL_SIZE_NM

LASER_UNITS = ("µW", "mW", "mW")
"""Of the double's lasers: those of the virtual microscope."""
_ORIGIN_UM = 1e3
"""Where the coarse stage stands at the middle of the sample."""
_made: dict[str, VirtualSample] = {}


class VirtualSample:
    """A virtual STED microscope that scans what the double's server has accepted.

    Parameters
    ----------
    name
        By which `SampleClock` finds it.
    config
        The sample.
    seed
        Of the sample and of its noise.
    share
        Of the power that it is told, a depletion laser's power; other than 1, it is out of tune.
    """

    def __init__(self, name: str, config: VirtualStedConfig, seed: int, share: float = 1.0) -> None:
        self._devices: dict[str, Any] = dict(
            build_virtual_sted(config, seed=seed, pixel_size_nm=PIXEL_SIZE_NM)
        )
        self._share = share
        self.scan: Any = self._devices["Scan"]
        _made[name] = self

    def __call__(
        self, values: Mapping[str, Any], channel: int, shape: tuple[int, int]
    ) -> NDArray[Any]:
        """A frame of the field where the stage is."""
        devices, control = self._devices, values["ExpControl"]
        one = control["measurement"]["channels"][channel]
        steps = control["measurement"]["line_steps"]["step_duration"]
        excitation, depletion = (
            laser["power"] if laser["active"] else 0.0 for laser in lasers_of(values, channel)[:2]
        )
        frame = np.zeros(self.scan.sensor_shape(), np.uint16)
        if frame.shape != shape:
            raise ValueError(f"the sample's field is {frame.shape}, not {shape}")
        if not (excitation or depletion):
            return frame  # its time stands still: the virtual microscope needs no frame on opening
        devices["Excitation"].set_property_value("Power_uW", excitation)
        devices["Depletion"].set_property_value("Power_mW", depletion * self._share)
        devices["Shutter"].set_open(True)
        at = {
            axis: control["scan"]["range"][f"coarse_{axis}"]["g_off"] * 1e6 - _ORIGIN_UM
            for axis in "xy"
        }
        # To a millionth of a micrometre: what comes of the origin is rounding.
        devices["XYStage"].set_position_um(round(at["x"], 6), round(at["y"], 6))
        dwell_us = pixel_time(control["measurement"], one) * 1e6
        self.scan.set_property_value("DwellTime_us", round(dwell_us, 9))
        self.scan.set_property_value(
            "LineAccumulations", steps[one["steps"]["linestep_active"].index(1)]
        )
        self.scan.snap(frame)
        return frame


class SampleClock(GenericDevice):
    """The time of a sample, as a device of the core that drives it.

    Parameters
    ----------
    sample
        Its name.
    """

    def __init__(self, sample: str) -> None:
        super().__init__()
        scan = _made[sample].scan
        self.register_property(
            "Clock_s",
            limits=(0.0, 1e9),
            property_type=float,
            getter=lambda _: scan.clock_s,
            setter=lambda _, value: scan.set_property_value("Clock_s", value),
        )
