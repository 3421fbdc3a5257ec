"""`stedfast score`: a quality score for every frame of some files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.reading import UserError
from agent.offline.files.opening import check_pixel_size, opened, pixel_size_of
from devices.recorded import Part

if TYPE_CHECKING:
    from models.quality import QualityScorer


def score_files(
    files: Sequence[Path],
    pixel_size_nm: float | None,
    weights: Path | None = None,
    part: Part | None = None,
    refused: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Score all frames of TIFFs and OME-Zarr images, one frame in memory at a time.

    Parameters
    ----------
    files
        Leading axes of more than two-dimensional ones are frames.
    pixel_size_nm
        Instead of what the files say.
    weights
        Other weights than the bundled ones.
    part
        Which image, channel or plane, where files have several.
    refused
        Told why a file or a frame could not be scored; the rest still is. Without it the first
        such raises.

    Returns
    -------
    list of dict
        `file`, `frame`, `frames` (in that file), `score`, `sd`, `flags`, `pixel_size_nm`, where
        that is from (`given`, `file` or `assumed`) and `filter`, the model that the file says it
        was filtered with, or None.

    Raises
    ------
    UserError
        A file cannot be read or scored, and `refused` is None.
    """
    check_pixel_size(pixel_size_nm)
    scorer = open_scorer(weights)
    rows: list[dict[str, Any]] = []

    def refuse(error: Exception) -> None:
        if refused is None:
            raise error
        refused(str(error))

    for file in files:
        try:
            with opened(file, part) as frames:
                size, source = pixel_size_of(frames, pixel_size_nm)
                filtered = frames.about().made.get("filter", {}).get("model")
                for number in range(len(frames)):
                    try:
                        score = scorer.score(frames[number], size)
                    except (ValueError, MemoryError) as error:
                        named = str(error).removeprefix(f"{file}, frame {number}: ")
                        refuse(UserError(f"{file}, frame {number}: {named}"))
                        continue
                    rows.append(
                        {
                            "file": str(file),
                            "frame": number,
                            "frames": len(frames),
                            "score": score.value,
                            "sd": score.sd,
                            "flags": list(score.flags),
                            "pixel_size_nm": size,
                            "pixel_size_from": source,
                            "filter": filtered,
                        }
                    )
        except UserError as error:
            refuse(error)
    return rows


def open_scorer(weights: Path | None) -> QualityScorer:
    """A scorer with these weights, or with the bundled ones.

    Raises
    ------
    UserError
        The weights cannot be used.
    """
    from models.quality import QualityScorer

    try:
        return QualityScorer(weights)
    except (OSError, ValueError) as error:
        raise UserError(f"--weights: {error}") from None
