"""`stedfast train`: trainings with a progress bar and their provenance."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from agent.config import ConfigError
from agent.folder import commit_of_this_code


def train_quality_network(
    data: Path, out: Path, *, seed: int, epochs: int, console: Console
) -> None:
    """Train the quality network and print what it reached.

    Raises
    ------
    ConfigError
        The data cannot be used.
    """
    from models.quality import train

    command = shlex.join(["stedfast", *sys.argv[1:]])
    with Progress(console=console) as bar:
        task = bar.add_task("epochs")

        def show(epoch: int, total: int, metrics: dict[str, float]) -> None:
            figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            bar.update(task, completed=epoch, total=total, description=figures)

        try:
            card = train(
                data,
                out,
                seed=seed,
                epochs=epochs,
                command=command,
                commit=commit_of_this_code(),
                progress=show,
            )
        except (ValueError, FileNotFoundError) as error:
            raise ConfigError(str(error)) from None
    test = card["metrics"]["test"]
    figures = ", ".join(f"{name} {value:.3f}" for name, value in test.items() if value is not None)
    print(f"{out.with_suffix('.safetensors')}: {figures}")
