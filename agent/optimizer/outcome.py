"""What a trial gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from devices.config import Value
from models.quality.score import comparable, doubtful, usable

Settings = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial gave.

    Parameters
    ----------
    score
        Quality in [0, 1].
    bleaching
        Share of the dye lost.
    score_sd, bleaching_sd
        Their standard deviations.
    flags
        What the quality network remarked; see `models.quality.score.FLAGS`.
    saturation
        Share of the pixels at the detector's limit.
    snr
        Signal-to-noise ratio; None where it was not measured.
    resolution_nm
        Full width of the effective point-spread function (nm); None where the frame could not tell.
    time_s
        Time that light was on the sample in the STED frame (s).
    dose_J
        Light on the sample in the STED frame (J), by laser.
    measured
        Values of an objective of one's own by its name, in its unit; `score` is made from it.

    Examples
    --------
    >>> Outcome(score=0.6, bleaching=0.1).usable
    True
    >>> Outcome(score=0.6, bleaching=0.1, flags=("saturated",)).usable
    False
    """

    score: float
    bleaching: float
    score_sd: float = 0.0
    flags: tuple[str, ...] = ()
    bleaching_sd: float = 0.0
    saturation: float = 0.0
    snr: float | None = None
    resolution_nm: float | None = None
    time_s: float = 0.0
    dose_J: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def doubtful(self) -> bool:
        """Whether a flag says that the score may be wrong."""
        return doubtful(self.flags)

    @property
    def comparable(self) -> bool:
        """Whether the score is in doubt, but compares with others; see `models.quality.score`."""
        return comparable(self.flags)

    @property
    def heeded(self) -> bool:
        """Whether the score, though in doubt, is compared with others where none is better."""
        return self.comparable and "blank" not in self.flags

    @property
    def usable(self) -> bool:
        """Whether the score is one of a structure: neither doubtful nor of a blank frame."""
        return usable(self.flags)

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        data = {**asdict(self), "flags": list(self.flags), "dose_J": dict(self.dose_J)}
        measured = data.pop("measured")
        # Runs of the quality network's score are written as they were before there was another.
        return data | ({"measured": dict(measured)} if measured else {})
