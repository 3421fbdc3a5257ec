"""Who sets which property: each has one owner, or neither ranges nor doses would hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from devices import presets
from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.setting import SettingConfig

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_Path = tuple[str | int, ...]
_Property = tuple[str, str]


def check_once(config: MicroscopeConfig) -> None:
    """Check, without any device, that no property or group is set from two places.

    Raises
    ------
    BindingError
        Two settings are bound to one, or `properties` sets what a setting or the watchdog is bound
        to.
    """
    bound: dict[_Property, str] = {}
    for name, setting in config.settings.items():
        what = setting.address()
        if what in bound:
            one = "group" if setting.group is not None else "property"
            raise BindingError(
                ("settings", name),
                f"{setting.where()} is the setting {bound[what]!r} already; one setting a {one}",
            )
        bound[what] = name
    fixed, dog = set(), config.watchdog
    for i, entry in enumerate(config.properties):
        what = (entry.device, entry.property)
        if what in bound:
            raise BindingError(
                ("properties", i),
                f"{'.'.join(what)} is the setting {bound[what]!r}, which alone sets it; "
                f"see `settings.{bound[what]}.start`",
            )
        if what in fixed:
            raise BindingError(("properties", i), f"{'.'.join(what)} is set twice")
        if dog is not None and what == (dog.device, dog.property):
            raise BindingError(
                ("properties", i), f"{dog.where()} is the watchdog, which alone writes it"
            )
        fixed.add(what)
    if dog is not None and (what := (dog.device, dog.property)) in bound:
        raise BindingError(
            ("watchdog",), f"{dog.where()} is the setting {bound[what]!r}, which alone sets it"
        )


def check_owners(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check the same of what presets set, and of a wheel's place and its label.

    Raises
    ------
    BindingError
        A property is set from two places.
    """
    owners: dict[_Property, tuple[str, str]] = {}
    for at, who, prop in _claims(core, config):
        key = _one_name(core, prop)
        if (other := owners.setdefault(key, (who, prop[1])))[0] == who:
            continue
        also = "" if prop[1] == other[1] else f", as {other[1]}"
        raise BindingError(
            at,
            f"{'.'.join(prop)} is set by {other[0]} already{also}; a property is set from one "
            "place alone",
        )


def _claims(core: UniMMCore, config: MicroscopeConfig) -> Iterator[tuple[_Path, str, _Property]]:
    """Every property that the config sets: where the config says so, who sets it, which it is."""
    for name, setting in config.settings.items():
        who = f"the setting {name!r}"
        if setting.group is not None:
            who += f" (its presets of {setting.group})"
        for prop in _set_by(core, setting):
            yield ("settings", name), who, prop
    for i, entry in enumerate(config.properties):
        yield ("properties", i), f"`properties.{i}`", (entry.device, entry.property)
    if (clock := config.clock) is not None:
        yield ("clock",), "`clock`", (clock.device, clock.property)
    if (dog := config.watchdog) is not None:
        yield ("watchdog",), "`watchdog`", (dog.device, dog.property)


def _set_by(core: UniMMCore, setting: SettingConfig) -> Iterator[_Property]:
    if setting.group is None:
        yield setting.device, setting.property
        return
    for preset in setting.presets():
        for part in presets.parts(core, setting.group, preset):
            yield part.device, part.prop


def _one_name(core: UniMMCore, prop: _Property) -> _Property:
    """A property by one of its names: the state of a wheel is its label, too."""
    from pymmcore_plus import DeviceType, Keyword

    device, name = prop
    labelled = device in core.getLoadedDevices() and core.getDeviceType(device) == DeviceType.State
    return (device, str(Keyword.State)) if labelled and name == Keyword.Label else prop
