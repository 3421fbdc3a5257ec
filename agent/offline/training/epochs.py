"""How far a training is, on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Show = Callable[[int, int, dict[str, float]], None]
"""Takes an epoch's number, how many there are at most, and figures."""


@contextmanager
def shown_epochs(console: Console) -> Iterator[Show]:
    """A bar of epochs with their figures; until the first one, frames are being read.

    Where nobody watches it shows with the first epoch: what is refused before leaves none behind.
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task("reading frames", total=None)
    started = console.is_terminal
    if started:
        bar.start()

    def show(epoch: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal started
        if not started:
            started = True
            bar.start()
        figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        bar.update(task, completed=epoch, total=total, description=figures)

    try:
        yield show
    finally:
        if started:
            bar.stop()
