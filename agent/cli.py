"""The command line. Heavy imports wait inside the commands, so that help answers at once."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from agent.config import load
from agent.reading import ConfigError

if TYPE_CHECKING:
    from agent.check import Expected
    from agent.session import Result, Session

app = typer.Typer(
    name="stedfast",
    help="Closed-loop control of STED microscopes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
simulate = typer.Typer(help="Make data with the virtual microscope.", no_args_is_help=True)
train = typer.Typer(help="Train a network.", no_args_is_help=True)
app.add_typer(simulate, name="simulate")
app.add_typer(train, name="train")

out = Console()
err = Console(stderr=True)

ConfigFile = Annotated[Path, typer.Argument(help="YAML config file", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="run folder", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="lay a value over the config's; repeatable"),
]


def _say(line: str) -> None:
    """A line for a person, on stderr, so that stdout stays for results."""
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _leave(result: Result) -> NoReturn:
    """End with the run's exit code."""
    from agent.session import EXIT_CODES

    code = EXIT_CODES[result.status]
    sys.stdout.flush()
    sys.stderr.flush()
    if result.thread_left:
        # A driver still hangs in a thread; waiting for the interpreter's end could take for ever.
        os._exit(code)
    raise typer.Exit(code)


Host = Annotated[str, typer.Option("--host", help="of the page: address to listen on")]
Port = Annotated[int | None, typer.Option("--port", help="of the page")]
Certificate = Annotated[Path | None, typer.Option("--certificate", help="of the page: TLS, PEM")]
Key = Annotated[Path | None, typer.Option("--key", help="of the page: TLS, PEM")]
AllowPlain = Annotated[
    bool, typer.Option("--allow-plain", help="of the page: other machines without TLS")
]
Open = Annotated[bool, typer.Option("--open/--no-open", help="the page in a browser")]


@app.command()
def run(
    config: ConfigFile,
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of this run; new or empty")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="instead of the config's")] = None,
    overrides: Overrides = None,
    view: Annotated[bool, typer.Option("--view", help="and a page to see and steer it")] = False,
    host: Host = "127.0.0.1",
    port: Port = None,
    certificate: Certificate = None,
    key: Key = None,
    allow_plain: AllowPlain = False,
    show: Open = True,
) -> None:
    """Run a config: live, automated optimization or time-lapse."""
    lines = list(overrides or [])
    if seed is not None:
        lines.append(f"seed={seed}")
    checked = load(config, lines)
    from agent.folder import new_folder
    from agent.session import Session, open_microscope
    from agent.web.access import Place

    place = Place(host, port, certificate, key, allow_plain).check()
    # Opened before the folder is made, so that a wrong config leaves nothing behind.
    microscope = open_microscope(checked, config)
    made = new_folder(checked, Path(), folder)
    session = Session(checked, config, made, microscope=microscope)
    if not view:
        _work(session)
    from agent.view.command import viewed

    with viewed(made, place, _say, show=show):
        _work(session)


@app.command("view")
def view_(
    folder: RunFolder,
    host: Host = "127.0.0.1",
    port: Port = None,
    certificate: Certificate = None,
    key: Key = None,
    allow_plain: AllowPlain = False,
    show: Open = True,
) -> None:
    """See a run in a browser, while it goes on or after, and steer it; also from another machine.

    The page may be watched with the second link, which cannot change anything. Other machines
    need --host, and --certificate with --key for TLS (or --allow-plain, inside a tunnel).
    """
    from agent.view.command import view
    from agent.web.access import Place

    view(folder, Place(host, port, certificate, key, allow_plain), _say, show=show)


@app.command()
def resume(folder: RunFolder) -> None:
    """Go on with an interrupted run, from its ledger."""
    from agent.folder import read_config
    from agent.summary import summarize

    config = read_config(folder)
    if summarize(folder)["status"] == "completed":
        _say(f"{folder}: is complete already, nothing to do")
        return
    from agent.session import Session

    _work(Session(config, folder / "config.yaml", folder))


def _work(session: Session) -> NoReturn:
    from agent.folder import REPORT, RunBusy
    from agent.live_page import FILE as LIVE
    from agent.progress import showing

    if session.config.filter is not None:
        _say(f"raw and filtered, live: {session.folder / LIVE}")
    try:
        with showing(session.progress, err) as watch:
            result = session.run(watch)
    except RunBusy as error:
        raise ConfigError(str(error)) from None
    _say(f"{result.status}: {result.reason}")
    if not result.safe:
        _say("THE MICROSCOPE MAY NOT BE SAFE: see safe_state in `stedfast show`")
    if not result.thread_left:
        try:
            from agent.report import write_report

            write_report(result.folder, result.folder / REPORT)
        except Exception as error:  # the run itself is on disk; a drawing must not fail it
            _say(f"the report could not be written: {error}")
        _print_summary(result.folder)
    _say(f"stedfast show {result.folder}")
    _leave(result)


@app.command()
def check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Open the microscope, switch on no light, and say what the run would take."""
    from agent.check import expect
    from agent.session import open_microscope

    checked = load(config, overrides or [])
    with open_microscope(checked, config) as microscope:
        expected = expect(checked, microscope)
        table = Table(show_header=False, box=None)
        table.add_row("plan", checked.plan + (" (simulated)" if microscope.simulated else ""))
        if checked.filter is not None:
            table.add_row("filter", f"{checked.filter.model}, {checked.filter.frames} frames")
        shape = f"{microscope.core.getImageWidth()} × {microscope.core.getImageHeight()} px"
        table.add_row("frames", f"{_frames(expected)} of {shape}")
        if checked.rebuilds():
            lapse = checked.timelapse
            table.add_row("skipped ones", f"rebuilt by {lapse.model}, {lapse.acquire}")
        if expected.exposure_s and expected.duration_s and expected.bytes:
            table.add_row("duration", f"at least {_span(*expected.duration_s, 's')}")
            table.add_row("light on for", _span(*expected.exposure_s, "s"))
            table.add_row("disk", f"{expected.bytes / 1e6:.1f} MB")
            for laser, (low, high) in (expected.dose_J or {}).items():
                budget = checked.dose.budget_J.get(laser)
                note = f" (budget {budget:g} J)" if budget else ""
                table.add_row(f"{laser} dose", _span(low, high, "J") + note)
        out.print(table)
    out.print(f"{config}: ready to run", markup=False, highlight=False, soft_wrap=True)


def _frames(expected: Expected) -> str:
    if expected.frames is None:
        return "until stopped"
    fewest, most = expected.fewest, expected.frames
    return f"{most}" if fewest in (None, most) else f"{fewest} … {most}"


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:.3g} {unit}" if low == high else f"{low:.3g} … {high:.3g} {unit}"


@app.command()
def devices(
    cfg: Annotated[
        str,
        typer.Argument(help="Micro-Manager .cfg, `demo`, or a stedfast config", show_default=False),
    ],
    starter: Annotated[
        Path | None, typer.Option("--write", help="write a commented starter config here")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List devices, properties and limits; write a starter config for this microscope."""
    from agent.listing import list_devices

    list_devices(cfg, starter, out, as_json=as_json)


@app.command()
def score(
    files: Annotated[list[Path], typer.Argument(help="TIFF files, one frame or more each")],
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", metavar="NM", help="instead of the file's own")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="other weights than those that come along")
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option("--heatmap", metavar="PNG", help="draw what drives the score of one frame"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score STED frames with the quality network: 0 useless, 1 as good as it gets."""
    from agent.scoring import score_files

    rows = score_files(files, pixel_size, weights)
    if heatmap is not None:
        from agent.heatmap import draw_heatmap

        draw_heatmap(files, pixel_size, weights, heatmap)
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['score']:.3f} ± {row['sd']:.3f}  {row['file']}"
            + (f" [{row['frame']}]" if row["frames"] > 1 else "")
            + (f"  flagged: {', '.join(row['flags'])}" if row["flags"] else "")
        )
    if assumed := sum(row["pixel_size_from"] == "assumed" for row in rows):
        _say(f"{assumed} of {len(rows)} frames do not say their pixel size; 20 nm was assumed")
    if heatmap is not None:
        _say(f"{heatmap}: what drives the score")


@app.command("filter")
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

    from agent.filtering import filter_file

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
        _say(f"{file}, {fault}")
    for number, one in enumerate(done.scores):
        flagged = f"  flagged: {', '.join(one.flags)}" if one.flags else ""
        print(f"{one.value:.3f} ± {one.sd:.3f}  {file} [{number}]{flagged}")
    mean = sum(done.uncertainty) / len(done.uncertainty)
    _say(f"{target}: {done.frames} frames on {done.device}, uncertainty {mean:.2f} of the signal")


@app.command()
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

    from agent.reconstruction import reconstruct_file

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
        _say(f"{file}: {line}")
    _say(f"{target}: {done.summary()}")


@app.command()
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
    from agent import study as made

    tables = made.evaluate(made.read_answers(results), seed)
    if as_json:
        print(json.dumps(made.as_json(tables), indent=1))
    else:
        made.print_study(tables, out)


@app.command()
def rate(
    folder: Annotated[Path, typer.Argument(help="folder of TIFF images", show_default=False)],
    scores: Annotated[
        Path | None,
        typer.Option("--study", metavar="SCORES.csv", help="columns image, target, prediction"),
    ] = None,
    tester: Annotated[str | None, typer.Option(help="who answers; you, if absent")] = None,
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

    Answers are on disk before the next image shows, and a later start goes on where it stopped.
    They end in FOLDER/ratings.csv, for `train quality`, or FOLDER/study.csv, for `study`.
    """
    from agent.rating.command import rate as serve
    from agent.web.access import Place

    serve(
        folder,
        Place(port=port),
        _say,
        study=scores,
        tester=tester,
        seed=seed,
        pixel_size_nm=pixel_size,
        out=target,
        show=show,
    )


@app.command()
def show(folder: RunFolder, as_json: AsJson = False) -> None:
    """What a run did, or is doing."""
    from agent.summary import summarize

    if as_json:
        print(json.dumps(summarize(folder), indent=1))
    else:
        _print_summary(folder)


def _print_summary(folder: Path) -> None:
    from agent.summary import flagged_frames, summarize

    for line in _summary_lines(summarize(folder), flagged_frames(folder)):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _summary_lines(summary: dict[str, Any], flagged: str) -> list[str]:
    frames, dose = summary["frames"], summary["dose"]
    simulated = ", simulated" if summary["simulated"] else ""
    lines = [
        f"{summary['run']}: {summary['plan']}, {summary['status']}{simulated}",
        f"frames     {frames['acquired']} of {frames['planned'] or 'no fixed number'}",
    ]
    if (lapse := summary["lapse"]) is not None:
        lines += _lapse_lines(frames, lapse)
    light = [
        f"{laser.removesuffix('_J')} {joules:.3g} J"
        for laser, joules in dose.items()
        if laser.endswith("_J") and joules
    ]
    if light:
        share = dose["budget_fraction"]
        of_budget = f" ({share:.0%} of budget)" if share is not None else ""
        lines.append(f"light      {', '.join(light)}{of_budget}")
    if flagged:
        lines.append(f"flagged    {flagged}")
    if (filtered := summary["filtered"]) is not None:
        lines.append(_filtered_line(filtered))
    for which in ("start", "best"):
        part = summary[which]
        if part["score"]["n"]:
            settings = ", ".join(f"{k} {_number(v)}" for k, v in part["settings"].items())
            lines.append(
                f"{which:<11}score {_pm(part['score'])}, bleaching {_pm(part['bleaching'])}"
                f" (n = {part['score']['n']})"
            )
            lines.append(f"{'':11}{settings}")
    lines += [_told_line(told) for told in summary["told"]]
    lines += [_command_line(command) for command in summary["commands"]]
    lines += [f"{'why' if not at else '':<11}{line}" for at, line in enumerate(summary["why"])]
    lines += [f"fault      {fault['what']}" for fault in summary["faults"]]
    if (safe := summary["safe_state"]) is not None:
        state = "read back as it should" if safe["ok"] else "NOT SAFE"
        lines.append(f"safe state {state} at {safe['at']}")
    return lines


def _filtered_line(filtered: dict[str, Any]) -> str:
    where = f" on {', '.join(filtered['devices'])}" if filtered["devices"] else ""
    unsure = f", uncertainty {_pm(filtered['uncertainty'])}" if filtered["frames"] else ""
    digest = f" ({filtered['sha256'][:12]}…)" if filtered["sha256"] else ""
    of = f"{filtered['frames']} of {filtered['of']} frames"
    return f"filtered   {of} by {filtered['model']}{digest}{where}{unsure}"


def _lapse_lines(frames: dict[str, Any], lapse: dict[str, Any]) -> list[str]:
    saved = f", {lapse['light_saved']:.0%} of the light saved" if lapse["light_saved"] else ""
    lines = [f"skipped    {frames['skipped']}, {frames['reconstructed']} rebuilt{saved}"]
    if (error := lapse["error"]) is not None:
        bound = f" (bound {lapse['bound']:g})" if lapse["bound"] else ""
        compared = f"{lapse['compared']} compared, {lapse['audits']} of them audits"
        lines.append(f"error      {error[0]:.3f} ± {error[1]:.3f}{bound}; frames {compared}")
    if lapse["events"]:
        named = ", ".join(f"{one['kind']} at {one['point']}" for one in lapse["events"][:8])
        more = len(lapse["events"]) - 8
        lines.append(f"events     {named}{f' and {more} more' if more > 0 else ''}")
    return lines


def _told_line(told: dict[str, Any]) -> str:
    why = f": {told['refused']}" if "refused" in told else ""
    when = f"trial {told['trial']}" if "trial" in told else f"frame {told['frame']}"
    return f"told       {told['key']} = {told['value']}, before {when}{why}"


def _command_line(command: dict[str, Any]) -> str:
    told = ", ".join(k if v is True else f"{k} = {v}" for k, v in command["told"].items())
    by = f", by {command['by']}" if "by" in command else ""
    at = f" at {command['at']}" if "at" in command else ""
    why = f": {command['refused']}" if "refused" in command else ""
    return f"command    {told}{by}{at}{why}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _pm(part: dict[str, Any]) -> str:
    sd = f" ± {part['sd']:.3f}" if part["sd"] is not None else ""
    return f"{part['mean']:.3f}{sd}"


@app.command()
def export(
    folder: RunFolder,
    file: Annotated[Path, typer.Argument(help="OME-TIFF to write", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite")] = False,
) -> None:
    """Write a run's raw frames as one OME-TIFF."""
    from agent.export import export as write

    frames = write(folder, file, overwrite=overwrite)
    _say(f"{file}: {frames} frames")


@app.command()
def report(
    folder: RunFolder,
    file: Annotated[Path | None, typer.Option("--out", help="instead of RUN/report.html")] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="a PNG before and after, instead of the page")
    ] = None,
) -> None:
    """Draw a run: one self-contained HTML page, or the picture of what an optimization found."""
    from agent.folder import REPORT
    from agent.report import save_picture, write_report

    if picture is not None:
        save_picture(folder, picture)
        print(picture)
        return
    target = file or folder / REPORT
    write_report(folder, target)
    print(target)


@app.command()
def replay(folder: RunFolder, as_json: AsJson = False) -> None:
    """Lead a run's plan through its stored frames: the decisions must be the same."""
    from agent.replay import replay as lead

    found = lead(folder)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1))
    elif found.difference is None:
        told = f", told {found.told} times" if found.told else ""
        print(f"{found.frames} frames gave the same {found.notes} decisions{told}")
    if found.difference is not None:
        _say(f"{folder}: {found.difference}")
        raise typer.Exit(1)


@app.command()
def tell(
    folder: RunFolder,
    pairs: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE…",
            help="a setting, try, prefer, pick, trials, finish, pause, resume, stop or filter;"
            " values are YAML",
            show_default=False,
        ),
    ],
) -> None:
    """Change a run while it works: an optimization between two trials, live between two frames.

    depletion_power=120 fixes a tuned setting, depletion_power=[50,120] narrows it and
    depletion_power=free searches all of it again. try={depletion_power: 90} is tried next.
    prefer={quality: 1, bleaching: 0.5} or pick=7 (a trial) says which trade-off to recommend.
    trials=30 is another number of trials; finish=true ends the search. Any run that is at work
    heeds pause=true, resume=true, stop=true and filter=none, newest or all.
    """
    from agent.tell import tell as write

    _say(write(folder, pairs))


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="loop, optimize, optimizer, objectives, quality, restoration, interpolation, kill"
        ),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="at most 3 minutes on 2 cores")] = False,
    seeds: Annotated[int | None, typer.Option(help="how many seeds or repeats")] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FILE", help="of a long one: go on from here")
    ] = None,
    view: Annotated[
        bool, typer.Option("--view", help="of loop: with open pages in a real browser")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the README claims."""
    from agent.bench import run_bench

    run_bench(name, quick=quick, seeds=seeds, as_json=as_json, keep=keep, view=view)


@simulate.command("quality")
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
    """Labelled STED frames for `train quality`; goes on where it stopped."""
    from rich.progress import Progress

    from agent.simulate import SETS
    from agent.simulate import simulate_quality as make

    if name not in SETS:
        raise ConfigError(f"--set {name}: no such set; accepted: {', '.join(SETS)}")
    with Progress(console=err) as bar:
        task = bar.add_task("frames", total=frames)
        for done in make(folder, frames, seed, workers, name):
            bar.update(task, completed=done)


@simulate.command("sessions")
def simulate_sessions(
    file: Annotated[
        Path, typer.Argument(help="library to write, NAME.safetensors", show_default=False)
    ],
    sessions: Annotated[int, typer.Option(min=1, help="how many")] = 300,
    seed: Annotated[int, typer.Option(min=0)] = 1,
) -> None:
    """A library of simulated sessions, for the optimizer's memory; a card goes beside it."""
    from rich.progress import Progress

    from agent.simulate import simulate_sessions as make

    with Progress(console=err) as bar:
        task = bar.add_task("sessions", total=sessions)
        for done in make(file, sessions, seed):
            bar.update(task, completed=done)


@simulate.command("labels")
def simulate_labels(
    folder: Annotated[Path, typer.Argument(help="folder for the fields", show_default=False)],
    structure: Annotated[str, typer.Option(help="actin, tubulin, or to test: psd95")] = "actin",
    fields: Annotated[int, typer.Option(min=1, help="how many")] = 240,
    name: Annotated[str, typer.Option("--set", help="training or test")] = "training",
    seed: Annotated[int, typer.Option(min=0)] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; one a core")] = None,
) -> None:
    """Fields with two labels of one structure, for restoration; goes on where it stopped."""
    from rich.progress import Progress

    from agent.simulate.labels import asked
    from agent.simulate.labels import simulate_labels as make

    what = asked(structure, name)
    with Progress(console=err) as bar:
        task = bar.add_task("fields", total=fields)
        for done in make(folder, *what, fields, seed, workers):
            bar.update(task, completed=done)


@simulate.command("movies")
def simulate_movies(
    folder: Annotated[Path, typer.Argument(help="folder for the movies", show_default=False)],
    name: Annotated[str, typer.Option("--set", help="training or test")] = "training",
    movies: Annotated[int, typer.Option(min=1, help="how many")] = 1000,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="processes; one a core")] = None,
) -> None:
    """Movies with their noise-free truth, for interpolation; goes on where it stopped."""
    from rich.progress import Progress

    from agent.simulate.movie_set import asked
    from agent.simulate.movie_set import simulate_movies as make

    wanted = asked(name)
    with Progress(console=err) as bar:
        task = bar.add_task("movies", total=movies)
        for done in make(folder, wanted, movies, seed, workers):
            bar.update(task, completed=done)


@train.command("quality")
def train_quality(
    config: ConfigFile,
    data: Annotated[
        Path | None, typer.Option(help="instead of the config's: folder with frames.csv, or a CSV")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--out", help="weights to write, without ending")
    ] = None,
    tests: Annotated[
        list[str] | None,
        typer.Option("--test", metavar="NAME=FOLDER", help="measure on this, too; repeatable"),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train the quality network on labelled or rated frames; goes on where it stopped."""
    from agent.training import train_quality as work

    lines = list(overrides or [])
    lines += [f"{key}={value}" for key, value in (("data", data), ("out", weights)) if value]
    lines += [f"tests.{test}" for test in tests or []]
    work(config, lines, err)


@train.command("restoration")
def train_restoration(
    config: ConfigFile,
    data: Annotated[
        Path | None,
        typer.Option(help="instead of the config's: folder with a folder for each channel"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--out", help="weights to write, without ending")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train a filter on pairs of labels or exposures; goes on where it stopped."""
    from agent.restoration_training import train_restoration as work

    lines = list(overrides or [])
    lines += [f"{key}={value}" for key, value in (("data", data), ("out", weights)) if value]
    work(config, lines, err)


@train.command("interpolation")
def train_interpolation(
    config: ConfigFile,
    data: Annotated[
        Path | None, typer.Option(help="instead of the config's: folder with movies, or one movie")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--out", help="weights to write, without ending")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Train a network that rebuilds skipped frames; goes on where it stopped."""
    from agent.interpolation_training import train_interpolation as work

    lines = list(overrides or [])
    lines += [f"{key}={value}" for key, value in (("data", data), ("out", weights)) if value]
    work(config, lines, err)


def main() -> None:
    """Entry point: mistakes in a config or a file end with 2 and no traceback."""
    # What scikit-optimize and its Gaussian processes remark on, nobody at a microscope can act on.
    warnings.filterwarnings("ignore", message="The optimal value found for dimension")
    warnings.filterwarnings("ignore", category=UserWarning, module="skopt")
    try:
        app()
    except ConfigError as error:
        _say(str(error))
        sys.exit(2)
    except SystemExit as left:
        # Typer ends with the same code as a run that was stopped, and without a word.
        if isinstance(left.__context__ and left.__context__.__cause__, KeyboardInterrupt):
            _say("interrupted")
        raise


if __name__ == "__main__":
    main()
