"""Files as Imspector and Leica's software write them, in small."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]

_TYPES = {"uint8": 1, "uint16": 4, "int16": 8, "float32": 0x40}
_METRE, _SECOND, _NONE = ((1, 0, 0), (0, 0, 1), (0, 0, 0))
_LABELS = {
    "x": ("ExpControl X", _METRE),
    "y": ("ExpControl Y", _METRE),
    "z": ("ExpControl Z", _METRE),
    "t": ("Time", _SECOND),
}


def write_obf(
    file: Path,
    stacks: Mapping[str, Pixels],
    *,
    axes: str = "yx",
    step_m: float = 2e-8,
    interval_s: float = 0.5,
    written: int | None = None,
    compression: int = 1,
    back: bool = False,
) -> Path:
    """Imspector's Object Binary Format, version 6, with tags at its end.

    Parameters
    ----------
    file
        To write.
    stacks
        Pixels by name.
    axes
        Of them; x is the one that changes fastest.
    step_m, interval_s
        Between pixels and between frames.
    written
        Pixels that were scanned; all if absent.
    compression
        1: zlib.
    back
        The last stack names the first as the next one.
    """
    head = struct.Struct("<10sIQIQ")
    first = head.size
    body = b""
    for number, (name, pixels) in enumerate(stacks.items()):
        sizes = {axis: pixels.shape[axes.index(axis)] for axis in reversed(axes)}
        steps = [interval_s if axis == "t" else step_m for axis in sizes]
        lengths = [step * size for step, size in zip(steps, sizes.values(), strict=True)]
        raw = pixels.tobytes()
        data = zlib.compress(raw) if compression == 1 else raw
        start = first + len(body)
        footer = _footer(list(sizes), pixels.size if written is None else written)
        after = start + 368 + len(name) + len(data) + len(footer)
        last = number == len(stacks) - 1
        body += struct.pack(
            "<16s17I30d5I3Q",
            b"OMAS_BF_STACK\n\xff\xff",
            6,
            len(sizes),
            *(list(sizes.values()) + [1] * 15)[:15],
            *(lengths + [0.0] * 15)[:15],
            *[0.0] * 15,
            _TYPES[pixels.dtype.name],
            compression,
            1,
            len(name),
            0,
            0,
            len(data),
            (first if back else 0) if last else after,
        )
        body += name.encode() + data + footer
    tags = first + len(body)
    file.write_bytes(head.pack(b"OMAS_BF\n\xff\xff", 2, first, 0, tags) + body + bytes(4))
    return file


def _footer(axes: list[str], written: int) -> bytes:
    units = [_unit(_LABELS[axis][1]) for axis in axes] + [_unit(_NONE)] * (16 - len(axes))
    fixed = struct.pack("<31I", *[0] * 30, 0) + units[-1] + b"".join(units[:15])
    fixed += struct.pack("<2QQQIQ2Q", 0, 0, 0, 0, 0, 0, written, 0)
    labels = b"".join(
        struct.pack("<I", len(_LABELS[axis][0])) + _LABELS[axis][0].encode() for axis in axes
    )
    return struct.pack("<I", len(fixed) + 4) + fixed + labels


def _unit(exponents: tuple[int, int, int]) -> bytes:
    """Metres, kilograms, seconds and six others, each a numerator and a denominator; a factor."""
    fractions = [number for one in exponents for number in (one, 1)] + [0, 1] * 6
    return struct.pack("<18id", *fractions, 1.0)


def write_lif(file: Path, images: Mapping[str, Pixels], *, step_m: float = 2e-8) -> Path:
    """Leica's image file, version 2: images of channels × planes × rows × columns, 16 bits."""
    elements, blocks = [], b""
    for number, (name, pixels) in enumerate(images.items()):
        channels, planes, rows, columns = pixels.shape
        sizes = {1: (columns, 2), 2: (rows, 2 * columns), 3: (planes, 2 * columns * rows)}
        dimensions = "".join(
            f'<DimensionDescription DimID="{axis}" NumberOfElements="{size}" Origin="0"'
            f' Length="{step_m * (size - 1)}" Unit="m" BitInc="0" BytesInc="{stride}"/>'
            for axis, (size, stride) in sizes.items()
        )
        described = "".join(
            '<ChannelDescription DataType="0" ChannelTag="0" Resolution="16"'
            ' NameOfMeasuredQuantity="" Min="0" Max="65535" Unit="" IsLUTInverted="0" BitInc="0"'
            f' LUTName="Dye{channel}" BytesInc="{channel * 2 * planes * rows * columns}"/>'
            for channel in range(channels)
        )
        elements.append(
            f'<Element Name="{name}" Visibility="1" UniqueID="{number}"><Data><Image>'
            f"<ImageDescription><Channels>{described}</Channels>"
            f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        label = f"MemBlock_{number}"
        blocks += struct.pack("<IIBQBI", 0x70, 0, 0x2A, pixels.nbytes, 0x2A, len(label))
        blocks += label.encode("utf-16-le") + np.ascontiguousarray(pixels).tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="cells"><Data><Experiment/></Data>'
        f"<Children>{''.join(elements)}</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    file.write_bytes(struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(xml)) + text + blocks)
    return file
