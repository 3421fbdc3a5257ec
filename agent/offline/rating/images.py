"""The images of a folder that people are shown, and the scores that a study compares."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.opening import opened, pixel_size_of
from agent.offline.user_study.answers import NETWORK
from devices.recorded import ENDINGS, Part

TABLE = "frames.csv"
# A folder has no options for each of its files.
_AS_IT_IS = Part(spelled="")
_ACCEPTED = "accepted: a CSV with a header and the columns image, target, prediction"


@dataclass(frozen=True, slots=True)
class Shown:
    """One image, or one comparison, that people are shown.

    Parameters
    ----------
    file
        Relative to the folder.
    pixel_size_nm
        None where neither the file nor anybody says it.
    target, prediction, system
        Of a study: the expert's score, a system's, and which system's.
    """

    file: str
    pixel_size_nm: float | None
    target: float | None = None
    prediction: float | None = None
    system: str = NETWORK

    @property
    def key(self) -> str:
        """Tells it from all others of its session."""
        return self.file if self.target is None else f"{self.system} {self.file}"


def images_in(folder: Path, pixel_size_nm: float | None, say: Callable[[str], None]) -> list[Shown]:
    """The files of a folder that hold one grey image each, by name.

    Parameters
    ----------
    folder
        Where they are.
    pixel_size_nm
        Instead of what the files, or a `frames.csv` beside them, say.
    say
        Told which files cannot be shown, and why.

    Raises
    ------
    UserError
        There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; one with image files is needed")
    known = _sizes(folder / TABLE)
    found = []
    for path in sorted(folder.iterdir()):
        if not path.name.lower().endswith(ENDINGS) or not path.is_file():
            continue
        try:
            found.append(Shown(path.name, _checked(path, pixel_size_nm, known.get(path.name))))
        except UserError as error:
            say(f"{error}; not shown")
    if not found:
        raise UserError(f"{folder}: holds no grey images; accepted: {', '.join(ENDINGS)}")
    return found


def comparisons(folder: Path, scores: Path, pixel_size_nm: float | None) -> list[Shown]:
    """What a study shows: each row of a table of two scores an image.

    Parameters
    ----------
    folder
        Where the images are.
    scores
        CSV with `image` (a file in the folder), `target` and `prediction` in [0, 1]; optional
        `system`.
    pixel_size_nm
        Instead of what the files say.

    Raises
    ------
    UserError
        The table or an image cannot be used; names file, line, value and what is accepted.
    """
    known = _sizes(folder / TABLE)
    found: dict[str, Shown] = {}
    for line, row in _rows(scores):
        where = f"{scores}, line {line}"
        name = row.get("image") or ""
        path = folder / name
        if not name or Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
            raise UserError(f"{where}: image: found {name!r}; accepted: a TIFF in {folder}")
        shown = Shown(
            name,
            _checked(path, pixel_size_nm, known.get(name)),
            _score(where, "target", row.get("target") or ""),
            _score(where, "prediction", row.get("prediction") or ""),
            (row.get("system") or "").lower() or NETWORK,
        )
        if shown.key in found:
            raise UserError(f"{where}: {name!r} of system {shown.system!r} stands there twice")
        found[shown.key] = shown
    if not found:
        raise UserError(f"{scores}: no rows below the header; {_ACCEPTED}")
    return list(found.values())


def _checked(path: Path, given: float | None, in_table: float | None) -> float | None:
    """The pixel size of a file that can be shown (nm); None if unknown."""
    with opened(path, _AS_IT_IS) as images:
        if len(images) != 1:
            raise UserError(f"{path}: found {len(images)} frames; accepted: one grey image a file")
        size, source = pixel_size_of(images, given)
        images[0]
    return size if source != "assumed" else in_table


def _sizes(table: Path) -> dict[str, float]:
    """Pixel sizes (nm) of a table of frames, as far as it is there and has them."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        return {row["file"]: float(row["pixel_size_nm"]) for row in rows if row["pixel_size_nm"]}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError):
        return {}


def _rows(scores: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with scores.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{scores}: no such file; {_ACCEPTED}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{scores}: not a readable CSV ({error}); {_ACCEPTED}") from None
    columns = list(reader.fieldnames or ())
    if not {"image", "target", "prediction"} <= set(columns):
        named = ", ".join(columns) or "nothing"
        raise UserError(f"{scores}: found columns {named}; {_ACCEPTED}")
    return rows


def _score(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UserError(f"{where}: {column}: found {text!r}; accepted: a number from 0 to 1")
    return value


def pixels_of(path: Path) -> NDArray[np.generic]:
    """The image in a file (rows × columns)."""
    with opened(path, _AS_IT_IS) as images:
        frame: NDArray[np.generic] = images[0]
    return frame
