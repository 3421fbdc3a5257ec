"""Frames for training: an input and a target of every field, checked and divided."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.quality.table import read_frame
from models.refusals import refused
from models.restoration.normalization import Image

TABLE = "fields.csv"
SPLITS = ("training", "validation", "test")
ENDINGS = (".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ome.zarr", ".zarr")
# Columns that only `stedfast simulate labels` writes together.
_SIMULATED = {"set", "seed", "maps"}
_VALIDATION = 0.15

Reader = Callable[[Path], Sequence[NDArray[Any]]]
"""Reads the frames of a file, each rows × columns."""


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

    def describe(self, parts: Split) -> dict[str, Any]:
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


class Split(NamedTuple):
    """Indices of training, validation and test frames; they share no field."""

    inputs: tuple[list[int], list[int], list[int]]
    targets: tuple[list[int], list[int], list[int]]


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


def read_pairs(
    folder: Path,
    source: str,
    target: str,
    *,
    paired: bool = True,
    read: Reader = lambda path: [read_frame(path)],
) -> Pairs:
    """Frames of two channels of a folder, sorted by name; those of a stack are one field.

    Parameters
    ----------
    folder
        Has a folder for each channel, with one file for each frame, and perhaps a `fields.csv`
        with the columns name, field and split.
    source, target
        Folders of inputs and targets; may be the same, or paths of their own.
    paired
        Whether the frames of one name must be a pair.
    read
        Reads a file; by default a plain TIFF of one frame.

    Raises
    ------
    ValueError
        A folder or a partner is missing, a file cannot be used, shapes differ, or the table is
        wrong; names file and value.
    """
    table = _table(folder / TABLE)
    simulated = any(row.keys() >= _SIMULATED for row in table.values())
    inputs = _frames(folder / source, table, read)
    targets = inputs if target == source else _frames(folder / target, table, read)
    if paired:
        _matched(folder, source, target, inputs, targets)
    for name, frames in ((source, inputs), (target, targets)):
        if all(np.ptp(frame.image) == 0 for frame in frames):
            raise ValueError(
                f"{folder / name}: every frame is constant; accepted: frames that show something"
            )
    return Pairs(
        tuple(inputs), tuple(targets), paired, folder.name, (source, target), (), simulated
    )


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
    _matched(Path(), "input", "target", *made)
    return Pairs(tuple(made[0]), tuple(made[1]))


def _table(file: Path) -> dict[str, dict[str, str]]:
    """Rows of the table by name; none where there is no table."""
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            columns = list(reader.fieldnames or ())
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file}: not a readable CSV ({error})") from None
    if "name" not in columns:
        raise ValueError(
            f"{file}: found columns {', '.join(columns) or 'nothing'}; accepted: a CSV with a"
            " header, the column name and perhaps field and split"
        )
    table: dict[str, dict[str, str]] = {}
    for line, row in enumerate(rows, start=2):
        split = row.get("split") or ""
        if split and split not in SPLITS:
            raise ValueError(f"{file}, line {line}: split: {refused(split, SPLITS)}")
        if row["name"] in table:
            raise ValueError(f"{file}, line {line}: {row['name']!r} stands here twice")
        table[row["name"]] = row
    return table


def _frames(folder: Path, table: dict[str, dict[str, str]], read: Reader) -> list[Frame]:
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; accepted: two folders with frames of the same names"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((end for end in ENDINGS if path.name.lower().endswith(end)), None)
        if ending is None or path.name.startswith("."):
            continue
        name = path.name[: -len(ending)]
        if name in files:
            raise ValueError(f"{path}: the same name as {files[name].name}; one of them must go")
        files[name] = path
    if not files:
        raise ValueError(f"{folder}: no frames; accepted: {', '.join(ENDINGS)}")
    frames = []
    for name, path in files.items():
        if table and name not in table:
            raise ValueError(f"{path}: has no row in {TABLE}; accepted: one for every frame")
        row = table.get(name, {})
        field, part = row.get("field") or name, row.get("split") or ""
        images = read(path)
        for number, image in enumerate(images):
            of_stack = f"{name}[{number}]" if len(images) > 1 else name
            frames.append(Frame(of_stack, checked(image, str(path)), field, part))
    return frames


def _matched(
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


def divided(pairs: Pairs, smallest: int) -> Pairs:
    """Frames of one field, of which the last part validates: of a stack frames, of one frame rows.

    For noise2void: what a frame shows of the structure is no secret that validation could give
    away, because it asks for noise that the network has not seen.

    Parameters
    ----------
    pairs
        Of which inputs and targets are the same.
    smallest
        Rows and columns that a frame must have.

    Raises
    ------
    ValueError
        There is too little to divide.

    Examples
    --------
    >>> frame = np.random.default_rng(0).poisson(9, (128, 64))
    >>> pairs = from_arrays([frame], [frame])
    >>> [(part.split, part.image.shape) for part in divided(pairs, smallest=16).inputs]
    [('training', (109, 64)), ('validation', (19, 64))]
    """
    frames = pairs.inputs
    if any(frame.split for frame in frames) or len({frame.field for frame in frames}) > 1:
        return pairs
    if len(frames) > 1:
        last = max(1, round(_VALIDATION * len(frames)))
        cut = [
            replace(frame, split=SPLITS[number >= len(frames) - last])
            for number, frame in enumerate(frames)
        ]
    else:
        image, name = frames[0].image, frames[0].name
        axis = int(image.shape[1] > image.shape[0])
        last = max(smallest, round(_VALIDATION * image.shape[axis]))
        if image.shape[axis] - last < smallest or min(image.shape) < smallest:
            rows, columns = image.shape
            raise ValueError(
                f"{pairs.source}: {name} is one frame of {rows} × {columns} pixels; accepted alone:"
                f" {smallest} × {2 * smallest} or more, or a smaller `patch`"
            )
        parts = np.split(image, [image.shape[axis] - last], axis)
        cut = [
            replace(frames[0], name=f"{name}, {part}", image=own, split=part)
            for own, part in zip(parts, SPLITS, strict=False)
        ]
    return replace(pairs, inputs=tuple(cut), targets=tuple(cut))


def split(pairs: Pairs, seed: int) -> Split:
    """The table's own split; where it has none, 85 / 15% at random, whole fields together.

    Raises
    ------
    ValueError
        Nothing would be left to train on or to validate with.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (10, 32, 32))
    >>> training, validation, test = split(from_arrays(frames, frames), seed=0).inputs
    >>> len(training), len(validation), len(test)
    (8, 2, 0)
    """
    frames = (pairs.inputs, pairs.targets)
    if any(frame.split for own in frames for frame in own):
        made = Split(*(_parted(own, lambda frame: frame.split) for own in frames))
        for own, channel in zip(made, pairs.channels, strict=True):
            for part, indices in zip(SPLITS[:2], own, strict=False):
                if not indices:
                    raise ValueError(
                        f"{pairs.source}: column split has no `{part}` of {channel}; accepted:"
                        " frames of training and validation, or no such column"
                    )
        return made
    names = sorted({frame.field for own in frames for frame in own})
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = {names[i] for i in order[: max(1, round(_VALIDATION * len(names)))]}
    made = Split(*(_parted(own, lambda frame: SPLITS[frame.field in chosen]) for own in frames))
    if not all(own[0] and own[1] for own in made):
        raise ValueError(
            f"{pairs.source}: too few fields ({len(names)}); accepted: two or more of each"
            " channel, because one must validate"
        )
    return made


def _parted(
    frames: Sequence[Frame], part: Callable[[Frame], str]
) -> tuple[list[int], list[int], list[int]]:
    """Indices of the training, validation and test frames."""
    training, validation, test = (
        [i for i, frame in enumerate(frames) if part(frame) == name] for name in SPLITS
    )
    return training, validation, test
