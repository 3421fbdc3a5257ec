"""A judgement of a search: what is recommended, and whether it can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

EXIT_CODE = 5
"""Of a search that is completed, and whose recommendation cannot be relied on."""
Which = Literal["start", "best"]
Finding = Literal["higher", "same", "lower", "over", "none_keeps", "unusable", "unfinished"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a search.

    Attributes
    ----------
    verdict
        `higher`, `same` (the difference is within the noise), `lower`, `over` (the settings found
        bleach more than allowed and the starting ones do not), `none_keeps` (the limit), `unusable`
        (no score counts) or `unfinished`.
    recommended
        `best` (the settings found), `start`, or None while that is open.
    limit_kept
        Whether the recommended settings keep the bleaching limit; None if unknown.
    accepted
        Number of the trial whose settings a person accepted; None without one.
    best_trial
        Number of the best trial, of which luck is a part; see `agent.record.trials.best_trial`.
    head, words
        The judgement in one sentence, and what else is to be said.
    """

    verdict: Finding
    recommended: Which | None
    limit_kept: bool | None
    accepted: int | None
    best_trial: int | None
    head: str
    words: tuple[str, ...]

    @property
    def ok(self) -> bool | None:
        """Whether the recommendation can be relied on; None while there is none."""
        if self.recommended is None:
            return None
        return self.verdict != "unusable" and self.limit_kept is not False

    def as_dict(self) -> dict[str, Any]:
        """For scripts and pages."""
        return {
            "verdict": self.verdict,
            "ok": self.ok,
            "recommended": self.recommended,
            "limit_kept": self.limit_kept,
            "accepted": self.accepted,
            "best_trial": self.best_trial,
            "head": self.head,
            "words": list(self.words),
        }
