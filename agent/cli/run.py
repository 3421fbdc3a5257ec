"""Commands that run a microscope, and those that steer a run while it works."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.table import Table

from agent.cli.groups import grouped
from agent.cli.options import (
    AsJson,
    ConfigFile,
    Overrides,
    Page,
    RunFolder,
    Trust,
    View,
    err,
    out,
    say,
)
from agent.cli.summary import print_summary
from agent.config import load
from agent.config.reading import UserError
from agent.run.signals import Interrupts, interrupts

if TYPE_CHECKING:
    from agent.run import Result, Session


@grouped
def run(
    config: ConfigFile,
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of this run; new or empty")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="instead of the config's")] = None,
    overrides: Overrides = None,
    view: View = False,
    *,
    page: Page,
) -> None:
    """Run a config: live, automated optimization or time-lapse."""
    lines = list(overrides or [])
    if seed is not None:
        lines.append(f"seed={seed}")
    with interrupts() as seen:
        checked = load(config, lines)
        from agent.record.folder import begun_folder
        from agent.run import Session, guarded, open_microscope
        from agent.run.estimate import check_disk, expect
        from agent.ui.view.serve import viewed

        place = page.place.check()
        # Opened before the folder is made, so that a wrong config leaves nothing behind.
        with (
            guarded(checked, config, seen) as guard,
            open_microscope(checked, config, seen) as microscope,
            begun_folder(checked, Path(), folder) as made,
        ):
            disk = check_disk(checked, expect(checked, microscope), config, folder)
            session = Session(checked, config, made, microscope=microscope, guard=guard)
            with viewed(made, place, say, show=page.show) if view else nullcontext():
                _work(session, f"disk: {disk}")


@grouped
def view_(
    folder: RunFolder,
    *,
    page: Page,
) -> None:
    """See and steer a run in a browser, while it works or after; also from another machine.

    The page may be watched with the second link, which cannot change anything.
    Other machines need --host, and --certificate with --key for TLS (or
    --allow-plain, inside a tunnel).
    """
    from agent.ui.view.serve import view

    view(folder, page.place, say, show=page.show)


@grouped
def resume(
    folder: RunFolder,
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="other weights, or other code of its own"),
    ] = False,
    trust: Trust = False,
    view: View = False,
    *,
    page: Page,
) -> None:
    """Continue an interrupted run, from its ledger."""
    from agent.record.summary import summarize
    from agent.run.trust import read_trusted

    config = read_trusted(folder, trust=trust)
    with interrupts() as seen:
        if summarize(folder)["status"] == "completed":
            say(f"{folder}: is complete already, nothing to do")
            return
        from agent.run import Session, guarded
        from agent.ui.view.serve import viewed

        place, source = page.place.check(), folder / "config.yaml"
        with (
            guarded(config, source, seen) as guard,
            viewed(folder, place, say, show=page.show) if view else nullcontext(),
        ):
            _work(Session(config, source, folder, accept_changes=accept_changes, guard=guard))


def safe(config: ConfigFile) -> None:
    """Make a microscope dark: every shutter closed, every laser at its safe value, read back.

    Never while another command has it open, which makes it safe itself at its
    end. What it writes is what each device says afterwards.
    """
    checked = load(config, [], code=False)
    from agent.config.reading import located, noted
    from devices.errors import BindingError
    from devices.occupied import Occupied
    from devices.opening import open_core

    with interrupts() as seen:
        try:
            with open_core(
                checked.microscope, base=config.parent, seed=checked.seed, stop=seen
            ) as held:
                state = held.close("safe")
        except BindingError as error:
            if not (isinstance(error, Occupied) or hasattr(error, "__notes__")):
                error.add_note("what came up is dark; what did not could not be asked")
            raise noted(located(config, ("microscope", *error.path), str(error)), error) from None
    table = Table(show_header=False, box=None)
    for one in state.readback:
        table.add_row(one.name, f"{one.value}" + ("" if one.ok else f", not {one.expected}"))
    out.print(table)
    if not state.ok:
        say(f"THE MICROSCOPE MAY NOT BE SAFE: {state.wrong}")
        raise typer.Exit(1)
    say(f"{config}: dark")


def calibrate(
    config: ConfigFile,
    mode: Annotated[
        str | None,
        typer.Option(help="of the frames; confocal if there is one, else that of the plan"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="folder of its frames; new or empty")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Find how the camera lies on the stage, from five small moves, and write it into the config.

    Takes six frames around where the stage is, a fifth of a field away, under
    the config's limits and light budgets, and ends where it began. Something
    must be seen there. The result is `microscope.affine`.
    """
    from agent.cli.calibrate import calibrate as find

    find(config, mode, folder, overrides or [])


def devices(
    cfg: Annotated[
        str,
        typer.Argument(help="Micro-Manager .cfg, `demo`, or a stedfast config", show_default=False),
    ] = "",
    host: Annotated[
        str | None,
        typer.Option(
            "--imspector", metavar="HOST", help="an Abberior microscope, by Imspector's computer"
        ),
    ] = None,
    probe: Annotated[
        Path | None,
        typer.Option("--probe", help="ask Imspector for every value; write a report here (JSON)"),
    ] = None,
    starter: Annotated[
        Path | None, typer.Option("--write", help="write a commented starter config here")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List devices, properties and limits; write a starter config for this microscope."""
    from agent.cli.devices import list_devices

    if bool(cfg) == (host is not None):
        raise UserError("devices: takes a .cfg, `demo`, a stedfast config, or --imspector HOST")
    if probe is not None:
        from agent.cli.imspector import probe_imspector

        probe_imspector(host, probe)
        return
    list_devices(cfg, starter, out, as_json=as_json, host=host)


def tell(
    folder: RunFolder,
    pairs: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE…",
            help="a setting, try, prefer, pick, accept, trials, finish, pause, resume, stop"
            " or filter; values are YAML. Or: place X Y [Z], in µm; roi MODE X Y WIDTH HEIGHT,"
            " in px",
            show_default=False,
        ),
    ],
) -> None:
    """Change a run while it works: an optimization between two trials, live between two frames.

    place X Y [Z] adds a field at these stage coordinates (µm) to a time-lapse
    that takes every time point. roi MODE X Y WIDTH HEIGHT takes this part of the
    camera's frames in a mode from now on, live or in a time-lapse; roi MODE full
    takes all of it.

    depletion_power=120 fixes a tuned setting, depletion_power=[50,120]
    narrows it, depletion_power=free searches all of it again.
    try={depletion_power: 90} is tried next. prefer={quality: 1, bleaching: 0.5}
    or pick=7 (a trial) says which trade-off to recommend; accept=7 takes that
    trial's settings and ends the search. trials=30 is another number of trials;
    finish=true ends the search. Any running session applies pause=true,
    resume=true, stop=true and filter=none, newest or all.
    """
    from agent.steering.tell import tell as write

    say(write(folder, pairs))


def _work(session: Session, *more: str) -> NoReturn:
    from agent.cli.progress_bar import showing
    from agent.record.folder import RunBusy
    from agent.ui.report.live_page import FILE as LIVE
    from agent.workers.checks import unlike

    for line in (f"run: {session.folder}", *more):
        say(line)
    if session.config.filter is not None:
        say(f"raw and filtered, live: {session.folder / LIVE}")
        if (said := unlike(session.config)) is not None:
            say(f"filter: {said}")
    try:
        with showing(session.progress, err) as watch:
            result = session.run(watch)
    except RunBusy as error:
        raise UserError(str(error)) from None
    say(f"{result.status}: {result.reason}")
    if not result.safe:
        say("THE MICROSCOPE MAY NOT BE SAFE: see safe_state in `stedfast show`")
    found = None
    if not result.thread_left:
        with interrupts() as seen:
            found = _sum_up(result, seen)
    if result.status == "interrupted":
        say(f"stedfast resume {result.folder} continues it")
    say(f"stedfast show {result.folder}")
    _leave(result, reliable=found is None or found["ok"] is not False)


def _sum_up(result: Result, seen: Interrupts) -> Mapping[str, Any] | None:
    """Write the report and print the summary; returns the run's result.

    A failure here does not change how the run ended.
    """
    from agent.record.folder import REPORT
    from agent.record.summary import summarize
    from agent.ui.report import write_report

    found: Mapping[str, Any] | None = None
    try:
        with seen.breaking():
            try:
                write_report(result.folder, result.folder / REPORT)
            except Exception as error:  # the run itself is on disk; a drawing must not fail it
                say(f"the report could not be written: {error}")
            found = print_summary(result.folder)["result"]
    except KeyboardInterrupt:
        say(f"stedfast report {result.folder} writes the report")
    except (OSError, SystemExit):  # the output has no reader
        with suppress(UserError, OSError):
            found = summarize(result.folder)["result"]
    except UserError as error:  # another program wrote into its folder
        say(str(error))
    return found


def _leave(result: Result, *, reliable: bool) -> NoReturn:
    """End with the run's exit code."""
    from agent.record.verdict import EXIT_CODE
    from agent.run import EXIT_CODES

    code = EXIT_CODES[result.status]
    if result.status == "completed" and not reliable:
        code = EXIT_CODE
    if result.thread_left:
        # A driver still hangs in a thread; waiting for the interpreter's end could take for ever.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)
