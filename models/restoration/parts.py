"""Which frames are learned from, which validate and which test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from models.restoration.pairs import SPLITS, Frame, Pairs, PairSplit

_VALIDATION = 0.15
"""Share of the fields that validates, or of a frame; chosen."""


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
    >>> from models.restoration.pairs import from_arrays
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


def split(pairs: Pairs, seed: int) -> PairSplit:
    """The table's own split; where it has none, 85 / 15% at random, whole fields together.

    Raises
    ------
    ValueError
        Nothing would be left to train on or to validate with.

    Examples
    --------
    >>> from models.restoration.pairs import from_arrays
    >>> frames = np.random.default_rng(0).poisson(9, (10, 32, 32))
    >>> training, validation, test = split(from_arrays(frames, frames), seed=0).inputs
    >>> len(training), len(validation), len(test)
    (8, 2, 0)
    """
    frames = (pairs.inputs, pairs.targets)
    if any(frame.split for own in frames for frame in own):
        made = PairSplit(*(_parted(own, lambda frame: frame.split) for own in frames))
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
    made = PairSplit(*(_parted(own, lambda frame: SPLITS[frame.field in chosen]) for own in frames))
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
