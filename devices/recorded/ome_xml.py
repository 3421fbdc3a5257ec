"""What an OME-XML says of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import tifffile

from devices.recorded.description import Place
from devices.recorded.errors import ImageError
from devices.recorded.tiff_description import FRAMES, NAMESPACE, Tags
from devices.recorded.units import LENGTHS, TIMES, Quantity, quantity

_AXES = (("t", "TheT"), ("z", "TheZ"), ("c", "TheC"))
_PLANE = ("ExposureTime", "PositionX", "PositionY", "PositionZ")


class OmeXml(Tags):
    """One `Image` of OME-XML; where it says no size, the resolution tags."""

    ome = True

    def __init__(self, page: tifffile.TiffPage, root: Element, image: Element) -> None:
        super().__init__(page, {})
        self._root = root
        self.name = image.get("Name", "")
        pixels = next(iter(_children(image, "Pixels")), None)
        self._pixels = Element("Pixels") if pixels is None else pixels
        self._planes = {
            tuple(int(plane.get(key, 0)) for _, key in _AXES): plane
            for plane in _children(self._pixels, "Plane")
        }

    def size(self, axis: str) -> Quantity | None:
        """`PhysicalSizeX` and its like, in µm where no unit stands."""
        name = f"PhysicalSize{axis.upper()}"
        if name not in self._pixels.keys():  # noqa: SIM118  # an XML element
            return super().size(axis)
        unit = self._pixels.get(f"{name}Unit", "µm")
        return quantity(self._pixels.get(name), unit, LENGTHS, name)

    def interval(self) -> Quantity | None:
        """`TimeIncrement`, in s where no unit stands."""
        name = "TimeIncrement"
        if float(self._pixels.get(name) or 0) == 0:
            return None
        unit = self._pixels.get(f"{name}Unit", "s")
        return quantity(self._pixels.get(name), unit, TIMES, name)

    def times(self, places: Sequence[Place]) -> tuple[float, ...] | None:
        """`DeltaT` of each plane; None where one has none."""
        found = []
        for place in places:
            plane = self._planes.get(_at(place))
            if plane is None or plane.get("DeltaT") is None:
                return None
            try:
                value = float(plane.get("DeltaT", ""))
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise ImageError(f"DeltaT: found {plane.get('DeltaT')!r}; accepted: numbers")
            unit = quantity(1, plane.get("DeltaTUnit", "s"), TIMES, "DeltaT")
            if unit is None:
                return None
            found.append(value * unit.seconds)
        return tuple(found)

    def planes(self, places: Sequence[Place]) -> dict[str, list[Any]]:
        """Exposure times and positions that every one of these planes has."""
        own = [self._planes.get(_at(place)) for place in places]
        if not own or any(plane is None for plane in own):
            return {}
        told: dict[str, list[Any]] = {}
        for key in (name + unit for name in _PLANE for unit in ("", "Unit")):
            values = [plane.get(key) for plane in own if plane is not None]
            if all(value is not None for value in values):
                told[key] = values
        return told

    def made(self) -> dict[str, dict[str, str]]:
        """From the map annotations of stedfast's namespace, but that of the frames."""
        return {
            name.removeprefix(NAMESPACE): items
            for name, items in self._annotations().items()
            if name != FRAMES
        }

    def kinds(self, places: Sequence[Place]) -> tuple[str, ...]:
        """From the annotation of the frames, by time point."""
        marks = self._annotations().get(FRAMES, {})
        found = [marks.get(str(place.get("t", 0)), "").split(";")[0].strip() for place in places]
        return tuple(found) if marks and all(found) else ()

    def channels(self) -> list[str]:
        """Their names."""
        return [channel.get("Name", "") for channel in _children(self._pixels, "Channel")]

    def _annotations(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for group in _children(self._root, "StructuredAnnotations"):
            for one in _children(group, "MapAnnotation"):
                name = one.get("Namespace", "")
                if name.startswith(NAMESPACE):
                    found[name] = {
                        item.get("K", ""): item.text or ""
                        for value in _children(one, "Value")
                        for item in _children(value, "M")
                    }
        return found


def _at(place: Place) -> tuple[int, ...]:
    return tuple(place.get(axis, 0) for axis, _ in _AXES)


def _children(element: Element, name: str) -> list[Element]:
    """Those of a name, with any year in the namespace."""
    return [child for child in element if child.tag.rpartition("}")[2] == name]


def ome_images(root: Element) -> list[Element]:
    """The `Image` elements."""
    return _children(root, "Image")
