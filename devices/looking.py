"""A look in the dark, before any light: what only the first frames would tell, they told too late.

Everything but light is set as a run would set it and read back, and one frame is taken with the
shutter closed and the lasers at their safe values. A simulation is not looked at: its frames are
as they are configured, and each would move its sample's clock on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.affine import Affine
from devices.bound import devices_of, put
from devices.cameras import ask_each, channels, fetched, frame_size, involved, unlike, within
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.errors import BindingError, DeviceFault
from devices.pixels import own_affine, own_pixel_um
from devices.region import beyond_frame
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found.

    Parameters
    ----------
    own
        How the camera lies on the stage by the `.cfg`, in the first mode that has the config's
        pixel size; None where it says nothing.
    shapes
        Rows × columns of the frames of each mode, at the settings that a run starts from.
    whole
        The same of the camera's whole frames.
    sizing
        Settings whose values change the size of frames.
    largest
        Rows × columns of the largest frame that was seen.
    frame_bytes
        Of that one.
    pixel_um
        Side of a pixel (µm) by the core in the first mode, which is the config's.
    """

    own: Affine | None
    shapes: Mapping[str, tuple[int, int]]
    whole: Mapping[str, tuple[int, int]]
    sizing: tuple[str, ...]
    largest: tuple[int, int]
    frame_bytes: int
    pixel_um: float


def look(core: UniMMCore, config: MicroscopeConfig, gate: LightGate) -> Looked:
    """Set everything but light, and take a frame in the dark.

    Parameters
    ----------
    core
        With everything assigned and bound, and made safe.
    config
        The `microscope` section.
    gate
        Lets single device calls through.

    Raises
    ------
    BindingError
        A device does not take what a run would send it, or the camera's frames are not such as a
        run can store.
    """
    if config.virtual_sted is not None or config.replay is not None:
        size = frame_size(core)
        return Looked(
            own_affine(core, config),
            dict.fromkeys(config.modes, size[:2]),
            dict.fromkeys(config.modes, size[:2]),
            (),
            size[:2],
            _bytes(size),
            float(core.getPixelSizeUm()),
        )
    # Opened by Micro-Manager itself, the shutter would light this frame.
    core.setAutoShutter(False)
    check_camera(core)
    names = channels(core)
    sender = Sender(core, config, gate)
    try:
        sizing, sizes_seen = _sizing(core, config, gate, names)
        shapes, whole = {}, {}
        sizes: list[float | None] = []
        mountings: list[Affine | None] = []
        by_core: list[float] = []
        for mode, pins in config.modes.items():
            full = {**config.start(), **pins}
            dark = {name: full[name] for name in full if name not in config.light}
            _set(core, sender, dark, config.camera_ms(full), mode)
            whole[mode] = _crop(core, sender, config, mode)
            _check_alike(core, names, mode)
            shapes[mode] = frame_size(core)
            _check_resolution(core, config, full, mode)
            sizes.append(own_pixel_um(core, config))
            mountings.append(own_affine(core, config))
            by_core.append(float(core.getPixelSizeUm()))
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
    largest = max([*shapes.values(), *sizes_seen], key=_bytes)
    return Looked(
        mountings[next(meant, 0)],
        {mode: size[:2] for mode, size in shapes.items()},
        whole,
        tuple(sizing),
        largest[:2],
        _bytes(largest),
        by_core[0],
    )


def _bytes(size: tuple[int, int, int]) -> int:
    return math.prod(size)


def check_camera(core: UniMMCore) -> None:
    """Check that the camera's frames have one component, as have those of cameras within it.

    Raises
    ------
    BindingError
        They are in colour.
    """
    for camera, components in ask_each(core, core.getNumberOfComponents).items():
        if components != 1:
            raise BindingError(
                ("camera",),
                f"{camera!r} gives {components} components a pixel, as colour cameras do; accepted:"
                " grey ones, which a `PixelType` among `properties` may choose",
            )


def _check_alike(core: UniMMCore, names: Sequence[str], mode: str) -> None:
    """Check that a snap still gives the same frames, and that they are of one size and type."""
    if (now := channels(core)) != names:
        raise BindingError(("modes", mode), _other(core, now, names))
    if (why := unlike(core)) is not None:
        accepted = "accepted: `settings` or `properties` that have them alike"
        raise BindingError(("modes", mode), f"{why}; {accepted}")


def _other(core: UniMMCore, now: Sequence[str], names: Sequence[str]) -> str:
    """That a snap gives other frames than on opening, in words."""
    camera, gives = core.getCameraDevice(), ", ".join(now if len(now) > 1 else within(core))
    return f"{camera!r} gives frames of {gives}, and those of a run are all of {', '.join(names)}"


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


def _sizing(
    core: UniMMCore, config: MicroscopeConfig, gate: LightGate, names: Sequence[str]
) -> tuple[list[str], set[tuple[int, int, int]]]:
    """Settings of the camera that change the size of its frames, and all sizes that were seen.

    Raises
    ------
    BindingError
        A value is not taken, or gives pixels of another type or frames of other cameras.
    """
    cameras = involved(core)
    changing: list[str] = []
    seen: set[tuple[int, int, int]] = set()

    def one(what: str, call: Callable[[], object]) -> None:
        with gate.passing():
            call()

    light = {*config.light, config.exposure.camera}
    ours = {
        name: setting
        for name, setting in config.settings.items()
        if name not in light and cameras & devices_of(core, setting)
    }
    for setting in ours.values():
        with suppress(Exception):  # told below
            put(core, setting, setting.start, one)
    # Of cameras that are set one by one, each mode is to have them alike.
    began_alike = unlike(core) is None
    for name, setting in ours.items():
        sizes: dict[tuple[int, int, int], Value] = {}
        for value in [*_tried(setting), setting.start]:
            try:
                put(core, setting, value, one)
                for camera in cameras:
                    core.waitForDevice(camera)
            except Exception as error:
                what = f"{setting.where()} = {value}"
                raise BindingError(("settings", name), f"{what}: {error}") from error
            check_camera(core)
            if (now := channels(core)) != names:
                raise BindingError(
                    ("settings", name),
                    f"at {setting.where()} = {value} {_other(core, now, names)}",
                )
            if (why := unlike(core)) is None:
                sizes.setdefault(frame_size(core), value)
            elif began_alike and not all(name in pins for pins in config.modes.values()):
                raise BindingError(
                    ("settings", name),
                    f"at {setting.where()} = {value} {why}; accepted: a setting that changes all "
                    "of them, or a value in each of `modes`",
                )
        # The next ones are tried with the largest frames.
        largest = sizes[max(sizes, key=_bytes)] if sizes else setting.start
        with suppress(Exception):
            put(core, setting, largest if len(cameras) == 1 else setting.start, one)
        types = {size[2]: value for size, value in sizes.items()}
        if len(types) > 1:
            said = ", ".join(f"{bytes_} at {value}" for bytes_, value in types.items())
            raise BindingError(
                ("settings", name),
                f"pixels have several numbers of bytes, {said}, and those of a run are of one type;"
                " set it once, among `properties`",
            )
        seen |= set(sizes)
        if len(sizes) > 1:
            changing.append(name)
    return changing, seen


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


def _crop(core: UniMMCore, sender: Sender, config: MicroscopeConfig, mode: str) -> tuple[int, int]:
    """Set a mode's region of interest, if it is within the camera's frame; that one's size."""
    roi = config.roi.get(mode)
    try:
        if roi is not None:
            sender.crop(None)
            whole = frame_size(core)[:2]
            if why := beyond_frame(roi, whole):
                raise DeviceFault(why)
        sender.crop(roi)
    except Exception as error:
        raise BindingError(("roi", mode), str(error)) from error
    return whole if roi is not None else frame_size(core)[:2]


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
        images = fetched(core)
    except Exception as error:
        raise BindingError(("camera",), f"{camera!r} gives no frame: {error}") from error
    said = (core.getImageHeight(), core.getImageWidth())
    for name, image in zip(channels(core), images, strict=True):
        of = f" of {name}" if len(images) > 1 else ""
        if image.shape != said:
            raise BindingError(
                ("camera",),
                f"{camera!r} gave a frame{of} of {' × '.join(map(str, image.shape))}, where it said"
                f" {' × '.join(map(str, said))}",
            )
        if image.dtype != images[0].dtype:
            raise BindingError(
                ("camera",),
                f"{camera!r} gave a frame{of} of the type {image.dtype}, and one of "
                f"{images[0].dtype}; those of a run are of one type",
            )
