"""Whether weights and device of a config can be used, before anything is opened for nothing."""

from __future__ import annotations

from pathlib import Path

from agent.config import RunConfig
from agent.config.own_code import FILTER, INTERPOLATOR
from agent.config.reading import located
from devices.refusals import refused


def check_filter(config: RunConfig, source: Path) -> None:
    """Read the model of the config's filter, before anything is opened for nothing.

    Raises
    ------
    UserError
        There is none of that name, or it cannot be used here.
    """
    if config.filter is None:
        return
    if FILTER.word not in config.own:
        from models.restoration import check_model

        try:
            check_model(
                config.filter.model,
                pixel_size_nm=config.microscope.pixel_size_nm,
                trust=config.filter.trust,
            )
        except (OSError, ValueError) as error:
            raise located(source, ("filter", "model"), str(error)) from None
    _check_device(config.filter.device, source, ("filter", "device"))


def unlike(config: RunConfig) -> str | None:
    """What is to be said of the config's filter and the frames' pixels, if anything is."""
    if config.filter is None or FILTER.word in config.own:
        return None
    from models.restoration import unlike_pixels

    try:
        return unlike_pixels(config.filter.model, config.microscope.pixel_size_nm)
    except (OSError, ValueError):  # told where the model is opened
        return None


def check_interpolator(config: RunConfig, source: Path) -> None:
    """Read the weights of the config's interpolator, before anything is opened for nothing.

    Raises
    ------
    UserError
        There are none of that name, or they cannot be used here.
    """
    if not config.section.rebuilds():
        return
    if INTERPOLATOR.word not in config.own:
        from models.interpolation import read_interpolator

        try:
            read_interpolator(config.timelapse.model)
        except (OSError, ValueError) as error:
            raise located(source, ("timelapse", "model"), str(error)) from None
    elif config.section.tunes():
        why = refused(config.timelapse.tune, "false: only weights can learn")
        raise located(source, ("timelapse", "tune"), why)
    _check_device(config.timelapse.device, source, ("timelapse", "device"))


def _check_device(device: str, source: Path, key: tuple[str, str]) -> None:
    if device != "cuda":
        return
    from torch.cuda import is_available

    if not is_available():
        why = f"{refused(device, 'auto or cpu')}; torch finds no CUDA device here"
        raise located(source, key, why)
