"""Rated frames as tensors, and how they are split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.quality.preparing import INPUT, prepare
from models.quality.resampling import PIXEL_SIZE_NM
from models.quality.table import Rating, Reader, read_plain, read_ratings

SPLITS = ("training", "validation", "test")


class Split(NamedTuple):
    """Indices of frames; they share no frame, and no field where the table names fields."""

    training: Tensor
    validation: Tensor
    test: Tensor


@dataclass(frozen=True, slots=True)
class RatedSet:
    """Prepared frames: every tile with the index of its frame and its share in the score.

    Parameters
    ----------
    tiles
        Tiles × 1 × 224 × 224, half precision: ten thousand of them take 1 GB.
    frame, weight
        Of each tile.
    score
        Of each frame.
    ratings
        The rows of the table, in the order of the frames.
    """

    tiles: Tensor
    frame: Tensor
    weight: Tensor
    score: Tensor
    ratings: tuple[Rating, ...]

    def part(self, frames: Tensor) -> Tensor:
        """Which tiles belong to `frames`."""
        return torch.isin(self.frame, frames).nonzero().squeeze(1)

    def average(self, tiles: Tensor, values: Tensor) -> Tensor:
        """Values of all frames from those of `tiles`, by the tiles' shares."""
        total = torch.zeros(len(self.score))
        return total.index_add_(0, self.frame[tiles], values * self.weight[tiles])

    @property
    def table_sha256(self) -> str:
        """Hash of what the table says of the frames beside their scores: sizes, parts, fields."""
        digest = hashlib.sha256()
        for rating in self.ratings:
            row = (rating.pixel_size_nm, rating.split, rating.field)
            digest.update(f"{rating.path.name} {row!r}\n".encode())
        return digest.hexdigest()

    def describe(self, name: str, split: Split) -> dict[str, Any]:
        """What a model card says about its data: counts, and a hash of files and scores.

        `simulated` is how many of the frames are.
        """
        digest = hashlib.sha256()
        for rating in self.ratings:
            digest.update(f"{rating.path.name} {rating.score!r}\n".encode())
            digest.update(rating.path.read_bytes())
        structures = np.array([rating.structure for rating in self.ratings])
        return {
            "name": name,
            "frames": len(self.ratings),
            "simulated": sum(rating.simulated for rating in self.ratings),
            "split": {part: len(frames) for part, frames in zip(SPLITS, split, strict=True)},
            "structures": {
                str(s): int((structures == s).sum()) for s in np.unique(structures) if s
            },
            "sha256": digest.hexdigest(),
        }


def load(data: Path, column: str = "score", read: Reader = read_plain) -> RatedSet:
    """Read and prepare all frames of a folder or CSV.

    Parameters
    ----------
    data, column
        See `table.read_ratings`.
    read
        Reads a frame and its pixel size, which counts where the table has none; 20 nm where the
        file has none either. By default a plain TIFF, without its pixel size.

    Raises
    ------
    ValueError
        For a wrong table or frame; names file, line and value.
    """
    ratings = read_ratings(data, column)
    tiles, weights, frame = [], [], []
    for index, rating in enumerate(ratings):
        try:
            image, stated = read(rating.path)
            size = rating.pixel_size_nm or stated or PIXEL_SIZE_NM
            cut, share = prepare(image, size, INPUT)
        except ValueError as error:
            reason = str(error).removeprefix(f"{rating.path}: ")
            raise ValueError(f"{rating.path}: {reason}") from None
        # A single bright pixel in a dark frame can be beyond what half precision holds.
        tiles.append(np.clip(cut, -6e4, 6e4).astype(np.float16))
        weights.append(share)
        frame += [index] * len(cut)
    if not any(share.any() for share in weights):
        raise ValueError(f"{data}: every frame is constant; accepted: frames that show something")
    return RatedSet(
        torch.from_numpy(np.concatenate(tiles)[:, None]),
        torch.tensor(frame),
        torch.from_numpy(np.concatenate(weights)).float(),
        torch.tensor([rating.score for rating in ratings]),
        tuple(ratings),
    )


def split(ratings: tuple[Rating, ...], seed: int) -> Split:
    """The table's own split; where it has none, 80 / 10 / 10% at random, whole fields together.

    Raises
    ------
    ValueError
        The table's split leaves nothing to train on or to validate with.

    Examples
    --------
    >>> ratings = tuple(Rating(Path(f"{number:02}.tif"), 0.5) for number in range(20))
    >>> parts = split(ratings, seed=1)
    >>> len(parts.training), len(parts.validation), len(parts.test)
    (16, 2, 2)
    """
    named = [rating.split for rating in ratings]
    if any(named):
        parts = [[i for i, own in enumerate(named) if own == part] for part in SPLITS]
        for part, frames in zip(SPLITS[:2], parts, strict=False):
            if not frames:
                raise ValueError(
                    f"{ratings[0].path.parent}: column split has no `{part}`; accepted:"
                    " frames of training and validation, or no such column"
                )
        return Split(*(torch.tensor(frames, dtype=torch.long) for frames in parts))
    # A frame that several rows rate is one field, even if the rows say otherwise.
    fields = [rating.field or str(rating.path.resolve()) for rating in ratings]
    names = sorted(set(fields), key=fields.index)
    order = np.random.default_rng(seed).permutation(len(names))
    tenth = max(1, len(names) // 10)
    place = {names[j]: min(2, at // tenth) for at, j in enumerate(order)}
    # The first tenth validates, the second tests, the rest trains.
    chosen = [torch.tensor([i for i, f in enumerate(fields) if place[f] == p]) for p in range(3)]
    return Split(chosen[2], chosen[0], chosen[1])
