"""The random system that a user study did not have.

The paper compares with a random system that samples its scores from the training labels. Results
without `random` rows get a simulated one, which says so wherever it is shown: for each image that
a tester did not discard, a prediction is drawn from the scores of the study's images, and a
simulated tester calls it equivalent where it is within a tolerance of the target (`tolerance`)
and otherwise picks the target. A real tester would now and then prefer even a random prediction,
which raises C; the simulated one never does, so that its C is E / Ñ, rather too low than too high,
and its D is 0 by construction. Only a study with real `random` rows says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from agent.offline.user_study.answers import RANDOM, AnswerRow
from agent.offline.user_study.tables import Figure, System, TargetBin, figure_of, tabulate

DRAWS = 200
RATER_SD = 0.08
"""Standard deviation of one rater's scores: a smaller difference is within what raters do."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """How the random system was simulated.

    Parameters
    ----------
    tolerance
        Largest |target − prediction| that the simulated tester calls equivalent.
    agreement
        Share of the testers' own answers (equivalent or not) that this rule gives too; None
        without any.
    draws
        How many times predictions were drawn for all images; the figures are means over them.
    seed
        Of these draws.
    """

    tolerance: float
    agreement: float | None
    draws: int
    seed: int


def tolerance(answers: Iterable[AnswerRow]) -> tuple[float, float | None]:
    """The difference between target and prediction up to which testers call them equivalent.

    Of `RATER_SD` and all larger differences that a tester called equivalent, the one for which
    "equivalent up to here, not beyond" agrees with most of the testers' answers; of equals the
    largest. One careless answer does not move it, and where answers leave a choice, it favours
    the random system. Without any answer `equivalent` it is `RATER_SD`.

    Returns
    -------
    tuple
        The tolerance, and the share of answers it agrees with (None without any).
    """
    kept = [answer for answer in answers if answer.choice != "discard"]
    if not kept:
        return RATER_SD, None
    apart = np.array([_apart(answer.target, answer.prediction) for answer in kept])
    equivalent = np.array([answer.choice == "equivalent" for answer in kept])
    tried = {RATER_SD, *apart[equivalent & (apart > RATER_SD)].tolist()}
    agreement, best = max((float(np.mean((apart <= t) == equivalent)), t) for t in tried)
    return best, agreement


def _apart(target: float, prediction: float) -> float:
    # Rounded, so that 0.50 and 0.42 are 0.08 apart and not a little more.
    return round(abs(target - prediction), 9)


def simulate_random(
    answers: Sequence[AnswerRow], within: float, seed: int, draws: int = DRAWS
) -> System:
    """The random system that a study did not have, see the module's docstring.

    Parameters
    ----------
    answers
        Of the whole study. Each image's score is drawn equally often, however many testers saw
        it; an image may draw its own, which favours the random system.
    within
        Largest |target − prediction| that is called equivalent.
    seed
        Of the draws.
    draws
        How many times predictions are drawn for all images. Mean and sd are means over draws,
        so that the sd is that of one study, not that left after averaging.
    """
    seen = {(a.tester, a.image): a.target for a in answers if a.choice != "discard"}
    scores = list(dict.fromkeys((answer.image, answer.target) for answer in answers))
    predictions = np.random.default_rng(seed).choice(
        [score for _, score in scores], size=(draws, len(seen))
    )
    tables = [
        tabulate(
            AnswerRow(
                tester,
                image,
                RANDOM,
                target,
                prediction,
                "equivalent" if _apart(target, prediction) <= within else "target",
            )
            for ((tester, image), target), prediction in zip(seen.items(), drawn, strict=True)
        )
        for drawn in predictions.tolist()
    ]
    return System(
        RANDOM,
        simulated=True,
        testers=len({tester for tester, _ in seen}),
        answers=len(seen),
        discarded=0,
        rows=tuple(
            TargetBin(
                rows[0].low,
                rows[0].high,
                _mean([row.confusion for row in rows]),
                _mean([row.domination for row in rows]),
            )
            for rows in zip(*tables, strict=True)
        ),
    )


def _mean(figures: Sequence[Figure]) -> Figure:
    """Mean over draws; a tester with a value in any draw counts."""
    return Figure(
        mean=figure_of(figure.mean for figure in figures).mean,
        sd=figure_of(figure.sd for figure in figures).mean,
        testers=max(figure.testers for figure in figures),
    )
