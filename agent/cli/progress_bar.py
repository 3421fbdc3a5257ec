"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from agent.run import Progress as State

_PLAIN_INTERVAL_S = 10.0


@contextmanager
def showing(state: State, console: Console) -> Iterator[Callable[[State], None]]:
    """Show a run's progress while the context lasts; yields what the session calls to do so."""
    if not console.is_terminal:
        yield _plain(console)
        return
    # What changes most comes last: a narrow terminal cuts the end off.
    columns = (
        BarColumn(bar_width=10),
        TextColumn("{task.completed}/{task.total}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False),
    )
    bar = Progress(*columns, console=console)
    task = bar.add_task(state.plan, total=state.planned)

    def watch(state: State) -> None:
        bar.update(
            task,
            total=state.planned,
            completed=state.frames,
            description=describe(state),
        )

    # A terminal that is gone refuses both; the run continues without it.
    with suppress(OSError):
        bar.start()
    try:
        yield watch
    finally:
        with suppress(OSError):
            bar.stop()


@contextmanager
def counting(console: Console, what: str = "frames") -> Iterator[Callable[[int, int], None]]:
    """Count something while the context lasts; yields a function of (done, of).

    The bar shows with the first count: a refusal before any work leaves none behind. Output to a
    file has none.
    """
    bar = Progress(console=console, disable=not console.is_terminal)
    task = bar.add_task(what, total=None)
    started = False

    def watch(done: int, frames: int) -> None:
        nonlocal started
        if not started:
            started = True
            bar.start()
        bar.update(task, completed=done, total=frames)

    try:
        yield watch
    finally:
        if started:
            bar.stop()


def describe(state: State) -> str:
    """One line: the work under way, and how it looks."""
    parts = [state.doing]
    if state.trials:
        parts.append(f"trial {min(state.trial + 1, state.trials)}/{state.trials}")
    figures = {"score": state.score, "best": state.best, "bleaching": state.bleaching}
    parts += [f"{name} {value:.2f}" for name, value in figures.items() if value is not None]
    if state.filtered is not None:
        unsure = f" ± {state.uncertainty:.2g}" if state.uncertainty is not None else ""
        parts.append(f"filtered {state.filtered}{unsure}")
    if state.budget_fraction is not None:
        parts.append(f"light {state.budget_fraction:.0%}")
    if state.faults:
        parts.append(f"{state.faults} faults")
    return "  ".join(parts)


def _plain(console: Console) -> Callable[[State], None]:
    started = time.monotonic()
    shown = {"at": 0.0, "trial": -1}

    def watch(state: State) -> None:
        now = time.monotonic()
        if state.trial == shown["trial"] and now - shown["at"] < _PLAIN_INTERVAL_S:
            return
        shown.update(at=now, trial=state.trial)
        total = state.planned or "?"
        left = ""
        if state.planned and state.frames:
            seconds = (now - started) / state.frames * (state.planned - state.frames)
            left = f"  {seconds:.0f} s left"
        console.print(
            f"{state.frames}/{total} frames  {describe(state)}{left}",
            soft_wrap=True,
        )

    return watch
