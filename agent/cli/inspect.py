"""Commands that look at what runs left, and at images with a person's eyes or the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.groups import grouped
from agent.cli.options import AsJson, Frames, Open, Port, RunFolder, Trust, out, say
from agent.cli.summary import print_summary
from agent.record.strict_json import dumps


def show(folder: RunFolder, as_json: AsJson = False) -> None:
    """What a run did, or is doing."""
    from agent.record.summary import summarize

    if as_json:
        print(dumps(summarize(folder), indent=1))
    else:
        print_summary(folder)


def export(
    folder: RunFolder,
    file: Annotated[
        Path,
        typer.Argument(help="OME-TIFF to write; with --useq, YAML or JSON", show_default=False),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
    images: Annotated[
        str, typer.Option(help="raw, filtered, or reconstructed: measured and rebuilt frames")
    ] = "raw",
    useq: Annotated[
        bool, typer.Option("--useq", help="what was taken, as a useq sequence or its events")
    ] = False,
) -> None:
    """Write a run's frames as one OME-TIFF, with a series for each field.

    Where a time point has one frame, each mode has a series of its own.
    """
    from agent.config.reading import UserError

    if useq:
        if images != "raw":
            raise UserError("--images: a sequence has no images; accepted: --useq without it")
        from agent.offline.files.sequence import export_sequence

        frames, whole = export_sequence(folder, file, overwrite=overwrite)
        say(f"{file}: {'a sequence' if whole else 'a list of events'}, {frames} frames")
        return
    from agent.offline.files.export import export as write

    done = write(folder, file, images=images, overwrite=overwrite)
    in_series = f" in {done.series} series" if done.series > 1 else ""
    say(f"{file}: {done.frames} frames{in_series}")


def report(
    folder: RunFolder,
    file: Annotated[Path | None, typer.Option("--out", help="instead of RUN/report.html")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="a PNG before and after, instead of the page")
    ] = None,
) -> None:
    """Draw a run: one self-contained HTML page, or the picture of what an optimization found."""
    from agent.record.folder import REPORT
    from agent.ui.report import save_picture, write_report

    if picture is not None:
        save_picture(folder, picture)
        print(picture)
        return
    target = file or folder / REPORT
    write_report(folder, target)
    print(target)


def replay(folder: RunFolder, as_json: AsJson = False, trust: Trust = False) -> None:
    """Lead a run's plan through its stored frames: the decisions must be the same."""
    from agent.run.replay import replay as lead

    found = lead(folder, trust=trust)
    if as_json:
        print(dumps(found.as_dict(), indent=1))
    elif found.difference is None:
        times = "once" if found.told == 1 else f"{found.told} times"
        told = f", told {times}" if found.told else ""
        print(f"{found.frames} frames gave the same {found.notes} decisions{told}")
    if rounding := found.rounding():
        say(f"{folder}: {rounding}")
    if found.difference is not None:
        say(f"{folder}: {found.difference}")
        raise typer.Exit(1)


@grouped
def score(
    files: Annotated[
        list[Path], typer.Argument(help="TIFFs and OME-Zarr images, one frame or more each")
    ],
    *,
    frames: Frames,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="instead of the bundled weights")
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option("--heatmap", metavar="PNG", help="draw what drives the score of one frame"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score STED frames with the quality network: 0 useless, 1 as good as it gets."""
    from agent.offline.files.scoring import score_files

    part, pixel_size = frames.part, frames.pixel_size
    refused: list[str] = []
    rows = score_files(files, pixel_size, weights, part, refused.append)
    if heatmap is not None and not refused:
        from agent.offline.files.heatmap import draw_heatmap

        draw_heatmap(files, pixel_size, weights, heatmap, part)
    for line in refused:
        say(line)
    if as_json:
        print(dumps(rows, indent=1))
    else:
        _print_scores(rows)
    if heatmap is not None and not refused:
        say(f"{heatmap}: what drives the score")
    if refused:
        raise typer.Exit(2)


def _print_scores(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"{row['score']:.3f} ± {row['sd']:.3f}  {row['file']}"
            + (f" [{row['frame']}]" if row["frames"] > 1 else "")
            + (f"  flagged: {', '.join(row['flags'])}" if row["flags"] else "")
        )
    from models.quality.score import FLAGS, REMEDIES

    for flag in FLAGS:
        if found := sum(flag in row["flags"] for row in rows):
            say(f"{found} of {len(rows)} frames {flag}: {REMEDIES[flag]}")
    if assumed := sum(row["pixel_size_from"] == "assumed" for row in rows):
        say(f"{assumed} of {len(rows)} frames do not say their pixel size; 20 nm was assumed")
    if filtered := sum(row["filter"] is not None for row in rows):
        say(f"{filtered} of {len(rows)} frames are filtered; the network judges raw ones")


def study(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS.csv",
            help="columns tester, image, target, prediction, choice; optional system",
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(min=0, help="of a simulated random system")] = 1,
    as_json: AsJson = False,
) -> None:
    """Confusion and domination tables of a user study, with the random system beside it."""
    from agent.offline import user_study as made

    tables = made.evaluate(made.read_answers(results), seed)
    if as_json:
        print(dumps(made.as_json(tables), indent=1))
    else:
        made.print_study(tables, out)


def rate(
    folder: Annotated[Path, typer.Argument(help="folder of TIFF images", show_default=False)],
    scores: Annotated[
        Path | None,
        typer.Option("--study", metavar="SCORES.csv", help="columns image, target, prediction"),
    ] = None,
    tester: Annotated[str | None, typer.Option(help="name of the tester; yours, if absent")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the order")] = 1,
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", metavar="NM", help="instead of the files' own")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--out", help="folder of the tables; that of the images")
    ] = None,
    port: Port = None,
    show: Open = True,
) -> None:
    """Score images in a browser, one at a time, or compare two scores of each (--study).

    Answers are on disk before the next image shows, and a later start continues
    where it stopped. They end in FOLDER/ratings.csv, for `train quality`, or
    FOLDER/study.csv, for `study`.
    """
    from agent.offline.rating.command import rate as serve
    from agent.ui.web.access import Place

    serve(
        folder,
        Place(port=port),
        say,
        study=scores,
        tester=tester,
        seed=seed,
        pixel_size_nm=pixel_size,
        out=target,
        show=show,
    )
