"""`stedfast calibrate`: how the camera lies on the stage, found in a run of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from agent.config import RunConfig, plain_yaml
from agent.config.amending import amended
from agent.config.plain_yaml import YamlError
from agent.config.plans import LiveConfig
from agent.config.reading import UserError, located, read_text
from agent.plan import Plan
from agent.plans.calibration import TOPIC, Calibration, NotCalibrated, calibration, found_in, places
from agent.record.ledger import Ledger
from agent.record.recording import Recording
from agent.record.safe_files import replace_text
from devices.microscope import Microscope
from devices.refusals import refused
from devices.shot import Field


def run_config(config: RunConfig, source: Path, mode: str | None) -> RunConfig:
    """What a calibration needs of a config: its microscope, its light budgets, its seed.

    Parameters
    ----------
    config, source
        Whose microscope is calibrated, and its file.
    mode
        Of the frames; without one it is `confocal`, which bleaches least, or else the first mode of
        the plan.

    Raises
    ------
    UserError
        There is no such mode.
    """
    modes = config.microscope.modes
    if mode is None:
        mode = "confocal" if "confocal" in modes else config.section.modes()[0]
    if mode not in modes:
        raise located(source, ("microscope", "modes"), refused(mode, modes))
    return RunConfig(
        plan="live",
        seed=config.seed,
        runs=config.runs,
        microscope=config.microscope,
        dose=config.dose,
        faults=config.faults,
        live=LiveConfig(mode=mode),
    )


def check_places(microscope: Microscope, mode: str, source: Path) -> list[Field]:
    """Where frames of a mode are taken, each of them within `stage_limits`.

    Raises
    ------
    UserError
        There is no XY stage, or it may not go there.
    """
    core, scope = microscope.core, microscope.config
    if not core.getXYStageDevice():
        raise located(source, ("microscope", "xy_stage"), "has no XY stage to be calibrated")
    x, y = core.getXYPosition()
    shape = microscope.shapes[mode]
    found = places(float(x), float(y), shape, scope.pixel_size_nm * 1e-3)
    for field in found:
        if why := scope.stage_limits.refusal(field.x_um, field.y_um, None):
            raise located(source, ("microscope", "stage_limits"), f"a move of calibration: {why}")
    return found


def plan_of_places(fields: Sequence[Field]) -> Callable[[RunConfig], Plan]:
    """What makes the plan that takes them."""

    def calibrate(config: RunConfig) -> Plan:
        return calibration(config.live.mode, fields, config.microscope.pixel_size_nm * 1e-3)

    return calibrate


def result_of(folder: Path) -> Calibration:
    """What a run found.

    Raises
    ------
    NotCalibrated
        Nothing.
    """
    with closing(Ledger(folder, readonly=True)) as ledger:
        notes = Recording.read(ledger).notes_on(TOPIC)
    if not notes:
        raise NotCalibrated("the run ended before it had all of its frames")
    return found_in(notes[-1])


def written(source: Path, found: Calibration) -> str:
    """Write the affine into a config; the line that says it.

    Raises
    ------
    UserError
        It is to be written by hand; says what.
    """
    # More digits than a stage has, and fewer than floats have.
    six = [float(f"{number:.6g}") for number in found.affine.six]
    line = plain_yaml.write({"affine": six}).strip()
    try:
        text = amended(read_text(source), "microscope", "affine", six, after="pixel_size_nm")
        file = source.resolve()
        mode = file.stat().st_mode
        replace_text(file, text)
        file.chmod(mode)
    except (YamlError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{source}: not written ({why}); put below `microscope`: {line}") from None
    return line
