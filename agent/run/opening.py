"""Opening the microscope that a config asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config import RunConfig
from agent.config.notify import web_address
from agent.config.reading import located, noted
from agent.plans.build import check_plan
from agent.workers.checks import check_filter, check_interpolator
from agent.workers.notify import targets
from devices.errors import BindingError
from devices.microscope import Microscope
from devices.safety import Stop


@contextmanager
def open_microscope(
    config: RunConfig, source: Path, stop: Stop | None = None, *, begun: bool = False
) -> Iterator[Microscope]:
    """Open the config's microscope, which is made safe and let go of with the context.

    Parameters
    ----------
    config, source
        What to do, and the file that says so.
    stop
        Whether it is to end.
    begun
        Of a run that goes on as it was begun, with a calibration or without.

    Raises
    ------
    UserError
        The config does not fit the microscope; says where.
    Interrupted
        It is to end.
    """
    check_plan(config, source)
    check_filter(config, source)
    check_interpolator(config, source)
    check_notify(config, source)
    if config.section.searches() or config.section.reoptimizes():
        from agent.optimizer.build import check_engine

        check_engine(config, source)
    try:
        with Microscope.open(
            config.microscope,
            base=source.parent,
            seed=config.seed,
            stop=stop,
            revisited=config.section.revisited(),
        ) as microscope:
            _check_stage(config, microscope)
            focuses = config.section.focuses() or config.focus is not None
            if focuses and not microscope.core.getFocusDevice():
                raise BindingError(
                    (), f"has no focus drive, and `plan: {config.plan}` moves the focus"
                )
            choose_autofocus(config, microscope, source)
            if (places := config.section.own_fields()) is not None:
                microscope.fields = list(places)
            microscope.check_fields(config.section.planes(), moves=config.section.moves())
            if not begun:
                _check_mounting(config, microscope, source)
            _check_search(config, microscope, source)
            _check_sizes(config, microscope, source)
            yield microscope
    except BindingError as error:
        wrong = located(source, ("microscope", *error.path), str(error))
        raise noted(wrong, error) from None


def _check_stage(config: RunConfig, microscope: Microscope) -> None:
    """Without an XY stage a run can only stay where it is."""
    if microscope.has_stage or not config.section.moves():
        return
    fields = microscope.fields[: config.section.goes_only_to()]
    if not fields or any((one.x_um, one.y_um) != microscope.stood_um for one in fields):
        raise BindingError((), f"has no XY stage, and `plan: {config.plan}` moves to its fields")


def check_notify(config: RunConfig, source: Path) -> None:
    """Check that there is an address, where messages are asked for.

    Raises
    ------
    UserError
        An address is none, or what sends messages is not installed.
    """
    if config.notify is None:
        return
    key = "to"
    try:
        targets(config.notify)
        key = "heartbeat"
        if config.notify.heartbeat is not None:
            web_address(config.notify.heartbeat)
    except ValueError as error:
        raise located(source, ("notify", key), str(error)) from None


def choose_autofocus(config: RunConfig, microscope: Microscope, source: Path) -> None:
    """Choose the device that looks for the focus, if none was: it has to be there, and to answer.

    Raises
    ------
    UserError
        It is not, or does not; says where in `source`.
    """
    if microscope.autofocus.state:
        return
    focus = config.focus
    if focus is not None and focus.device is not None:
        try:
            microscope.autofocus.choose(focus.device)
            if (stage := focus.offset_device) is not None:
                microscope.autofocus.check_offset(stage, focus.device_offset)
        except BindingError as error:
            key = error.path or ("device",)
            raise located(source, ("focus", *key), str(error)) from None
    if config.section.autofocuses():
        of_sequence = config.section is config.mda
        try:
            microscope.autofocus.choose()
            for stage, offset in config.mda.offsets():
                microscope.autofocus.check_offset(stage, offset)
        except BindingError as error:
            key = (config.plan, "sequence") if of_sequence else ("plan",)
            whose = "its `autofocus_plan`" if of_sequence else "it"
            what = f"{whose} needs an autofocus device"
            if error.path:
                what = "`autofocus_device_name`, the stage of the offset"
            raise located(source, key, f"{what}: {error}") from None


def _check_mounting(config: RunConfig, microscope: Microscope, source: Path) -> None:
    """Nothing is followed with a stage of which it is not known how the camera lies on it."""
    key = config.section.follows()
    if key is not None and microscope.config.mounting is None:
        raise located(
            source,
            (config.plan, key),
            f"needs to know how the camera lies on the stage; `stedfast calibrate {source}` finds "
            "it, and writes `microscope.affine`",
        )


def _check_sizes(config: RunConfig, microscope: Microscope, source: Path) -> None:
    """What is filtered, and what is rebuilt from others, has frames of one size."""
    scope = microscope.config
    searches = config.section.searches() or config.section.reoptimizes()
    searched = set(config.tuned()) if searches else set()
    free = (searched | set(config.adjustable())) & set(microscope.sizing)
    together = [("filter", "modes", config.filtered_modes())]
    if config.section.rebuilds():
        together.append((config.plan, "acquire", config.section.modes()))
    for section, key, modes in together:
        for mode in modes:
            if left := [name for name in sorted(free) if name not in scope.modes[mode]]:
                raise located(
                    source,
                    (section, key),
                    f"{left[0]!r} changes the size of frames of the mode {mode!r}; accepted: "
                    f"`modes.{mode}.{left[0]}` with a value, so that they have one size",
                )
        shapes = {microscope.shapes[mode]: mode for mode in modes}
        if len(shapes) > 1:
            said = ", ".join(f"{r} × {c} px in {mode!r}" for (r, c), mode in shapes.items())
            raise located(source, (section, key), f"frames are {said}; accepted: modes of one size")


def _check_search(config: RunConfig, microscope: Microscope, source: Path) -> None:
    """What a config searches was checked against it; its devices may take whole numbers only."""
    for name, values in config.optimize.search.items():
        for value in values:
            if why := microscope.config.settings[name].refusal(value):
                raise located(source, ("optimize", "search", name), f"{why}, as its device takes")
