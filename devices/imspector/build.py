"""Imspector's devices from a config."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from devices.extras import install
from devices.imspector.channels import Channels
from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven
from devices.imspector.labels import BEAM, FINE_FOCUS, FINE_STAGE, FOCUS, PINHOLE, SCAN, STAGE
from devices.imspector.lasers import Beam, Laser
from devices.imspector.pinhole import Pinhole
from devices.imspector.rescue import check_rescue
from devices.imspector.scan import Scan
from devices.imspector.stages import Focus, Stage
from devices.sources import ImspectorConfig

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import Device

_CONNECTS = ("get_application", "Imspector")
"""What gives specpy's application of a host, by its versions."""


def connect(config: ImspectorConfig) -> Imspector:
    """Connect to Imspector.

    Raises
    ------
    ModuleNotFoundError
        specpy is not installed.
    RuntimeError
        It is none that can be used, there is no server, no measurement, or its paths are none that
        are known.
    """
    # It has no types. The oldest versions call it by another name.
    specpy: Any = import_module("specpy")
    for name in _CONNECTS:
        if (reach := getattr(specpy, name, None)) is not None:
            return Imspector(config, reach, specpy)
    raise RuntimeError(
        f"specpy {getattr(specpy, '__version__', '(of an unknown version)')} has no"
        f" {' and no '.join(_CONNECTS)}; accepted: {install('imspector')}, or that of Imspector's"
        " own folder"
    )


def build_imspector(config: ImspectorConfig) -> dict[str, Device]:
    """Connect, and build the devices, by label in the order to load them.

    Returns
    -------
    dict
        A laser each by the name of its calibration (`STED_775`), `Beam`, `Stage`, `Focus`,
        `FineStage`, `FineFocus`, `Pinhole` where there is one, `Scan`.

    Raises
    ------
    ModuleNotFoundError, RuntimeError
        As `connect`.
    ValueError
        A channel is not there.
    """
    link = connect(config)
    try:
        return _devices(config, link)
    except BaseException:
        link.close()
        raise


def _devices(config: ImspectorConfig, link: Imspector) -> dict[str, Device]:
    _check_mode(link)
    channels = Channels.found(link, config.channels)
    check_rescue(link, channels, accepted=config.rescue)
    driven = Driven(link)
    lasers: dict[str, Laser] = {}
    for number, entry in enumerate(link.read(link.layout.lasers)):
        label = _unique(_laser_name(entry, number), lasers)
        lasers[label] = Laser(link, driven, number, channels, _emission(link, label))
    beam = Beam(link)
    scan = Scan(link, driven, beam, list(lasers.values()), channels, config.skip_lines)
    coarse, fine = link.layout.coarse, link.layout.fine
    stages = {STAGE: Stage(link, coarse), FOCUS: Focus(link, coarse)}
    stages |= {FINE_STAGE: Stage(link, fine), FINE_FOCUS: Focus(link, fine)}
    return {**lasers, BEAM: beam, **stages, **_pinhole(link, driven), SCAN: scan}


def _pinhole(link: Imspector, driven: Driven) -> dict[str, Device]:
    there = link.find(link.layout.pinhole) is not None
    return {PINHOLE: Pinhole(link, driven)} if there else {}


def _check_mode(link: Imspector) -> None:
    """One frame a scan: planes and time points are taken one by one.

    Raises
    ------
    ValueError
        Imspector scans along other axes than x and y.
    """
    layout = link.layout
    takes = "accepted: 'xy', as planes and time points are taken one by one"
    mode = link.find(layout.scan_mode)
    if isinstance(mode, int):
        mode = _axes_in(mode)
    if mode not in (None, "xy"):
        raise ValueError(f"the scan mode is {mode!r} ({layout.scan_mode}); {takes}")
    axes = link.find(layout.scan_axes)
    more = [axis for axis in list(axes or ())[2:] if str(axis) not in ("", "None")]
    if more:
        raise ValueError(f"scans along {', '.join(more)}, too ({layout.scan_axes}); {takes}")


def _axes_in(mode: int) -> str:
    """Axes of a scan mode before 16.3, which has four bits for each; 5 where there is none.

    Examples
    --------
    >>> _axes_in(1296), _axes_in(784), _axes_in(528)
    ('xy', 'xyt', 'xyz')
    """
    digits = [mode >> shift & 15 for shift in (0, 4, 8)]
    return "".join("xyzt"[digit] for digit in digits if digit < len("xyzt"))


def _laser_name(entry: Any, number: int) -> str:
    """By the calibration that it uses; else its own, or its number."""
    power = entry.get("power", {}) if isinstance(entry, dict) else {}
    named = str(power.get("calibration_used") or "") or str(
        entry.get("id", "") if isinstance(entry, dict) else ""
    )
    # Micro-Manager's files take no commas in labels.
    return re.sub(r"[^\w. -]", "_", named) or f"Laser {number}"


def _unique(name: str, taken: Iterable[str]) -> str:
    count, found = 1, name
    while found in set(taken):
        count += 1
        found = f"{name} {count}"
    return found


def _emission(link: Imspector, laser: str) -> str | None:
    """Where a laser's own device says whether it emits."""
    path = f"{laser}/laser_on"
    try:
        return path if isinstance(link.values.get(path), bool | int) else None
    except RuntimeError:
        return None
