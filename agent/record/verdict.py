"""The outcome of a search, in one place, for page, report, `show` and exit code.

The settings found are recommended if their retests score higher than those of the starting ones
by more than the noise, and keep the bleaching limit; otherwise the starting settings stay, unless
they bleach more than allowed. Frames whose score is doubtful do not count. Where no settings keep
the limit, those that bleach least are recommended, with a remark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev, variance
from typing import Any, Literal

from agent.record import text
from models.quality.score import doubtful, usable

EXIT_CODE = 5
"""Of a search that is completed, and whose recommendation cannot be relied on."""
Objectives = Mapping[str, Any]
Kind = Literal["failed", "flagged", "over", "within"]
Which = Literal["start", "best"]
_SURE = 2.0
"""Standard deviations of a difference that noise seldom exceeds."""
_UNLIKELY = 0.5


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
        Number of the best trial, of which luck is a part; see `best_trial`.
    head, words
        The judgement in one sentence, and what else is to be said.
    """

    verdict: Literal["higher", "same", "lower", "over", "none_keeps", "unusable", "unfinished"]
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


@dataclass(frozen=True, slots=True)
class Search:
    """What there is to judge by.

    Parameters
    ----------
    limit
        Largest share of the dye that one frame may bleach.
    planned
        Trials that there are to be.
    fields
        Retests of each candidate that there are to be.
    trials, retests
        The plan's notes of that name.
    recommendation
        Its note; None before the search is over.
    allowed
        Probability, by all trials, that the settings found keep the limit; None where the engine
        cannot tell.
    going_on
        Whether a session is running.
    """

    limit: float
    planned: int
    fields: int
    trials: Sequence[Mapping[str, Any]]
    recommendation: Mapping[str, Any] | None
    allowed: float | None
    retests: Sequence[Mapping[str, Any]]
    going_on: bool

    def judge(self) -> Verdict:
        """Its outcome."""
        if self.recommendation is None:
            return self._unfinished()
        made = {note["which"] for note in self.retests}
        complete = len(self.retests) >= 2 * self.fields or not self.going_on
        if made == {"start", "best"} and complete:
            return self._compared()
        learned = any(usable_score(trial["objectives"]) for trial in self.trials)
        if not learned and self._accepted is None:
            return self._nothing_learned()
        if self.recommendation.get("same_as_start"):
            head = "The settings found are the starting ones; there is nothing to compare."
            return self._verdict("same", "start", None, head, self._so("start"))
        yet = " yet" if self.going_on else ""
        head = f"No result{yet}: {len(self.retests)} of {2 * self.fields} retests made."
        return self._verdict("unfinished", None, None, head)

    # ------------------------------------------------------------------ the cases

    def _unfinished(self) -> Verdict:
        made = len(self.trials)
        yet = " yet" if self.going_on else ""
        words = [f"No result{yet}: {made} of {self.planned} trials made."]
        number = best_trial(self.trials, self.limit)
        if number is not None:
            found = self.trials[number - 1]["objectives"]
            words += [
                f"The best trial so far, {number}, scored {text.score(found['score'])} and "
                f"bleached {text.percent(found['bleaching'])}.",
                "One frame that was not measured again: partly luck.",
            ]
        elif made:
            words.append(self._why_none())
        return self._verdict("unfinished", None, None, *words)

    def _nothing_learned(self) -> Verdict:
        kept = self._kept("start")
        head = f"Nothing was learned: {_lower(self._why_none())}"
        return self._verdict("unusable", "start", kept, head, "The starting settings stay.")

    def _compared(self) -> Verdict:
        found, head = self._by_score()
        kept = {"start": self._kept("start"), "best": self._kept("best")}
        if not kept["start"] and not kept["best"]:
            return self._none_keeps(head)
        better = kept["best"] and (found == "higher" or not kept["start"])
        which: Which = "best" if better or self._accepted is not None else "start"
        words = [self._bleached(which), self._so(which), *self._missing()]
        if not kept["best"] and which == "start":
            return self._verdict("over", which, True, self._bleached("best"), head, *words)
        return self._verdict(found, which, kept[which], head, *words)

    def _by_score(self) -> tuple[Literal["higher", "same", "lower", "unusable"], str]:
        """How the settings found compare with the starting ones, and that in words."""
        start, best = self._score("start"), self._score("best")
        if start is None or best is None:
            flags = _flags(note["objectives"] for note in self.retests)
            of = {(True, True): "of", (True, False): "of the starting settings in"}
            which = of.get((start is None, best is None), "of the settings found in")
            return "unusable", f"No comparison: no score {which} the retests counts ({flags})."
        two = [text.spread_of_scores(spread(self._scores(which))) for which in ("best", "start")]
        pair = " against ".join(two)
        rise, noise = best.value - start.value, best.noise(start)
        if abs(rise) <= noise:
            return "same", (
                "No difference beyond the noise between the settings found and the starting "
                f"ones: {pair}, where less than {text.score(noise)} says nothing."
            )
        found: Literal["higher", "lower"] = "higher" if rise > 0 else "lower"
        return found, f"The settings found score {found} than the starting ones: {pair}."

    def _none_keeps(self, compared: str) -> Verdict:
        shares = {which: fmean(self._shares(which)) for which in ("start", "best")}
        gentler: Which = "best" if shares["best"] <= shares["start"] else "start"
        which = gentler if self._accepted is None else "best"
        head = (
            f"Nothing keeps the bleaching limit of {text.exact_percent(self.limit)}: the settings "
            f"found bleach {text.percent(shares['best'])} of the dye in a frame, the starting ones "
            f"{text.percent(shares['start'])}."
        )
        least = ", which bleach least" if which == gentler else ""
        so = f"{self._so(which).removesuffix('.')}{least}."
        return self._verdict("none_keeps", which, False, head, compared, so, *self._missing())

    # ------------------------------------------------------------------ words and numbers

    def _verdict(
        self,
        verdict: Literal["higher", "same", "lower", "over", "none_keeps", "unusable", "unfinished"],
        which: Which | None,
        kept: bool | None,
        head: str,
        *words: str,
    ) -> Verdict:
        accepted = self._accepted
        by = () if accepted is None else (f"Trial {accepted} was accepted by a person.",)
        number = best_trial(self.trials, self.limit)
        return Verdict(verdict, which, kept, accepted, number, head, (*words, *by))

    @property
    def _accepted(self) -> int | None:
        return (self.recommendation or {}).get("accepted")

    def _of(self, which: Which) -> list[Objectives]:
        return [note["objectives"] for note in self.retests if note["which"] == which]

    def _scores(self, which: Which) -> list[float]:
        return counted(self._of(which))

    def _score(self, which: Which) -> Mean | None:
        found = [one for one in self._of(which) if not doubtful(one.get("flags", ()))]
        return Mean.of([one["score"] for one in found], [_sd(one, "score_sd") for one in found])

    def _shares(self, which: Which) -> list[float]:
        return [one["bleaching"] for one in self._of(which)]

    def _kept(self, which: Which) -> bool | None:
        """Whether a candidate keeps the limit, as far as the noise lets one say; None: unknown."""
        found = self._of(which)
        mean = Mean.of(self._shares(which), [_sd(one, "bleaching_sd") for one in found])
        if mean is None or mean.value <= self.limit:
            return None if mean is None else True
        # A few retests within the noise do not outweigh what all trials say.
        unlikely = which == "best" and self.allowed is not None and self.allowed < _UNLIKELY
        return not unlikely and mean.value <= self.limit + mean.noise()

    def _bleached(self, which: Which) -> str:
        share = fmean(self._shares(which))
        who = "The settings found" if which == "best" else "The starting settings"
        if share <= self.limit:
            kept = "within"
        else:
            kept = "over, by less than the noise," if self._kept(which) else "over"
        return (
            f"{who} bleach {text.percent(share)} of the dye in a frame, {kept} the limit of "
            f"{text.exact_percent(self.limit)}."
        )

    def _so(self, which: Which) -> str:
        return f"Recommended: the {'settings found' if which == 'best' else 'starting settings'}."

    def _missing(self) -> tuple[str, ...]:
        """What of the comparison was not made, or does not count."""
        counts = [len(self._scores(which)) for which in ("start", "best")]
        if not 0 < min(counts) < self.fields:
            return ()
        return (f"Only {min(counts)} of {self.fields} fields could be compared.",)

    def _why_none(self) -> str:
        """Why no trial is the best one."""
        made = len(self.trials)
        found = [trial["objectives"] for trial in self.trials]
        scored = [one for one in found if one is not None]
        counting = [one for one in scored if usable_score(one)]
        if counting:
            least = min(one["bleaching"] for one in counting)
            return (
                f"No trial of {made} kept the bleaching limit of {text.exact_percent(self.limit)}; "
                f"the gentlest bleached {text.percent(least)}."
            )
        parts = [_flags(scored)] if scored else []
        if failed := made - len(scored):
            parts.append(f"{failed} failed")
        return f"No trial of {made} gave a usable score ({', '.join(parts)})."


def of_notes(
    optimize: Any, notes: Mapping[str, Sequence[Mapping[str, Any]]], *, going_on: bool
) -> Verdict:
    """The verdict on a search from what its plan noted, by topic.

    Parameters
    ----------
    optimize
        The config's section.
    notes
        `trial`, `recommendation`, `belief`, `retest`, `told` and `enough`; absent ones are empty.
    going_on
        Whether a session is running.
    """
    recommendations = notes.get("recommendation", ())
    told = [
        note["trials"]
        for topic in ("told", "enough")
        for note in notes.get(topic, ())
        if "trials" in note
    ]
    beliefs = notes.get("belief", ())
    predicted = (beliefs[-1].get("predicted") if beliefs else None) or {}
    return Search(
        optimize.bleaching_limit,
        told[-1] if told else optimize.trials,
        optimize.retest_fields,
        notes.get("trial", ()),
        recommendations[-1] if recommendations else None,
        predicted.get("allowed"),
        notes.get("retest", ()),
        going_on,
    ).judge()


def retested(
    recommendations: Sequence[Mapping[str, Any]], retests: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Settings, score and bleaching of `start` and `best`, as they were measured again.

    Scores that are doubtful do not count.
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
            "score": spread(counted(note["objectives"] for note in notes)),
            "bleaching": spread([note["objectives"]["bleaching"] for note in notes]),
        }
    return made


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and number; None where there is nothing to say."""
    return {
        "mean": fmean(values) if values else None,
        "sd": stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def counted(found: Iterable[Objectives]) -> list[float]:
    """Scores of measurements, without those that are doubtful."""
    return [one["score"] for one in found if not doubtful(one.get("flags", ()))]


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


def _sd(found: Objectives, name: str) -> float:
    """A standard deviation; 0 where it is not known."""
    value = found.get(name)
    return float(value) if value is not None and isfinite(value) else 0.0


def _flags(found: Iterable[Objectives]) -> str:
    counts = Counter(flag for one in found for flag in one.get("flags", ()))
    return ", ".join(f"{count} {text.words(flag)}" for flag, count in counts.most_common())


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
