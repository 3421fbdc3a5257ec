"""What the quality network says about a frame; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal, get_args

Flag = Literal["blank", "saturated", "pixel_size", "smoothed", "phase", "interleaved", "unfamiliar"]
FLAGS: tuple[Flag, ...] = get_args(Flag)
"""Why a score may mean nothing: nothing but noise in the frame; a detector at its limit;
pixels so small or large that the frame had to be changed much; noise that neighbouring pixels
share; every other line displaced, as of a mirror's way back; every other line of something else;
unlike anything in the training data."""
REMEDIES: Mapping[Flag, str] = MappingProxyType(
    {
        "blank": "more excitation, a longer dwell time, or another field",
        "saturated": "less excitation or detector gain",
        "pixel_size": "scan with pixels of 10 to 30 nm",
        "smoothed": "score the raw frame: switch off smoothing, averaging of neighbours and"
        " deconvolution, or export without them",
        "phase": "correct the phase of the bidirectional scan, or scan in one direction",
        "interleaved": "export each channel of the line-interleaved scan as an image of its own",
        "unfamiliar": "look at the frame; rate some like it yourself",
    }
)
"""What a person can do about each flag."""
DOUBTFUL_SD = 0.2
"""Least standard deviation of a score with a flag that puts it in doubt; chosen: errors of scores
of frames that were displaced, smoothed or interleaved are 0.04 to 0.41 (`stedfast bench quality`).
"""


def doubtful(flags: Iterable[str]) -> bool:
    """Whether a score with these flags may be wrong.

    That nothing is to be seen in a blank frame is right, and worth knowing: the settings were
    too weak. Every other flag is a reason to doubt.

    Examples
    --------
    >>> doubtful(["blank"]), doubtful(["saturated"])
    (False, True)
    """
    return any(flag != "blank" for flag in flags)


def comparable(flags: Iterable[str]) -> bool:
    """Whether a score in doubt can still be compared with others of its sample and scan.

    What smooths, displaces or interleaves one frame does so to the next, and an unknown structure
    is as unknown in all of them: the scores err alike. A detector at its limit depends on the
    settings themselves.

    Examples
    --------
    >>> comparable(["smoothed"]), comparable(["smoothed", "saturated"]), comparable([])
    (True, False, False)
    """
    found = set(flags)
    return doubtful(found) and "saturated" not in found


def usable(flags: Iterable[str]) -> bool:
    """Whether a score with these flags is one of a structure: neither doubtful nor of nothing.

    Examples
    --------
    >>> usable([]), usable(["blank"])
    (True, False)
    """
    return not any(flags)


@dataclass(frozen=True, slots=True)
class Score:
    """Quality of one frame, and how far it can be trusted.

    Parameters
    ----------
    value
        Quality in [0, 1]: how much of the structure that only STED can show is in the frame.
    sd
        Standard deviation of `value`.
    flags
        Reasons not to trust it; empty for a frame that the network can judge.
    tiles
        How many 224 × 224 tiles it was averaged over.

    Examples
    --------
    >>> low, high = Score(value=0.7, sd=0.05).interval()
    >>> round(low, 2), round(high, 2)
    (0.62, 0.78)
    """

    value: float
    sd: float
    flags: tuple[Flag, ...] = ()
    tiles: int = 1

    def interval(self, coverage: float = 0.9) -> tuple[float, float]:
        """Where the true quality lies with this probability, cut off at 0 and 1."""
        reach = NormalDist().inv_cdf((1 + coverage) / 2) * self.sd
        return max(0.0, self.value - reach), min(1.0, self.value + reach)
