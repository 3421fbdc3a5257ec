"""Commands that train a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import ConfigFile, Overrides, err

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace weights of a finished training")
]
app = typer.Typer(help="Train a network.", no_args_is_help=True)

Weights = Annotated[Path | None, typer.Option("--out", help="weights to write, without ending")]


@app.command("quality")
def train_quality(
    config: ConfigFile,
    data: Annotated[
        Path | None, typer.Option(help="instead of the config's: folder with frames.csv, or a CSV")
    ] = None,
    weights: Weights = None,
    tests: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="NAME=FOLDER", help="measure on this, too; repeatable"),
    ] = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """Train the quality network on labelled or rated frames; continues where it stopped."""
    from agent.offline.training.quality import train_quality as work

    tested = [f"tests.{test}" for test in tests or []]
    work(config, _lines(overrides, data, weights) + tested, err, overwrite=overwrite)


@app.command("restoration")
def train_restoration(
    config: ConfigFile,
    data: Annotated[
        Path | None,
        typer.Option(help="instead of the config's: folder with a folder for each channel"),
    ] = None,
    weights: Weights = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a filter on pairs of labels or exposures; continues where it stopped."""
    from agent.offline.training.restoration import train_restoration as work

    work(config, _lines(overrides, data, weights), err, overwrite=overwrite)


@app.command("interpolation")
def train_interpolation(
    config: ConfigFile,
    data: Annotated[
        Path | None, typer.Option(help="instead of the config's: folder with movies, or one movie")
    ] = None,
    weights: Weights = None,
    overrides: Overrides = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network that rebuilds skipped frames; continues where it stopped."""
    from agent.offline.training.interpolation import train_interpolation as work

    work(config, _lines(overrides, data, weights), err, overwrite=overwrite)


def _lines(overrides: list[str] | None, data: Path | None, weights: Path | None) -> list[str]:
    """Overrides of a config, with the keys that have an option of their own."""
    named = (("data", data), ("out", weights))
    return [*(overrides or []), *(f"{key}={value}" for key, value in named if value)]
