"""`stedfast calibrate`: from a config to the same config with an affine in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from agent.cli.progress_bar import showing
from agent.cli.terminal import err, out, say
from agent.config import load
from agent.plans.calibration import NotCalibrated
from agent.record.folder import begun_folder
from agent.run import EXIT_CODES, Session, guarded, open_microscope
from agent.run.calibrate import check_places, plan_of_places, result_of, run_config, written
from agent.run.signals import interrupts
from devices.pixels import ALIKE


def calibrate(
    source: Path, mode: str | None, folder: Path | None, overrides: Sequence[str]
) -> None:
    """Find how the camera of a config's microscope lies on its stage, and write it there.

    Raises
    ------
    UserError
        The config does not fit the microscope, or it cannot be written.
    """
    config = run_config(load(source, overrides, code=False), source, mode)
    with interrupts() as seen:
        with (
            guarded(config, source, seen) as guard,
            open_microscope(config, source, seen) as microscope,
            begun_folder(config, Path(), folder, "calibrate") as made,
        ):
            make_plan = plan_of_places(check_places(microscope, config.live.mode, source))
            own = microscope.config.mounting
            session = Session(
                config, source, made, microscope=microscope, make_plan=make_plan, guard=guard
            )
            with showing(session.progress, err) as watch:
                result = session.run(watch)
        if not result.safe:
            say("THE MICROSCOPE MAY NOT BE SAFE: see safe_state in `stedfast show`")
        if result.status != "completed":
            say(f"{result.status}: {result.reason}")
            say(f"{source}: not calibrated")
            raise typer.Exit(EXIT_CODES[result.status])
        try:
            found = result_of(result.folder)
        except NotCalibrated as error:
            say(f"{source}: not calibrated: {error}; the frames are in {result.folder}")
            raise typer.Exit(1) from None
        out.print(found.in_words(), soft_wrap=True)
        if own is not None and found.affine.unlike(own) > ALIKE:
            say(f"it was thought to be {own.in_words()}")
        size_nm = config.microscope.pixel_size_nm
        if abs(found.affine.pixel_um * 1e3 / size_nm - 1) > ALIKE:
            say(
                f"`pixel_size_nm` is {size_nm:g}, and the stage says "
                f"{found.affine.pixel_um * 1e3:.4g}: one of them is wrong"
            )
        say(f"{source}: `microscope.{written(source, found)}`")
