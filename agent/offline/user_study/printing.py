"""A user study's tables, printed for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.offline.user_study.evaluation import Study
from agent.offline.user_study.random_system import Simulation
from agent.offline.user_study.tables import ALL, Figure, System


def print_study(study: Study, console: Console) -> None:
    """Both tables, each figure as mean ± sd (n testers), and their source."""
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
            label = "all" if place == ALL else f"{place[0] * 100:.0f}–{place[1] * 100:.0f} %"
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
    console.print(line, soft_wrap=True)


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
        "random (simulated): no tester was asked, the results have no rows of system random.",
        f"  Predictions drawn from this study's target scores, mean of {simulation.draws} draws"
        f" (seed {simulation.seed}).",
        f"  The simulated tester calls differences up to {simulation.tolerance:.3g} equivalent and"
        f" else picks the target{agrees}.",
        "  It never picks the prediction, as a real tester now and then would: that lowers the"
        " confusion, and the domination is 0 by construction.",
    ]
