"""Files that networks learn from, as the one reader of image files has them.

`models/` knows how to learn from frames; which files hold them, it is handed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.offline.files.opening import pixel_size_of
from devices.recorded import ImageError, Part, open_frames

# A folder of training data has no options for each of its files.
_AS_IT_IS = Part(spelled="")


def read_rated(path: Path) -> tuple[NDArray[Any], float | None]:
    """The one frame of a file, and its pixel size (nm) where the file says it.

    Raises
    ------
    ValueError
        It cannot be read, or is more than one grey frame.
    """
    with open_frames(path, _AS_IT_IS) as frames:
        if len(frames) != 1:
            raise ImageError(f"{path}: found {len(frames)} frames; accepted: one grey image")
        size, source = pixel_size_of(frames, None)
        return frames[0], size if source == "file" else None


def read_frames(path: Path) -> list[NDArray[Any]]:
    """All frames of a file.

    Raises
    ------
    ValueError
        It cannot be read, or is not grey and of one channel.
    """
    with open_frames(path, _AS_IT_IS) as frames:
        return list(frames)


def read_movie(path: Path) -> NDArray[Any]:
    """A movie, T × rows × columns; it stays on disk where it lies there as it is.

    Raises
    ------
    ValueError
        It cannot be read, or is no movie of one field and channel.
    """
    with open_frames(path, _AS_IT_IS) as frames:
        frames.as_movie()
        mapped = frames.mapped()
        return np.stack(list(frames)) if mapped is None else mapped
