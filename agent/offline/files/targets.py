"""Files to write: checked before anything is computed, and whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError

# The largest file that plain TIFF can address, less room for everything but pixels.
CLASSIC_BYTES = 2**32 - 2**25
TIFFS = (".tif", ".tiff")
_OF_ZARR = ("zarr.json", ".zgroup", ".zattrs")


def check_targets(
    file: Path,
    targets: Sequence[Path],
    *,
    overwrite: bool,
    endings: Sequence[str] = TIFFS,
) -> None:
    """Check that files can be written, of which the second is the map of uncertainties.

    Raises
    ------
    UserError
        A name ends otherwise, there is no such folder, it is `file` itself, another target or,
        without `overwrite`, there already.
    """
    accepted = " or ".join([", ".join(endings[:-1]), endings[-1]])
    for target in targets:
        if target.suffix.lower() not in endings:
            raise UserError(f"{target}: found the ending {target.suffix!r}; accepted: {accepted}")
        if not target.parent.is_dir():
            raise UserError(f"{target}: there is no folder {target.parent}")
        if target.resolve() == file.resolve():
            raise UserError(f"{target}: is the file to read; measured data is kept")
        if target.exists() and not overwrite:
            raise UserError(f"{target}: is there already; --overwrite replaces it")
        if target.is_dir() and not any((target / name).exists() for name in _OF_ZARR):
            raise UserError(f"{target}: a folder that is no OME-Zarr image is not replaced")
    if len({target.resolve() for target in targets}) < len(targets):
        raise UserError(f"--uncertainty {targets[1]}: another file than {targets[0]} is needed")


def planes_in(
    spool: Path, count: int, shape: tuple[int, ...], dtype: Any = np.float32
) -> Iterator[NDArray[Any]]:
    """Planes (rows × columns) from a file that holds nothing else."""
    rows, columns = shape[-2:]
    with spool.open("rb") as file:
        for _ in range(count):
            yield np.fromfile(file, dtype, rows * columns).reshape(rows, columns)


class Partial:
    """A file, or the folder of an OME-Zarr image, that is only moved to its place when it is whole.

    Parameters
    ----------
    target
        Its place.
    ending
        Of another file that belongs to the same target and is never moved.
    """

    def __init__(self, target: Path, ending: str = "") -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}{ending}.partial")

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        _remove(self.path)

    def keep(self) -> None:
        """Move it to its place, from where an older one goes."""
        if not self._target.is_dir():
            self.path.replace(self._target)
            return
        older = self._target.with_name(f"{self._target.name}.older")
        self._target.replace(older)
        self.path.replace(self._target)
        _remove(older)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
