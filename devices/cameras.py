"""A camera that gives several frames a snap: Micro-Manager's *Multi Camera*, and others like it.

The core knows one camera. What it says of a *Multi Camera* hides where the cameras within differ:
bytes a pixel and exposure time are 0 then, and sizes that differ are an error of the snap. So the
cameras within are asked themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.refusals import refused

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus
    from pymmcore_plus.experimental.unicore import UniMMCore

WITHIN = "Physical Camera {}"
"""Properties of a *Multi Camera*, from 1: the labels of the cameras within."""
SIMULATED = frozenset({"DemoCamera", "SequenceTester"})
"""Adapters whose cameras see no light."""

T = TypeVar("T")


def channels(core: UniMMCore) -> tuple[str, ...]:
    """Names of the frames of a snap, in their order; each once."""
    camera, number = core.getCameraDevice(), int(core.getNumberOfCameraChannels())
    if number == 1:
        return (camera,)
    names = [str(core.getCameraChannelName(at)) for at in range(number)]
    named = [name or f"{camera} {at}" for at, name in enumerate(names, 1)]
    of = Counter(named)
    return tuple(name if of[name] == 1 else f"{name} {at}" for at, name in enumerate(named, 1))


def within(core: UniMMCore) -> tuple[str, ...]:
    """Labels of the cameras that take the frames: those of a *Multi Camera*, or the core's own."""
    return tuple(dict.fromkeys(_chosen(core).values())) or (core.getCameraDevice(),)


def _chosen(core: UniMMCore) -> dict[str, str]:
    """Labels of the cameras within, by the property that names each."""
    camera, there = core.getCameraDevice(), set(core.getLoadedDevices())
    props = takewhile(lambda prop: core.hasProperty(camera, prop), map(WITHIN.format, count(1)))
    found = {prop: str(core.getProperty(camera, prop)) for prop in props}
    return {prop: label for prop, label in found.items() if label in there}


def simulated(core: UniMMCore) -> bool:
    """Whether any frame comes from a camera that sees no light."""
    return any(core.getDeviceLibrary(label) in SIMULATED for label in within(core))


def involved(core: UniMMCore) -> frozenset[str]:
    """Labels of the core's camera and of those within."""
    return frozenset([core.getCameraDevice(), *within(core)])


def ask_each(core: UniMMCore, ask: Callable[[], T]) -> dict[str, T]:
    """What the core says of each camera that takes frames, by its label.

    Parameters
    ----------
    core
        Has its camera again afterwards.
    ask
        Asks the core something about its camera.
    """
    camera, cameras = core.getCameraDevice(), within(core)
    if cameras == (camera,):
        return {camera: ask()}
    found = {}
    try:
        for label in cameras:
            core.setCameraDevice(label)
            found[label] = ask()
    finally:
        core.setCameraDevice(camera)
    return found


def fetched(core: CMMCorePlus) -> list[NDArray[Any]]:
    """The frames of the last snap, rows × columns each.

    Raises
    ------
    Exception
        Any error of the camera.
    """
    number = int(core.getNumberOfCameraChannels())
    # Not every adapter of a single camera knows its frame by a number.
    if number == 1:
        return [np.asarray(core.getImage())]
    return [np.asarray(core.getImage(at)) for at in range(number)]


def exposures_ms(core: UniMMCore) -> dict[str, float]:
    """Exposure time (ms) of each camera that takes frames, by its label."""
    return {label: float(core.getExposure(label)) for label in within(core)}


def with_channels(core: UniMMCore, config: MicroscopeConfig) -> MicroscopeConfig:
    """The config with the camera's channels, where it gives several frames a snap.

    Raises
    ------
    BindingError
        They are not those of the config, or there are none.
    """
    camera, found = core.getCameraDevice(), channels(core)
    if not found:
        raise BindingError(
            ("camera",),
            f"{camera!r} has no camera within; accepted: labels of cameras as its "
            f"{WITHIN.format(1)!r}, {WITHIN.format(2)!r}, …, in the .cfg or among `properties`",
        )
    named = _chosen(core)
    for label in named.values():
        if len(places := [repr(prop) for prop, other in named.items() if other == label]) > 1:
            raise BindingError(
                ("camera",),
                f"{camera!r} has {label!r} as {' and as '.join(places)}; accepted: each once",
            )
    declared, scored = config.camera_channels, config.scored_channel
    one = f"{camera!r} gives one frame a snap"
    names = found if len(found) > 1 else ()
    if declared and declared != names:
        has = f"{camera!r} has {', '.join(names)}; accepted: those, in this order"
        raise BindingError(
            ("camera_channels",),
            f"found {', '.join(declared)}, but {has if names else f'{one}; accepted: none'}",
        )
    if scored is not None and scored not in names:
        raise BindingError(("scored_channel",), refused(scored, names) if names else one)
    return config.model_copy(update={"camera_channels": names})


def unlike(core: UniMMCore) -> str | None:
    """How the cameras within differ in their frames, in words; None where they do not."""
    sizes = ask_each(core, lambda: frame_size(core))
    if len(set(sizes.values())) == 1:
        return None
    said = ", ".join(
        f"{columns} × {rows} px of {depth} byte{'s' if depth > 1 else ''} in {label!r}"
        for label, (rows, columns, depth) in sizes.items()
    )
    return f"{core.getCameraDevice()!r} takes frames of one size and type only, and they are {said}"


def frame_size(core: UniMMCore) -> tuple[int, int, int]:
    """Rows, columns and bytes a pixel of the frames of the core's camera."""
    return (
        int(core.getImageHeight()),
        int(core.getImageWidth()),
        int(core.getBytesPerPixel()),
    )


class Repeats:
    """Finds cameras that failed without an error.

    A *Multi Camera* does not look whether those within it could take their frame: of one that could
    not, it gives the frame before once more. No two frames of a real camera are alike, unless they
    are black or saturated everywhere.

    Parameters
    ----------
    core
        Has its devices.
    """

    def __init__(self, core: UniMMCore) -> None:
        self._cameras = within(core)
        self._may_hide = len(self._cameras) > 1 and not simulated(core)
        self._before: Sequence[NDArray[Any]] = ()

    def check(self, images: Sequence[NDArray[Any]]) -> None:
        """Look at the frames of a snap.

        Raises
        ------
        RuntimeError
            One is the frame before.
        """
        if not self._may_hide:
            return
        for label, before, image in zip(self._cameras, self._before, images, strict=False):
            if np.array_equal(before, image) and image.min() != image.max():
                raise RuntimeError(f"{label!r} gave the frame before once more, so it took none")
        self._before = images
