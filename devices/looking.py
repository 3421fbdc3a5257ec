"""A look in the dark, before any light: what only the first frames would tell, they told too late.

Everything but light is set as a run would set it and read back, and one frame is taken with the
shutter closed and the lasers at their safe values. A simulation is not looked at: its frames are
as they are configured, and each would move its sample's clock on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from devices.affine import Affine
from devices.bound import devices_of, put
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.errors import BindingError, DeviceFault
from devices.pixels import own_affine, own_pixel_um
from devices.safety import LightGate
from devices.sending import Sender

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_LONGEST_MS = 100.0
"""Exposure time of a frame that is only looked at."""
_FEW = 16
"""Whole numbers of a range that are all tried; of more, the ends are."""
_PIXEL_SIZE = 0.02
"""Relative difference that two ways of measuring a pixel size may have."""


def look(core: UniMMCore, config: MicroscopeConfig, gate: LightGate) -> Affine | None:
    """Set everything but light, and take a frame in the dark.

    Parameters
    ----------
    core
        With everything assigned and bound, and made safe.
    config
        The `microscope` section.
    gate
        Lets single device calls through.

    Returns
    -------
    Affine | None
        How the camera lies on the stage by the `.cfg`, in the first mode that has the config's
        pixel size; None where it says nothing.

    Raises
    ------
    BindingError
        A device does not take what a run would send it, or the camera's frames are not such as a
        run can store.
    """
    if config.virtual_sted is not None or config.replay is not None:
        return own_affine(core, config)
    # Opened by Micro-Manager itself, the shutter would light this frame.
    core.setAutoShutter(False)
    check_camera(core)
    sender = Sender(core, config, gate)
    try:
        _check_sizes(core, config, gate)
        sizes: list[float | None] = []
        mountings: list[Affine | None] = []
        for mode, pins in config.modes.items():
            full = {**config.start(), **pins}
            dark = {name: full[name] for name in full if name not in config.light}
            _set(core, sender, dark, config.camera_ms(full), mode)
            _check_resolution(core, config, full, mode)
            sizes.append(own_pixel_um(core, config))
            mountings.append(own_affine(core, config))
        check_pixel_size(sizes, config)
    finally:
        sender.forget()
    exposure_ms = core.getExposure()
    # That of a scan follows from its settings.
    long = exposure_ms > _LONGEST_MS and config.exposure.dwell_time is None
    try:
        if long:
            core.setExposure(_LONGEST_MS)
        _check_frame(core)
    finally:
        if long:
            core.setExposure(exposure_ms)
    meant = (at for at, size in enumerate(sizes) if size is not None and _is_given(size, config))
    return mountings[next(meant, 0)]


def check_camera(core: UniMMCore) -> None:
    """Check that the camera's frames have one channel of one component.

    Raises
    ------
    BindingError
        They are of several cameras, or in colour.
    """
    camera = core.getCameraDevice()
    if (channels := core.getNumberOfCameraChannels()) != 1:
        raise BindingError(
            ("camera",),
            f"{camera!r} gives the frames of {channels} cameras at once, of which only one would "
            "be kept; accepted: one of them",
        )
    if (components := core.getNumberOfComponents()) != 1:
        raise BindingError(
            ("camera",),
            f"{camera!r} gives {components} components a pixel, as colour cameras do; accepted: "
            "grey ones, which a `PixelType` among `properties` may choose",
        )


def check_pixel_size(sizes: Sequence[float | None], config: MicroscopeConfig) -> None:
    """Check that the `.cfg`'s pixel size, if it has one, is the config's in one of the modes.

    Parameters
    ----------
    sizes
        In each of the modes (µm); see `devices.pixels.own_pixel_um`.
    config
        The `microscope` section.

    Raises
    ------
    BindingError
        It is another in all of them.
    """
    found = [size * 1e3 for size in sizes if size is not None]
    given = config.pixel_size_nm
    if len(found) < len(sizes) or any(_is_given(nm * 1e-3, config) for nm in found):
        return
    one = next(iter(config.modes))
    where = f"in mode {one!r}" if len(config.modes) > 1 else "as a run has it"
    raise BindingError(
        ("pixel_size_nm",),
        f"{given:g}, but by {config.cfg or 'Imspector'} it is {found[0]:g} {where}; one of them is"
        " wrong",
    )


def _is_given(pixel_um: float, config: MicroscopeConfig) -> bool:
    """Whether a pixel size (µm) is the config's."""
    given_um = config.pixel_size_nm * 1e-3
    return abs(pixel_um - given_um) <= _PIXEL_SIZE * given_um


def _check_sizes(core: UniMMCore, config: MicroscopeConfig, gate: LightGate) -> None:
    """Check that no value of a setting of the camera changes the size of its frames."""
    camera = core.getCameraDevice()

    def one(what: str, call: Callable[[], object]) -> None:
        with gate.passing():
            call()

    for name, setting in config.settings.items():
        others = name in config.light or name == config.exposure.camera
        if others or camera not in devices_of(core, setting):
            continue
        first: tuple[Value, tuple[int, ...]] | None = None
        for value in [*_tried(setting), setting.start]:
            try:
                put(core, setting, value, one)
                core.waitForDevice(camera)
            except Exception as error:
                what = f"{setting.where()} = {value}"
                raise BindingError(("settings", name), f"{what}: {error}") from error
            check_camera(core)
            size = (core.getImageWidth(), core.getImageHeight(), core.getBytesPerPixel())
            first = first or (value, size)
            if size != first[1]:
                once = "set it once, among `properties`"
                if setting.group is not None:
                    once = "accepted: `choices` of one size"
                raise BindingError(
                    ("settings", name),
                    f"frames are {_by(first[1])} at {first[0]} and {_by(size)} at {value}, and "
                    f"those of a run are of one size; {once}",
                )


def _tried(setting: SettingConfig) -> Iterator[Value]:
    """Values of a setting to try: all of a few, the ends of many."""
    if setting.choices is not None:
        yield from setting.choices
        return
    assert setting.range is not None
    low, high = setting.range
    if setting.kind == "integer" and high - low < _FEW:
        yield from range(int(low), int(high) + 1)
    else:
        yield from (setting.plain(low), setting.plain(high))


def _by(size: tuple[int, ...]) -> str:
    width, height, bytes_ = size
    return f"{width} × {height} px of {bytes_} bytes"


def _set(
    core: UniMMCore, sender: Sender, dark: dict[str, Value], camera_ms: float | None, mode: str
) -> None:
    """Set a mode's settings that are not light, and read them back."""
    try:
        exposed = sender.expose(camera_ms)
        sent = sender.send(dark)
        core.waitForSystem()
        sender.verify(dark, sent, exposed=exposed)
    except DeviceFault as fault:
        raise BindingError((), f"in mode {mode!r}: {fault}") from fault
    except Exception as error:
        raise BindingError((), f"in mode {mode!r} a device is not ready: {error}") from error


def _check_resolution(
    core: UniMMCore, config: MicroscopeConfig, settings: Mapping[str, Value], mode: str
) -> None:
    """Check that the camera's frames are as large as the setting says that is their resolution."""
    name = config.exposure.resolution
    if name is None:
        return
    side, size = float(settings[name]), (core.getImageWidth(), core.getImageHeight())
    if size != (side, side):
        raise BindingError(
            ("exposure", "resolution"),
            f"in mode {mode!r} {name!r} is {side:g}, and frames are {size[0]} × {size[1]} px",
        )


def _check_frame(core: UniMMCore) -> None:
    """Take a frame in the dark, and look at it."""
    camera = core.getCameraDevice()
    try:
        core.snapImage()
        image = core.getImage()
    except Exception as error:
        raise BindingError(("camera",), f"{camera!r} gives no frame: {error}") from error
    said = (core.getImageHeight(), core.getImageWidth())
    if image.shape != said:
        raise BindingError(
            ("camera",),
            f"{camera!r} gave a frame of {' × '.join(map(str, image.shape))}, where it said "
            f"{' × '.join(map(str, said))}",
        )
