"""What a reconstruction made, in numbers and words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from agent.offline.files.model_choice import Choice


def adjusted_as(choice: Choice) -> dict[str, Any]:
    """How rebuilt frames were adjusted to the movie, by name; empty where they were not."""
    if (found := choice.adjusted) is None:
        return {}
    return {
        "fitted_to": found.frames,
        **{
            key: value if isinstance(value, bool) else float(f"{value:.4g}")
            for key, value in found.adjustment._asdict().items()
        },
        "gain_db": round(found.gain_db, 2),
        "covered": round(found.covered, 3),
    }


SCREENED = ("looks like a copy of the one before", "looks like a blend of its neighbours")


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Result of rebuilding a movie.

    Parameters
    ----------
    frames, measured
        How many it has now, and how many of them were measured.
    choice
        The model, and the figures it was chosen by.
    device
        Where it was computed.
    uncertainty
        Mean over the rebuilt frames of their mean standard deviation over their mean signal; NaN
        where there is none.
    copies, blends
        Numbers of the measured frames that repeat the one before, or are a mean of their
        neighbours: the file's maker may have put them there.
    faults
        Frames with something odd, by their number in the new movie.
    note
        Assumptions about the file.
    """

    frames: int
    measured: int
    choice: Choice
    device: str
    uncertainty: float
    copies: tuple[int, ...]
    blends: tuple[int, ...]
    faults: dict[int, str] = field(default_factory=dict)
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        known = math.isfinite(self.uncertainty)
        return {
            "frames": self.frames,
            "measured": self.measured,
            "reconstructed": self.frames - self.measured,
            "model": self.choice.model,
            "weights_sha256": self.choice.sha256,
            "judged": self.choice.judged,
            "fitted": adjusted_as(self.choice) or None,
            "device": self.device,
            "uncertainty": self.uncertainty if known else None,
            "copies": list(self.copies),
            "blends": list(self.blends),
            "faults": {str(number): fault for number, fault in self.faults.items()},
            "note": self.note,
        }

    def lines(self) -> list[str]:
        """What a person should know of the movie, a line each."""
        found = [self.note] if self.note else []
        for numbers, what in ((self.copies, "copies"), (self.blends, "blends of their neighbours")):
            if numbers:
                found.append(f"frames {', '.join(map(str, numbers))} look like {what}")
        found += [f"frame {number} of the new movie: {fault}" for number, fault in self._odd()]
        if self.choice.judged:
            told = ", ".join(f"{name} {psnr} dB" for name, psnr in self.choice.judged.items())
            found.append(f"frames that it has are rebuilt at: {told}")
        if (own := self.choice.adjusted) is not None:
            found.append(
                f"fitted to {own.frames} frames that it has: blur {own.adjustment.blur_px:g} px,"
                f" blend {own.adjustment.blend:.0%} ({own.gain_db:+.2f} dB); 90% intervals cover"
                f" {own.covered:.0%} of measured pixels ({own.covered_before:.0%} without)"
            )
        return found

    def summary(self) -> str:
        """One line on the result."""
        unsure = f", uncertainty {self.uncertainty:.2f} of the signal"
        return (
            f"{self.frames} frames, {self.measured} of them measured, the others by"
            f" {self.choice.model} on {self.device}"
            f"{unsure if math.isfinite(self.uncertainty) else ''}"
        )

    def _odd(self) -> list[tuple[int, str]]:
        """Faults that the screening did not tell already."""
        return [(at, fault) for at, fault in self.faults.items() if fault not in SCREENED]
