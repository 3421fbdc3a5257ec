"""`stedfast study`: whether people can tell the network's scores from an expert's.

The user study of Robitaille, Durand, Gardner, Gagné, De Koninck, Lavoie-Cardinal, AAAI 2018. A
tester sees an image with two scores in random order, an expert's (the target) and a system's (the
prediction), and picks the better one, calls them equivalent or discards the image. With T picks of
the target, P of the prediction, E answers "equivalent" and Ñ = T + P + E images not discarded:

- confusion C = 1 − |(2P + E) − Ñ| / Ñ; 1: prediction and target cannot be told apart,
- domination D = P / (T + P); 0.5: neither is preferred.

Both are computed for each tester in bins of the target (lower edge included, upper excluded,
except that the last includes 1) and over all bins, then averaged over the testers (mean ± sample
standard deviation).

The results are a CSV (UTF-8, commas) with a header and one answer a row:

========== =================================================================================
column     is
========== =================================================================================
tester     who answered; any text
image      which image; any text
target     the expert's score, in [0, 1]
prediction the system's score, in [0, 1]
choice     `target`, `prediction`, `equivalent` or `discard`
system     optional, `network` where absent or empty: what made the prediction; `random` is the
           random system of the same study
========== =================================================================================

Columns come in any order, others are ignored; choice and system in any case. A tester answers
once for an image and a system.

The paper compares with a random system that samples its scores from the training labels. Results
without `random` rows get a simulated one, which says so wherever it is shown: for each image that
a tester did not discard, a prediction is drawn from the scores of the study's images, and a
simulated tester calls it equivalent where it is within a tolerance of the target (`tolerance`)
and otherwise picks the target. A real tester would now and then prefer even a random prediction,
which raises C; the simulated one never does, so that its C is E / Ñ, rather too low than too high,
and its D is 0 by construction. Only a study with real `random` rows says more.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.config import ConfigError

NETWORK, RANDOM = "network", "random"
CHOICES = ("target", "prediction", "equivalent", "discard")
DRAWS = 200
RATER_SD = 0.08
"""Standard deviation of one rater's scores: a smaller difference is within what raters do."""

_NEEDED = ("tester", "image", "target", "prediction", "choice")
_ACCEPTED = f"accepted is a CSV with a header and at least the columns {', '.join(_NEEDED)}"
_BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
_ALL = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """One tester's answer for one image and system: a row of the results."""

    tester: str
    image: str
    system: str
    target: float
    prediction: float
    choice: str


@dataclass(frozen=True, slots=True)
class Figure:
    """Mean and sample standard deviation over testers, None where there is nothing to say."""

    mean: float | None
    sd: float | None
    testers: int


@dataclass(frozen=True, slots=True)
class Row:
    """Both figures for targets in [low, high); in the last row, [0, 1], over all of them."""

    low: float
    high: float
    confusion: Figure
    domination: Figure


@dataclass(frozen=True, slots=True)
class System:
    """A system's rows, the bins and then all of them, and how many answers they are from."""

    system: str
    simulated: bool
    testers: int
    answers: int
    discarded: int
    rows: tuple[Row, ...]


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


@dataclass(frozen=True, slots=True)
class Study:
    """A study's tables, the random system's last; `simulation` is None where that is real."""

    systems: tuple[System, ...]
    simulation: Simulation | None


def confusion(target: int, prediction: int, equivalent: int) -> float | None:
    """C of one tester from how often each was chosen; None where all images were discarded."""
    kept = target + prediction + equivalent
    return 1 - abs(2 * prediction + equivalent - kept) / kept if kept else None


def domination(target: int, prediction: int) -> float | None:
    """D of one tester from how often each was picked; None where neither ever was."""
    picked = target + prediction
    return prediction / picked if picked else None


def read_answers(file: Path) -> list[Answer]:
    """Answers of a study, in the order of the file.

    Raises
    ------
    ConfigError
        An unreadable or empty file, missing columns, values that are not accepted, an answer
        given twice; names file, line, column, value and what is accepted.
    """
    lines = _lines(file)
    if not lines:
        raise ConfigError(f"{file}: is empty; {_ACCEPTED}")
    number, header = lines[0]
    if missing := [name for name in _NEEDED if name not in header]:
        raise ConfigError(
            f"{file}, line {number}: found columns {', '.join(header)},"
            f" missing {', '.join(missing)}; {_ACCEPTED}"
        )
    answers = []
    first: dict[tuple[str, str, str], int] = {}
    for number, fields in lines[1:]:
        answer = _answer(f"{file}, line {number}", header, fields)
        key = (answer.tester, answer.image, answer.system)
        if key in first:
            raise ConfigError(
                f"{file}, lines {first[key]} and {number}: two answers of tester"
                f" {answer.tester!r} for image {answer.image!r}, system {answer.system!r};"
                " accepted is one"
            )
        first[key] = number
        answers.append(answer)
    if not answers:
        raise ConfigError(f"{file}: no rows below the header; {_ACCEPTED}")
    return answers


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Stripped fields of all lines that are not blank, each with its line number."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            # Strict: otherwise a quote that is never closed would swallow answers in silence.
            reader = csv.reader(opened, strict=True, skipinitialspace=True)
            stripped = ((reader.line_num, [field.strip() for field in row]) for row in reader)
            return [(number, fields) for number, fields in stripped if any(fields)]
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; {_ACCEPTED}") from None
    except csv.Error as error:
        raise ConfigError(
            f"{file}, line {reader.line_num}: not a readable CSV ({error}); {_ACCEPTED}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not a readable CSV ({error}); {_ACCEPTED}") from None


def _answer(where: str, header: Sequence[str], fields: Sequence[str]) -> Answer:
    if any(fields[len(header) :]):
        # Most often a decimal comma, which would shift every value after it.
        raise ConfigError(
            f"{where}: {len(fields)} values under {len(header)} columns; accepted is one value"
            " a column, with a decimal point"
        )
    row = dict(zip(header, fields, strict=False))
    for column in ("tester", "image"):
        if not row.get(column):
            raise ConfigError(f"{where}: {column} is empty; accepted is any name")
    choice = row.get("choice", "").lower()
    if choice not in CHOICES:
        raise ConfigError(
            f"{where}: choice is {row.get('choice', '')!r}; accepted is {', '.join(CHOICES)}"
        )
    return Answer(
        tester=row["tester"],
        image=row["image"],
        system=row.get("system", "").lower() or NETWORK,
        target=_score(where, "target", row.get("target", "")),
        prediction=_score(where, "prediction", row.get("prediction", "")),
        choice=choice,
    )


def _score(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise ConfigError(f"{where}: {column} is {text!r}; accepted is a number from 0 to 1")
    return value


def tabulate(answers: Iterable[Answer]) -> tuple[Row, ...]:
    """Both figures in each bin of the target, and in the last row over all of them."""
    places = (*_BINS, _ALL)
    counts: list[defaultdict[str, Counter[str]]] = [defaultdict(Counter) for _ in places]
    for answer in answers:
        for place in (_bin(answer.target), -1):
            counts[place][answer.tester][answer.choice] += 1
    return tuple(
        Row(
            low,
            high,
            _figure(
                confusion(n["target"], n["prediction"], n["equivalent"]) for n in testers.values()
            ),
            _figure(domination(n["target"], n["prediction"]) for n in testers.values()),
        )
        for (low, high), testers in zip(places, counts, strict=True)
    )


def _bin(target: float) -> int:
    return bisect_right([low for low, _ in _BINS], target) - 1


def _figure(values: Iterable[float | None]) -> Figure:
    known = [value for value in values if value is not None]
    return Figure(
        mean=fmean(known) if known else None,
        sd=stdev(known) if len(known) > 1 else None,
        testers=len(known),
    )


def tolerance(answers: Iterable[Answer]) -> tuple[float, float | None]:
    """The difference between target and prediction up to which testers call them equivalent.

    Of `RATER_SD` and all larger differences that a tester called equivalent, the one for which
    "equivalent up to here, not beyond" agrees with most of the testers' answers; of equals the
    largest. One careless answer does not move it, and where answers leave a choice, it favours
    the random system. With nobody ever answering `equivalent` it is `RATER_SD`.

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
    answers: Sequence[Answer], within: float, seed: int, draws: int = DRAWS
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
        so that the sd is what one study would show, not what is left after averaging.
    """
    seen = {(a.tester, a.image): a.target for a in answers if a.choice != "discard"}
    scores = list(dict.fromkeys((answer.image, answer.target) for answer in answers))
    predictions = np.random.default_rng(seed).choice(
        [score for _, score in scores], size=(draws, len(seen))
    )
    tables = [
        tabulate(
            Answer(
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
            Row(
                rows[0].low,
                rows[0].high,
                _mean([row.confusion for row in rows]),
                _mean([row.domination for row in rows]),
            )
            for rows in zip(*tables, strict=True)
        ),
    )


def _mean(figures: Sequence[Figure]) -> Figure:
    """Mean over draws; a tester counts who has a value in any draw."""
    return Figure(
        mean=_figure(figure.mean for figure in figures).mean,
        sd=_figure(figure.sd for figure in figures).mean,
        testers=max(figure.testers for figure in figures),
    )


def evaluate(answers: Sequence[Answer], seed: int) -> Study:
    """Tables of every system of a study, with a simulated random one if it has none.

    Parameters
    ----------
    answers
        As `read_answers` gives them.
    seed
        Of the simulated random system, not used where there is a real one.
    """
    by_system: dict[str, list[Answer]] = {}
    for answer in answers:
        by_system.setdefault(answer.system, []).append(answer)
    names = sorted(by_system, key=lambda name: name == RANDOM)
    systems = tuple(_system(name, by_system[name]) for name in names)
    if RANDOM in by_system:
        return Study(systems, None)
    within, agreement = tolerance(answers)
    simulated = simulate_random(answers, within, seed)
    return Study((*systems, simulated), Simulation(within, agreement, DRAWS, seed))


def _system(name: str, answers: Sequence[Answer]) -> System:
    return System(
        name,
        simulated=False,
        testers=len({answer.tester for answer in answers}),
        answers=len(answers),
        discarded=sum(answer.choice == "discard" for answer in answers),
        rows=tabulate(answers),
    )


def as_json(study: Study) -> dict[str, Any]:
    """The same figures for scripts; None where there is no value."""
    return asdict(study)


def print_study(study: Study, console: Console) -> None:
    """Both tables, each figure as mean ± sd (n testers), and what they are from."""
    for title, which in (
        ("Confusion (1: prediction and target cannot be told apart)", "confusion"),
        ("Domination (0.5: neither is preferred; 1: always the prediction)", "domination"),
    ):
        table = Table(box=None, pad_edge=False)
        table.add_column("target")
        for system in study.systems:
            table.add_column(Text(_name(system)))
        for rows in zip(*(system.rows for system in study.systems), strict=True):
            place = (rows[0].low, rows[0].high)
            label = "all" if place == _ALL else f"{place[0] * 100:.0f}–{place[1] * 100:.0f} %"
            table.add_row(label, *(_cell(getattr(row, which)) for row in rows))
        _say(console, title)
        console.print(table)
        _say(console, "")
    _say(console, "mean ± sd over testers (n testers)")
    for system in study.systems:
        if not system.simulated:
            _say(
                console,
                f"{system.system}: testers {system.testers}, answers {system.answers},"
                f" of these discarded {system.discarded}",
            )
    if study.simulation is not None:
        for line in _simulation_lines(study.simulation):
            _say(console, line)


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _name(system: System) -> str:
    return f"{system.system} (simulated)" if system.simulated else system.system


def _cell(figure: Figure) -> str:
    if figure.mean is None:
        return "–"
    sd = "–" if figure.sd is None else f"{figure.sd:.2f}"
    return f"{figure.mean:.2f} ± {sd} (n = {figure.testers})"


def _simulation_lines(simulation: Simulation) -> list[str]:
    share = simulation.agreement
    agrees = f" (agrees with {share:.0%} of the testers' own answers)" if share is not None else ""
    return [
        "random (simulated): nobody was asked, the results have no rows of system random.",
        f"  Predictions drawn from this study's target scores, mean of {simulation.draws} draws"
        f" (seed {simulation.seed}).",
        f"  The simulated tester calls differences up to {simulation.tolerance:.3g} equivalent and"
        f" else picks the target{agrees}.",
        "  It never picks the prediction, as a real tester now and then would: that lowers the"
        " confusion, and the domination is 0 by construction.",
    ]
