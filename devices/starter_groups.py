"""Which config groups a starter config offers as settings, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.config import ExposureConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.groups import check_group, light_of
from devices.inventory import GroupInfo
from devices.light_like import is_dark
from devices.owners import check_owners
from devices.setting import SettingConfig

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_TYPES = {"PixelType", "BitDepth", "Bit Depth"}
"""Properties of cameras that change the type of the pixels."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A group as a setting.

    Parameters
    ----------
    group
        Which.
    choices
        Its presets that frames can be taken with.
    safe
        A preset without light, of a group with light; None where there is no light in it.
    """

    group: GroupInfo
    choices: tuple[str, ...]
    safe: str | None

    @property
    def start(self) -> str:
        """The preset that it has, or its first one."""
        return self.group.current if self.group.current in self.choices else self.choices[0]

    def setting(self) -> SettingConfig:
        """The setting that it would be."""
        return SettingConfig(
            group=self.group.name, choices=self.choices, start=self.start, safe=self.safe
        )


def offered(
    core: UniMMCore, groups: list[GroupInfo], camera: str, shutter: str
) -> tuple[list[Offer], dict[str, str]]:
    """Groups that are settings as they are, all of them at once; and why the others are none.

    Parameters
    ----------
    core
        With the microscope's devices loaded.
    groups
        All of them.
    camera, shutter
        Those of the starter config; empty where it has none.
    """
    offers: list[Offer] = []
    refused: dict[str, str] = {}
    for group in groups:
        try:
            offer = _offer(core, group, camera)
            _check(core, [*offers, offer], shutter)
        except BindingError as error:
            refused[group.name] = str(error)
        else:
            offers.append(offer)
    return offers, refused


def _offer(core: UniMMCore, group: GroupInfo, camera: str) -> Offer:
    light = light_of(core, group.presets)
    names = list(group.presets)
    dark = [
        name
        for name, parts in group.presets.items()
        if {(part.device, part.prop) for part in parts if is_dark(part.value)} >= light
    ]
    for name, parts in group.presets.items():
        if found := next((p for p in parts if p.device == camera and p.prop in _TYPES), None):
            raise BindingError((), f"preset {name!r} sets {found.where}: pixels are of one type")
    if not light:
        if not names:
            raise BindingError((), "it has no presets")
        return Offer(group, tuple(names), None)
    if not dark:
        what = ", ".join(sorted(".".join(each) for each in light))
        raise BindingError((), f"no preset of it switches off what looks like light: {what}")
    choices = [name for name in names if name != dark[0]] or dark
    return Offer(group, tuple(choices), dark[0])


def _check(core: UniMMCore, offers: list[Offer], shutter: str) -> None:
    """Check that these are settings of one config.

    Raises
    ------
    BindingError
        One is not, or not beside the others.
    """
    config = MicroscopeConfig(
        cfg="any",
        shutter=shutter or None,
        pixel_size_nm=1,
        exposure=ExposureConfig(camera_ms=1),
        settings={offer.group.name: offer.setting() for offer in offers},
    )
    check_group(core, config, offers[-1].group.name)
    check_owners(core, config)
