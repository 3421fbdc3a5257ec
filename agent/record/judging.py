"""Judges a search, in one place, for page, report, `show` and exit code.

The settings found are recommended if their retests score higher than those of the starting ones
by more than the noise, and keep the bleaching limit; otherwise the starting settings stay, unless
they bleach more than allowed. Frames whose score is doubtful do not count, unless all are
and the run's rules apply them (`agent.config.rules`); where those of trials and retests are and
show no difference beyond the noise, nothing was learned. Where no settings keep the limit, those
that bleach least are recommended, with a remark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from agent.record import text
from agent.record.trials import (
    Mean,
    Objectives,
    best_trial,
    compared,
    flags_in_words,
    sd_of,
    spread,
    usable_score,
)
from agent.record.verdict import Finding, Verdict, Which

_UNLIKELY = 0.5
"""Probability of keeping the limit below which a few good retests do not count; chosen."""


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
        if not self._learned and self._accepted is None:
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
            flags = flags_in_words(note["objectives"] for note in self.retests)
            of = {(True, True): "of", (True, False): "of the starting settings in"}
            which = of.get((start is None, best is None), "of the settings found in")
            return "unusable", f"No comparison: no score {which} the retests counts ({flags})."
        two = [text.spread_of_scores(spread(self._scores(which))) for which in ("best", "start")]
        pair = " against ".join(two)
        rise, noise = best.value - start.value, best.noise(start)
        retests = [*self._counting("start"), *self._counting("best")]
        if abs(rise) <= noise and not self._learned and not any(map(usable_score, retests)):
            return "unusable", (
                f"Nothing was learned: {_lower(self._why_none()).removesuffix('.')}, and retests "
                f"of the settings found and the starting ones tell no difference: {pair}."
            )
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
        verdict: Finding,
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
    def _learned(self) -> bool:
        """Whether any trial's score counts without a doubt."""
        return any(usable_score(trial["objectives"]) for trial in self.trials)

    @property
    def _accepted(self) -> int | None:
        return (self.recommendation or {}).get("accepted")

    def _of(self, which: Which) -> list[Objectives]:
        return [note["objectives"] for note in self.retests if note["which"] == which]

    def _counting(self, which: Which) -> list[Objectives]:
        return compared(note for note in self.retests if note["which"] == which)

    def _scores(self, which: Which) -> list[float]:
        return [one["score"] for one in self._counting(which)]

    def _score(self, which: Which) -> Mean | None:
        found = self._counting(which)
        return Mean.of([one["score"] for one in found], [sd_of(one, "score_sd") for one in found])

    def _shares(self, which: Which) -> list[float]:
        return [one["bleaching"] for one in self._of(which)]

    def _kept(self, which: Which) -> bool | None:
        """Whether a candidate keeps the limit, as far as the noise lets one say; None: unknown."""
        found = self._of(which)
        mean = Mean.of(self._shares(which), [sd_of(one, "bleaching_sd") for one in found])
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
        parts = [flags_in_words(scored)] if scored else []
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


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
