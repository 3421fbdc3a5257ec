"""What TIFFs say of their frames: resolution tags, ImageJ's description, OME-XML, Zeiss LSM."""

from __future__ import annotations

import json
from typing import Any

import tifffile

from devices.recorded.description import Description
from devices.recorded.units import LENGTHS, TIMES, Quantity, quantity

NAMESPACE = "stedfast/"
"""Of annotations in OME-XML; also how the line begins that ImageJ's `Info` has."""
FRAMES = f"{NAMESPACE}frames"
# 72 dpi and its like are a printer's resolution, not a microscope's.
_PRINTED_NM = 2000.0
_TAG_UNITS = {2: "inch", 3: "centimeter"}
"""Values of the tag ResolutionUnit (TIFF 6.0)."""


class Tags(Description):
    """Resolution tags, and the JSON that tifffile writes into a description."""

    def __init__(self, page: tifffile.TiffPage, shaped: dict[str, Any]) -> None:
        self._page, self._shaped = page, shaped

    def size(self, axis: str) -> Quantity | None:
        """Of x and y, where the tags have a unit and are no printer's."""
        tag = self._page.tags.get("ResolutionUnit")
        number = tag.value if tag else None
        unit = _TAG_UNITS.get(number) if isinstance(number, int) else None
        found = self._per_pixel(axis)
        if unit is None or found is None:
            return None
        size = Quantity(found, unit)
        return size if size.nm < _PRINTED_NM else None

    def resolution(self) -> tuple[Any, Any] | None:
        """As the tags have it, where they have both."""
        x, y = (self._page.tags.get(key) for key in ("XResolution", "YResolution"))
        if x is None or y is None or self._per_pixel("x") is None or self._per_pixel("y") is None:
            return None
        tag = self._page.tags.get("ResolutionUnit")
        known = tag is not None and isinstance(tag.value, int) and tag.value in (1, *_TAG_UNITS)
        return (x.value, y.value), tag.value if tag is not None and known else None

    def made(self) -> dict[str, dict[str, str]]:
        """From the key `stedfast`."""
        found = self._shaped.get(NAMESPACE.strip("/"))
        if not isinstance(found, dict):
            return {}
        return {
            str(step): {str(key): str(value) for key, value in about.items()}
            for step, about in found.items()
            if isinstance(about, dict)
        }

    def _per_pixel(self, axis: str) -> float | None:
        """Units a pixel, from a resolution in pixels per unit; None where there is none."""
        tag = self._page.tags.get({"x": "XResolution", "y": "YResolution"}.get(axis, ""))
        try:
            pixels, units = (int(part) for part in tag.value[:2]) if tag else (0, 1)
        except (TypeError, ValueError):
            return None
        return units / pixels if pixels > 0 and units > 0 else None


class ImageJ(Tags):
    """ImageJ's description: the unit of the resolution tags is a word in it."""

    def __init__(self, page: tifffile.TiffPage, about: dict[str, Any], dtype: Any) -> None:
        super().__init__(page, {})
        self._about = about
        line = (about.get("cf"), about.get("c0"), about.get("c1"))
        if line == (0, -32768, 1) and dtype.str[1:] == "u2":
            self.offset = -32768

    def size(self, axis: str) -> Quantity | None:
        """In the unit of that axis, or of all; of z from the spacing."""
        about = self._about
        value = about.get("spacing") if axis == "z" else self._per_pixel(axis)
        unit = about.get(f"{axis}unit", about.get("unit"))
        if value is None:
            return None
        if unit is None:
            return super().size(axis)
        found = quantity(
            abs(value) if axis == "z" else value, str(unit), LENGTHS, f"size in {axis}"
        )
        printed = found is not None and found.unit == "inch" and found.nm >= _PRINTED_NM
        return None if printed else found

    def interval(self) -> Quantity | None:
        """`finterval`, or one through `fps`."""
        about = self._about
        if about.get("finterval"):
            unit = str(about.get("tunit", "sec"))
            return quantity(about["finterval"], unit, TIMES, "frame interval")
        if not about.get("fps"):
            return None
        rate = quantity(about["fps"], "s", TIMES, "frames a second (`fps`)")
        assert rate is not None
        return Quantity(1 / rate.value, "second")

    def imagej(self) -> dict[str, Any]:
        """All of it."""
        return dict(self._about)

    def made(self) -> dict[str, dict[str, str]]:
        """From the lines of `Info` that begin with the namespace and a step, and are JSON."""
        found: dict[str, dict[str, str]] = {}
        for line in str(self._about.get("Info", "")).splitlines():
            step, _, text = line.removeprefix(NAMESPACE).partition(": ")
            if line.startswith(NAMESPACE) and text:
                try:
                    about = json.loads(text)
                except ValueError:
                    continue
                if isinstance(about, dict):
                    found[step] = {str(key): str(value) for key, value in about.items()}
        return found


class Lsm(Description):
    """Zeiss LSM, in metres and seconds."""

    def __init__(self, about: dict[str, Any]) -> None:
        self._about = about

    def size(self, axis: str) -> Quantity | None:
        """From the voxel's size; 0 where there is none."""
        value = self._about.get(f"VoxelSize{axis.upper()}")
        return quantity(value, "m", LENGTHS, f"size in {axis}") if value else None

    def interval(self) -> Quantity | None:
        """From the interval that the file's header has; 0 where there is none."""
        value = self._about.get("TimeIntervall")
        return quantity(value, "s", TIMES, "frame interval") if value else None
