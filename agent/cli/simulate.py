"""Commands that make data with the virtual microscope."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import err
from agent.cli.progress_bar import counting
from agent.config.reading import UserError
from devices.refusals import unknown

app = typer.Typer(help="Make data with the virtual microscope.", no_args_is_help=True)


@app.command("quality")
def simulate_quality(
    folder: Annotated[Path, typer.Argument(help="folder for the frames", show_default=False)],
    frames: Annotated[int, typer.Option(min=1, help="how many")] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; one a core")] = None,
    name: Annotated[
        str,
        typer.Option("--set", help="training, robitaille, or to test: actin, tubulin, psd95, dyes"),
    ] = "training",
) -> None:
    """Labelled STED frames for `train quality`; continues where it stopped."""
    from agent.offline.simulate import SETS
    from agent.offline.simulate import simulate_quality as make

    if name not in SETS:
        raise UserError(f"--set {name}: {unknown(name, SETS, 'set')}")
    with counting(err, "frames") as show:
        for done in make(folder, frames, seed, workers, name):
            show(done, frames)


@app.command("sessions")
def simulate_sessions(
    file: Annotated[
        Path, typer.Argument(help="library to write, NAME.safetensors", show_default=False)
    ],
    sessions: Annotated[int, typer.Option(min=1, help="how many")] = 300,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """A library of simulated sessions, for the optimizer's memory; a card goes beside it."""
    from agent.offline.simulate import simulate_sessions as make

    with counting(err, "sessions") as show:
        for done in make(file, sessions, seed):
            show(done, sessions)


@app.command("labels")
def simulate_labels(
    folder: Annotated[Path, typer.Argument(help="folder for the fields", show_default=False)],
    structure: Annotated[str, typer.Option(help="actin, tubulin, or to test: psd95")] = "actin",
    fields: Annotated[int, typer.Option(min=1, help="how many")] = 240,
    name: Annotated[str, typer.Option("--set", help="training or test")] = "training",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; one a core")] = None,
) -> None:
    """Fields with two labels of one structure, for restoration; continues where it stopped."""
    from agent.offline.simulate.labels import parse_set
    from agent.offline.simulate.labels import simulate_labels as make

    what = parse_set(structure, name)
    with counting(err, "fields") as show:
        for done in make(folder, *what, fields, seed, workers):
            show(done, fields)


@app.command("movies")
def simulate_movies(
    folder: Annotated[Path, typer.Argument(help="folder for the movies", show_default=False)],
    name: Annotated[
        str, typer.Option("--set", help="training, test, uneven or jumping")
    ] = "training",
    movies: Annotated[int, typer.Option(min=1, help="how many")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; one a core")] = None,
) -> None:
    """Movies with their noise-free truth, for interpolation; continues where it stopped."""
    from agent.offline.simulate.movie_set import parse_set
    from agent.offline.simulate.movie_set import simulate_movies as make

    wanted = parse_set(name)
    with counting(err, "movies") as show:
        for done in make(folder, wanted, movies, seed, workers):
            show(done, movies)
