"""A user study's answers made into the tables of all its systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.offline.user_study.answers import RANDOM, AnswerRow
from agent.offline.user_study.random_system import DRAWS, Simulation, simulate_random, tolerance
from agent.offline.user_study.tables import System, tabulate


@dataclass(frozen=True, slots=True)
class Study:
    """A study's tables, the random system's last; `simulation` is None where that is real."""

    systems: tuple[System, ...]
    simulation: Simulation | None


def evaluate(answers: Sequence[AnswerRow], seed: int) -> Study:
    """Tables of every system of a study, with a simulated random one if it has none.

    Parameters
    ----------
    answers
        As `read_answers` gives them.
    seed
        Of the simulated random system, not used where there is a real one.
    """
    by_system: dict[str, list[AnswerRow]] = {}
    for answer in answers:
        by_system.setdefault(answer.system, []).append(answer)
    names = sorted(by_system, key=lambda name: name == RANDOM)
    systems = tuple(_system(name, by_system[name]) for name in names)
    if RANDOM in by_system:
        return Study(systems, None)
    within, agreement = tolerance(answers)
    simulated = simulate_random(answers, within, seed)
    return Study((*systems, simulated), Simulation(within, agreement, DRAWS, seed))


def _system(name: str, answers: Sequence[AnswerRow]) -> System:
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
