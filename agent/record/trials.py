"""What trials and retests of a search count as, and their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev, variance
from typing import Any, Literal

from agent.record import text
from models.quality.score import doubtful, usable

Objectives = Mapping[str, Any]
Kind = Literal["failed", "flagged", "over", "within"]
_SURE = 2.0
"""Standard deviations of a difference that noise seldom exceeds: 95% of normal ones; chosen."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of measurements, and how far it may be off.

    Parameters
    ----------
    value
        The mean.
    variance
        Of the mean, not of one measurement.
    n
        How many there are.
    """

    value: float
    variance: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float], sds: Sequence[float]) -> Mean | None:
        """Of measurements with their own standard deviations; None without any.

        Their scatter counts where it is larger than those say: fields differ.
        """
        if not values:
            return None
        own = fmean(sd**2 for sd in sds)
        scatter = variance(values) if len(values) > 1 else 0.0
        return cls(fmean(values), max(own, scatter) / len(values), len(values))

    def noise(self, other: Mean | None = None) -> float:
        """What a difference to another mean, or to a fixed number, must exceed to say anything."""
        return float(_SURE * (self.variance + (other.variance if other else 0.0)) ** 0.5)


def profile(stacks: Iterable[Mapping[str, Any]], which: str) -> list[tuple[float, float]]:
    """(z in µm, mean score over the fields) of a candidate's stacks, from the lowest plane.

    Scores that are flagged, or failed, do not count.
    """
    scores: dict[float, list[float]] = {}
    for row in (row for note in stacks if note["which"] == which for row in note["planes"]):
        if row["score"] is not None and not doubtful(row.get("flags", ())):
            scores.setdefault(row["z_um"], []).append(row["score"])
    return [(z_um, fmean(found)) for z_um, found in sorted(scores.items())]


def retested(
    recommendations: Sequence[Mapping[str, Any]], retests: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Settings, score and bleaching of `start` and `best`, as they were measured again.

    And `measured`: values of an objective of one's own, by its name. Scores that are doubtful do
    not count.
    """
    made = {}
    for which in ("start", "best"):
        notes = [note for note in retests if note["which"] == which]
        settings = notes[0]["settings"] if notes else None
        last = recommendations[-1] if recommendations else {}
        if settings is None and (which == "best" or last.get("same_as_start")):
            settings = last.get("settings")
        made[which] = {
            "settings": settings,
            "score": spread([one["score"] for one in compared(notes)]),
            "bleaching": spread([note["objectives"]["bleaching"] for note in notes]),
            "measured": _measured([note["objectives"].get("measured", {}) for note in notes]),
        }
    return made


def _measured(found: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(name for one in found for name in one)
    return {name: spread([one[name] for one in found if name in one]) for name in names}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and number; None where there is nothing to say."""
    return {
        "mean": fmean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def compared(retests: Iterable[Mapping[str, Any]]) -> list[Objectives]:
    """Objectives of retests whose score counts: not in doubt, or heeded where all are in doubt.

    Parameters
    ----------
    retests
        Notes of that topic.
    """
    notes = list(retests)
    sure = [note for note in notes if not doubtful(note["objectives"].get("flags", ()))]
    return [note["objectives"] for note in sure or notes if note in sure or note.get("heeded")]


def usable_score(found: Objectives | None) -> bool:
    """Whether a trial's score says something about its settings' image."""
    return found is not None and usable(found.get("flags", ()))


def kind_of(found: Objectives | None, limit: float) -> Kind:
    """What a trial counts as: `failed`, `flagged`, `over` the limit, or `within` it."""
    if found is None:
        return "failed"
    if doubtful(found.get("flags", ())):
        return "flagged"
    return "within" if found["bleaching"] <= limit else "over"


def best_trial(trials: Sequence[Mapping[str, Any]], limit: float) -> int | None:
    """Number of the trial that scored highest within the limit, from 1; None without any.

    Flagged trials are none; neither are those whose frame showed nothing.
    """
    found = [
        (trial["objectives"]["score"], -number)
        for number, trial in enumerate(trials, 1)
        if kind_of(trial["objectives"], limit) == "within" and usable_score(trial["objectives"])
    ]
    return -max(found)[1] if found else None


def sd_of(found: Objectives, name: str) -> float:
    """A standard deviation; 0 where it is not known."""
    value = found.get(name)
    return float(value) if value is not None and isfinite(value) else 0.0


def flags_in_words(found: Iterable[Objectives]) -> str:
    """How often each flag was raised, the most frequent first."""
    counts = Counter(flag for one in found for flag in one.get("flags", ()))
    return ", ".join(f"{count} {text.words(flag)}" for flag, count in counts.most_common())
