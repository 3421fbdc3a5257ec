"""Several images in one folder, laid out as bioformats2raw does it (NGFF 0.5).

    raw.ome.zarr/0, 1, …               the images
    raw.ome.zarr/OME/zarr.json         which there are
    raw.ome.zarr/OME/METADATA.ome.xml  the same as OME-XML, which napari finds them by

Both lists are made from the images that are on disk, so that a power cut leaves nothing in them
that cannot be made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from yaozarrs import v05

from agent.record.durable import write_file

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_XML = "METADATA.ome.xml"
_TYPES = {"float32": "float", "float64": "double"}
"""What OME calls types of pixels, where that is not their name."""


def files_of(collection: Path) -> tuple[Path, Path]:
    """Of a collection itself, and of the list of its images."""
    return collection / "zarr.json", collection / "OME" / "zarr.json"


def list_in(collection: Path, number: str) -> None:
    """Add an image to a collection, before it is made."""
    itself, listed = files_of(collection)
    collection.mkdir(exist_ok=True)
    listed.parent.mkdir(exist_ok=True)
    series = sorted({*_numbers(collection), number}, key=int)
    root = v05.Bf2Raw.model_validate({"version": "0.5", "bioformats2raw.layout": 3})
    _write_group(itself, root)
    _write_group(listed, v05.Series.model_validate({"version": "0.5", "series": series}))


def add_to_xml(collection: Path, number: str) -> None:
    """Describe one more image, which was just made, in the OME-XML of its collection."""
    try:
        root = ElementTree.parse(collection / "OME" / _XML).getroot()
        images = {int(one.attrib["ID"].removeprefix("Image:")): one for one in root}
    except (OSError, ElementTree.ParseError, KeyError, ValueError):
        describe_in_xml(collection)
        return
    if (element := _image(collection, number)) is not None:
        images[int(number)] = element
    root[:] = [images[one] for one in sorted(images)]
    _write_xml(collection, root)


def describe_in_xml(collection: Path) -> None:
    """Write the OME-XML of a collection, of all images that are there now."""
    root = ElementTree.Element(f"{{{_SCHEMA}}}OME")
    images = (_image(collection, number) for number in _numbers(collection))
    root.extend(image for image in images if image is not None)
    _write_xml(collection, root)


def _write_xml(collection: Path, root: ElementTree.Element) -> None:
    ElementTree.register_namespace("", _SCHEMA)
    text = ElementTree.tostring(root, "utf-8", xml_declaration=True)
    write_file(collection / "OME" / _XML, text, sync=None)  # it can be made again


def _numbers(collection: Path) -> list[str]:
    """Of the images that are there."""
    names = (file.parent.name for file in collection.glob("*/zarr.json"))
    return sorted((name for name in names if name.isdigit()), key=int)


def _image(collection: Path, number: str) -> ElementTree.Element | None:
    """The element of an image with the axes t, c, z, y, x; None where a power cut left none."""
    files = (collection / number / "zarr.json", collection / number / "0" / "zarr.json")
    try:
        group, array = (json.loads(file.read_bytes()) for file in files)
    except (OSError, ValueError):
        return None
    ome: Any = group["attributes"]["ome"]
    (multiscale,) = ome["multiscales"]
    units = [axis.get("unit") for axis in multiscale["axes"]]
    scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
    sizes = {f"Size{axis}": size for axis, size in zip("TCZYX", array["shape"], strict=True)}
    lengths = {
        f"PhysicalSize{axis}": size
        for axis, size, unit in zip("ZYX", scale[2:], units[2:], strict=True)
        if unit is not None
    }
    image = _element("Image", ID=f"Image:{number}", Name=f"field {number}")
    pixels = _element(
        "Pixels",
        ID=f"Pixels:{number}",
        DimensionOrder="XYZCT",
        Type=_TYPES.get(array["data_type"], array["data_type"]),
        **sizes,
        **lengths,
    )
    image.append(pixels)
    if units[0] is not None:
        pixels.set("TimeIncrement", str(scale[0]))
    for channel, shown in enumerate(ome["omero"]["channels"]):
        named = {"ID": f"Channel:{number}:{channel}", "Name": shown["label"]}
        pixels.append(_element("Channel", **named, SamplesPerPixel=1))
    pixels.append(_element("MetadataOnly"))
    return image


def _element(name: str, **told: object) -> ElementTree.Element:
    """An element of the schema with these attributes."""
    attributes = {key: str(value) for key, value in told.items()}
    return ElementTree.Element(f"{{{_SCHEMA}}}{name}", attributes)


def _write_group(file: Path, ome: v05.Bf2Raw | v05.Series) -> None:
    data = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": ome.model_dump(mode="json", by_alias=True, exclude_none=True)},
    }
    write_file(file, json.dumps(data, indent=2).encode())
