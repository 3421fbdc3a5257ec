"""The command that measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson


def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="loop, optimize, optimizer, objectives, quality, restoration, interpolation,"
            " tuning, dose, microscopes, imspector, gpu, storm, fuzz, guard, faults, night, kill,"
            " long"
        ),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="at most 3 minutes on 2 cores")] = False,
    seeds: Annotated[int | None, typer.Option(help="how many seeds or repeats")] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FILE", help="of a long one: continue from its content"),
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="of loop: with open pages in a real browser")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the documentation claims."""
    from agent.bench import run_bench

    passed = run_bench(name, quick=quick, seeds=seeds, as_json=as_json, keep=keep, view=view)
    if not passed:
        raise typer.Exit(1)
