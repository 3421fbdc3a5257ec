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

    A file that the output goes to gets a line for each epoch.
    """
    if not console.is_terminal:
        yield lambda epoch, total, metrics: console.print(
            f"epoch {epoch} of at most {total}  {_figures(metrics)}", soft_wrap=True
        )
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("reading frames", total=None)

        def show(epoch: int, total: int, metrics: dict[str, float]) -> None:
            bar.update(task, completed=epoch, total=total, description=_figures(metrics))

        yield show


def _figures(metrics: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
