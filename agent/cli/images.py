"""Commands that make images of images: filtered ones, and rebuilt ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.groups import grouped
from agent.cli.options import LAST, AsJson, Frames, err, named_run, say

Interval = Annotated[
    float | None,
    typer.Option("--interval", metavar="S", help="between frames, instead of the file's own"),
]


@grouped
def filter_(
    file: Annotated[
        Path,
        typer.Argument(metavar="IN", help="TIFF or OME-Zarr image to filter", show_default=False),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.tif", help="TIFF to write", show_default=False)
    ],
    model: Annotated[
        str,
        typer.Option(
            help="name of bundled weights, a .safetensors file, or a model of the BioImage Model "
            "Zoo (.zip, or rdf.yaml)"
        ),
    ],
    uncertainty: Annotated[
        Path | None,
        typer.Option(metavar="MAP.tif", help="write each pixel's standard deviation, too"),
    ] = None,
    score: Annotated[bool, typer.Option("--score", help="score the raw frames, too")] = False,
    as_float: Annotated[
        bool, typer.Option("--float", help="write float32, for any type of the file")
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="run Python code that comes with a model of the BioImage Model Zoo"
        ),
    ] = False,
    *,
    frames: Frames,
    interval: Interval = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    as_json: AsJson = False,
) -> None:
    """Filter the frames of a file: only the structure that the model knows is left."""
    from agent.cli.progress_bar import counting
    from agent.offline.files.filtering import filter_file

    with counting(err) as progress:
        done = filter_file(
            file,
            target,
            model,
            uncertainty=uncertainty,
            score=score,
            device=device,
            overwrite=overwrite,
            pixel_size_nm=frames.pixel_size,
            interval_s=interval,
            part=frames.part,
            as_float=as_float,
            trust=trust,
            progress=progress,
        )
    if as_json:
        print(json.dumps(done.as_dict(), indent=1))
        return
    for fault in done.faults:
        say(f"{file}, {fault}")
    if done.note:
        say(f"{target}: {done.note}")
    for number, one in enumerate(done.scores):
        flagged = f"  flagged: {', '.join(one.flags)}" if one.flags else ""
        print(f"{one.value:.3f} ± {one.sd:.3f}  {file} [{number}]{flagged}")
    mean = sum(done.uncertainty) / len(done.uncertainty)
    count = f"{done.frames} frame{'s' if done.frames != 1 else ''}"
    say(f"{target}: {count} on {done.device}, uncertainty {mean:.2f} of the signal")


@grouped
def reconstruct(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help=f"TIFF, OME-Zarr image or run folder; `{LAST}`: the newest in ./runs",
            show_default=False,
            callback=named_run,
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="OME-TIFF (.tif) or .zarr to write", show_default=False),
    ],
    factor: Annotated[int, typer.Option(help="T frames become (T − 1) · factor + 1")] = 2,
    model: Annotated[
        str,
        typer.Option(help="auto: the best on this movie; flow, dain, zs or a .safetensors"),
    ] = "auto",
    uncertainty: Annotated[
        Path | None,
        typer.Option(metavar="MAP", help="write each pixel's standard deviation, too"),
    ] = None,
    *,
    frames: Frames,
    interval: Interval = None,
    fit: Annotated[
        bool, typer.Option(help="adjust rebuilt frames to what the movie's own ask for")
    ] = True,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild frames between those of a movie; measured frames stay as they are."""
    from agent.cli.progress_bar import counting
    from agent.offline.files.reconstruction import reconstruct_file

    with counting(err) as progress:
        done = reconstruct_file(
            file,
            target,
            factor=factor,
            model=model,
            uncertainty=uncertainty,
            device=device,
            overwrite=overwrite,
            pixel_size_nm=frames.pixel_size,
            interval_s=interval,
            part=frames.part,
            fit=fit,
            progress=progress,
        )
    if as_json:
        print(json.dumps({"file": str(file), "out": str(target), **done.as_dict()}, indent=1))
        return
    for line in done.lines():
        say(f"{file}: {line}")
    say(f"{target}: {done.summary()}")
