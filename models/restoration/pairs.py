"""Frames for training: an input and a target of every field, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.restoration.normalization import Image

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of one channel.

    Parameters
    ----------
    name
        Of its file, without ending; frames of one name in two channels are a pair.
    image
        Rows × columns, single precision, in the file's units.
    field
        Field of view: frames of one field stay in one part of the split.
    split
        `training`, `validation` or `test`; "" where that is left to chance.
    """

    name: str
    image: Image
    field: str = ""
    split: str = ""


class PairSplit(NamedTuple):
    """Indices of training, validation and test frames; they share no field."""

    inputs: tuple[list[int], list[int], list[int]]
    targets: tuple[list[int], list[int], list[int]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Inputs and targets.

    Parameters
    ----------
    inputs, targets
        Frames; where `paired`, of the same names in the same order and of the same shapes.
    paired
        Whether input i and target i show the same place.
    source
        What the model card calls the data.
    channels
        Names of input and target.
    shifts
        Rows and columns by which each target was moved; empty before `register`.
    simulated
        Whether the data say that they come from the virtual microscope.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (4, 32, 32))
    >>> pairs = from_arrays(frames, frames)
    >>> pairs.paired, len(pairs.inputs), pairs.channels
    (True, 4, ('input', 'target'))
    """

    inputs: tuple[Frame, ...]
    targets: tuple[Frame, ...]
    paired: bool = True
    source: str = "arrays"
    channels: tuple[str, str] = ("input", "target")
    shifts: tuple[tuple[int, int], ...] = ()
    simulated: bool = False

    def describe(self, parts: PairSplit) -> dict[str, Any]:
        """What a model card says about its data: counts, shifts, and a hash of all frames."""
        digest = hashlib.sha256()
        for frame in (*self.inputs, *self.targets):
            digest.update(f"{frame.name} {frame.field} {frame.split} {frame.image.shape}".encode())
            digest.update(np.ascontiguousarray(frame.image).data)
        moved = [shift for shift in self.shifts if shift != (0, 0)]
        return {
            "name": self.source,
            "input": self.channels[0],
            "target": self.channels[1],
            "paired": self.paired,
            "pairs": len(self.inputs),
            "fields": len({frame.field for frame in self.inputs}),
            "simulated": self.simulated,
            "split": {part: len(own) for part, own in zip(SPLITS, parts.inputs, strict=True)},
            "registration": {
                "checked": bool(self.shifts),
                "moved": len(moved),
                "largest_shift_px": max((float(np.hypot(*shift)) for shift in moved), default=0.0),
            },
            "sha256": digest.hexdigest(),
        }


def checked(image: NDArray[Any], name: str) -> Image:
    """A frame in single precision.

    Raises
    ------
    ValueError
        It is no grey image, of no real numbers, or has pixels that are not finite; says `name`.

    Examples
    --------
    >>> checked(np.zeros((8, 8), np.uint16), "00").dtype
    dtype('float32')
    """
    if image.ndim != 2 or 0 in image.shape:
        raise ValueError(
            f"{name}: found an image of shape {image.shape}; accepted: one grey image (y, x)"
        )
    if image.dtype.kind not in "uif":
        raise ValueError(f"{name}: found pixels of type {image.dtype}; accepted: real numbers")
    with np.errstate(over="ignore"):
        single = image.astype(np.float32)
    if not (finite := np.isfinite(single)).all():
        raise ValueError(
            f"{name}: {int((~finite).sum())} pixels are not finite; accepted: finite numbers"
        )
    return single


def from_arrays(inputs: Sequence[NDArray[Any]], targets: Sequence[NDArray[Any]]) -> Pairs:
    """Pairs of arrays, each a field of its own.

    Raises
    ------
    ValueError
        They cannot be used; see `read_pairs`.

    Examples
    --------
    >>> noisy = np.random.default_rng(0).poisson(9, (4, 32, 32))
    >>> len(from_arrays(noisy, noisy).targets)
    4
    """
    made = []
    for channel, images in (("input", inputs), ("target", targets)):
        frames = [
            Frame(f"{i:04d}", checked(np.asarray(image), f"{channel} {i}"), f"{i:04d}")
            for i, image in enumerate(images)
        ]
        made.append(frames)
    check_matched(Path(), "input", "target", *made)
    return Pairs(tuple(made[0]), tuple(made[1]))


def check_matched(
    folder: Path, source: str, target: str, inputs: list[Frame], targets: list[Frame]
) -> None:
    """Every frame has a partner of the same shape."""
    partner = {frame.name: frame for frame in targets}
    for frames, own, other in ((inputs, source, target), (targets, target, source)):
        names = {frame.name for frame in (targets if frames is inputs else inputs)}
        for frame in frames:
            if frame.name not in names:
                raise ValueError(
                    f"{folder / own}: {frame.name} has no partner in {other}; accepted: the"
                    " same names in both"
                )
    for frame in inputs:
        found = partner[frame.name].image.shape
        if found != frame.image.shape:
            raise ValueError(
                f"{folder / target}: {frame.name} has shape {found}, its partner in {source}"
                f" {frame.image.shape}; accepted: pairs of one shape"
            )
