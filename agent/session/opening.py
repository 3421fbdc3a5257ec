"""Opening the microscope that a config asks for."""

from __future__ import annotations

from pathlib import Path

from agent.beside.filter_setup import check_filter
from agent.beside.rebuild_setup import check_interpolator
from agent.config import RunConfig
from agent.reading import located
from devices.errors import BindingError
from devices.microscope import Microscope


def open_microscope(config: RunConfig, source: Path) -> Microscope:
    """Open the config's microscope; a mismatch becomes a `ConfigError` that says where."""
    check_filter(config, source)
    check_interpolator(config, source)
    try:
        microscope = Microscope.open(config.microscope, base=source.parent, seed=config.seed)
    except BindingError as error:
        raise located(source, ("microscope", *error.path), str(error)) from None
    if config.plan != "live" and not microscope.core.getXYStageDevice():
        microscope.close()
        raise located(
            source,
            ("microscope",),
            f"has no XY stage, and `plan: {config.plan}` moves to its fields",
        )
    return microscope
