"""Commands that make images of images: filtered ones, and rebuilt ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.shared import AsJson, err, say


def filter_(
    file: Annotated[
        Path, typer.Argument(metavar="IN.tif", help="TIFF to filter", show_default=False)
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.tif", help="TIFF to write", show_default=False)
    ],
    model: Annotated[
        str, typer.Option(help="weights that come along, by name, or a .safetensors file")
    ],
    uncertainty: Annotated[
        Path | None,
        typer.Option(metavar="MAP.tif", help="write each pixel's standard deviation, too"),
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="score the raw frames, too")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    as_json: AsJson = False,
) -> None:
    """Filter the frames of a TIFF: what is left is the structure that the model knows."""
    from rich.progress import Progress

    from agent.files.filtering import filter_file

    with Progress(console=err) as bar:
        task = bar.add_task("frames", total=None)
        done = filter_file(
            file,
            target,
            model,
            uncertainty=uncertainty,
            score=score,
            device=device,
            overwrite=overwrite,
            progress=lambda done, frames: bar.update(task, completed=done, total=frames),
        )
    if as_json:
        print(json.dumps(done.as_dict(), indent=1))
        return
    for fault in done.faults:
        say(f"{file}, {fault}")
    for number, one in enumerate(done.scores):
        flagged = f"  flagged: {', '.join(one.flags)}" if one.flags else ""
        print(f"{one.value:.3f} ± {one.sd:.3f}  {file} [{number}]{flagged}")
    mean = sum(done.uncertainty) / len(done.uncertainty)
    say(f"{target}: {done.frames} frames on {done.device}, uncertainty {mean:.2f} of the signal")


def reconstruct(
    file: Annotated[
        Path,
        typer.Argument(metavar="IN", help="TIFF, OME-Zarr image or run folder", show_default=False),
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="OME-TIFF (.tif) or .zarr to write", show_default=False),
    ],
    factor: Annotated[int, typer.Option(help="T frames become (T − 1) · factor + 1")] = 2,
    model: Annotated[
        str,
        typer.Option(help="auto: what does best on this movie; flow, dain, zs or a .safetensors"),
    ] = "auto",
    uncertainty: Annotated[
        Path | None,
        typer.Option(metavar="MAP", help="write each pixel's standard deviation, too"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild frames between those of a movie; measured frames stay as they are."""
    from rich.progress import Progress

    from agent.files.reconstruction import reconstruct_file

    with Progress(console=err) as bar:
        task = bar.add_task("frames", total=None)
        done = reconstruct_file(
            file,
            target,
            factor=factor,
            model=model,
            uncertainty=uncertainty,
            device=device,
            overwrite=overwrite,
            progress=lambda done, frames: bar.update(task, completed=done, total=frames),
        )
    if as_json:
        print(json.dumps({"file": str(file), "out": str(target), **done.as_dict()}, indent=1))
        return
    for line in done.lines():
        say(f"{file}: {line}")
    say(f"{target}: {done.summary()}")
