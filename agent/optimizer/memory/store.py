"""Simulated sessions on disk: quality and bleaching over a grid of physical settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from agent.config.reading import UserError

SHIPPED = Path(__file__).with_name("sessions.safetensors")
"""The bundled library; its card lies beside it."""
AXES = ("excitation_w", "depletion_w", "dwell_s", "passes")
PIXEL_NM = 20.0
"""Pixel that the sessions are simulated with."""
_LEAST_EXPONENT = 1e-6
"""Least bleaching exponent that is kept, so that its logarithm is finite."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Simulated sessions.

    Parameters
    ----------
    axes
        Grid along each of `AXES`: powers on the sample (W), dwell time of one pass (s), passes.
    quality
        Expected label in [0, 1]: sessions × the grid's four axes.
    log_exponent
        Logarithm of −log(surviving share), as large: bleaching is close to a power law, so this
        is what can be interpolated and kept in half precision.
    about
        What each session's sample was.

    Examples
    --------
    >>> sessions = Sessions.read()
    >>> list(sessions.axes), sessions.quality.shape[0]
    (['excitation_w', 'depletion_w', 'dwell_s', 'passes'], 300)
    """

    axes: Mapping[str, NDArray[np.float64]]
    quality: NDArray[np.float32]
    log_exponent: NDArray[np.float32]
    about: tuple[Mapping[str, Any], ...]

    def __len__(self) -> int:
        return len(self.about)

    @classmethod
    def read(cls, path: Path = SHIPPED) -> Sessions:
        """Read a library.

        Raises
        ------
        UserError
            The file is missing, or no library of sessions.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; a library of sessions is needed")
        try:
            with safe_open(path, "np") as file:
                return cls(
                    {axis: file.get_tensor(axis) for axis in AXES},
                    file.get_tensor("quality").astype(np.float32),
                    file.get_tensor("log_exponent").astype(np.float32),
                    tuple(json.loads(file.metadata()["sessions"])),
                )
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: not a library of sessions: {error}") from None

    def write(self, path: Path) -> None:
        """Write a library; a reader meanwhile sees the old one or the new one."""
        tensors: dict[str, NDArray[Any]] = {axis: self.axes[axis] for axis in AXES}
        for name in ("quality", "log_exponent"):
            tensors[name] = np.ascontiguousarray(getattr(self, name), dtype=np.float16)
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(save(tensors, {"sessions": json.dumps(self.about)}))
        partial.replace(path)


def log_exponent(bleaching: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the library keeps of a bleached share.

    Examples
    --------
    >>> log_exponent(np.array([1 - np.exp(-1)])).round(6).tolist()
    [0.0]
    """
    survived = np.log1p(-np.minimum(bleaching, 1 - 1e-12))
    kept: NDArray[np.float64] = np.log(np.maximum(-survived, _LEAST_EXPONENT))
    return kept
