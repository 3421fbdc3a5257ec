"""`stedfast devices`: what a microscope has, and a config to start from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.cli.terminal import say
from agent.config import load, plain_yaml
from agent.config.data import as_data
from agent.config.reading import UserError, located, noted
from agent.run.signals import interrupts
from devices.config import ExposureConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.inventory import DeviceInfo, GroupInfo, PropertyInfo, groups, inventory
from devices.opening import open_core
from devices.pixels import own_pixel_um
from devices.sources import ImspectorConfig
from devices.starter import starter_config

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_ASKING_S = 60.0
_SOURCES = ("cfg", "virtual_sted", "replay", "imspector", "modules", "python_devices")
"""Keys of `microscope` that devices are loaded from."""


def list_devices(
    cfg: str, starter: Path | None, console: Console, *, as_json: bool, host: str | None = None
) -> None:
    """Print the devices of a `.cfg` (or of a config's microscope); write a starter config.

    Parameters
    ----------
    cfg
        The file; empty where there is a `host`.
    starter
        The config to write; None for none.
    console
        To print to.
    as_json
        JSON instead of a table.
    host
        The computer on which Imspector runs, instead of a file.

    Raises
    ------
    UserError
        The file cannot be loaded, or `starter` is there already.
    """
    if starter is not None and starter.exists():
        raise UserError(f"{starter}: is there already; give --write a new file")
    if starter is not None and not starter.parent.is_dir():
        raise UserError(f"{starter}: there is no folder {starter.parent}")
    config, base = _microscope(cfg) if host is None else (through_imspector(host), Path())
    cfg = cfg or f"Imspector on {host or 'this computer'}"
    try:
        with interrupts() as seen, open_core(config, base=base, stop=seen) as held:
            core = held.core
            infos = held.within(_ASKING_S, lambda: inventory(core))
            grouped = held.within(_ASKING_S, lambda: groups(core))
            text = _starter(core, cfg, config, starter) if starter is not None else ""
            shutters = held.lights.shutters
    except BindingError as error:
        raise noted(_wrong(cfg, error), error) from None
    if as_json:
        print(json.dumps([asdict(info) for info in infos], indent=1, default=str))
    else:
        console.print(_table(infos, grouped))
    closed = f"{', '.join(shutters)} closed" if shutters else "there is no shutter to close"
    say(f"{cfg}: {closed}")
    if starter is not None:
        starter.write_text(text, encoding="utf-8")
        say(f"{starter}: written; the lines to look at say `# check:`")


def _wrong(cfg: str, error: BindingError) -> UserError:
    """A microscope's error and its place: a line of its config, or its `.cfg`."""
    file = Path(cfg)
    if _is_config(file):
        return located(file, ("microscope", *error.path), str(error))
    # Micro-Manager's own refusals name the file already.
    return UserError(str(error) if cfg in str(error) else f"{cfg}: {error}")


def _is_config(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml")


def _microscope(cfg: str) -> tuple[MicroscopeConfig, Path]:
    """What to open, and the folder that its paths start from."""
    file = Path(cfg)
    if _is_config(file):
        return load(file, code=False).microscope, file.parent
    exposure = ExposureConfig(camera_ms=1)
    return MicroscopeConfig(cfg=cfg, pixel_size_nm=1, exposure=exposure), Path()


def through_imspector(host: str) -> MicroscopeConfig:
    """An Abberior microscope of which nothing is known yet, and which is only asked."""
    return MicroscopeConfig(
        imspector=ImspectorConfig(host=host, rescue=True),
        pixel_size_nm=1,
        exposure=ExposureConfig(camera_ms=1),
    )


def _starter(core: UniMMCore, cfg: str, config: MicroscopeConfig, starter: Path) -> str:
    """The starter config, whose paths start where it is written to."""
    named = {key: value for key, value in as_data(config).items() if key in _SOURCES}
    if config.imspector is not None:
        # That light may end early is a person's own decision.
        asked = None if _is_config(Path(cfg)) else {"rescue"}
        told = config.imspector.model_dump(exclude_defaults=True, exclude=asked)
        named["imspector"] = told or {"host": ""}
    # A path is short where the file lies beside what it names, and whole elsewhere.
    here = starter.parent.absolute()
    for place, key in ((named, "cfg"), (named, "modules"), (named.get("replay", {}), "file")):
        path = Path(str(place.get(key, "demo")))
        if str(path) != "demo":
            path = path.absolute()
            place[key] = str(path.relative_to(here) if path.is_relative_to(here) else path)
    if named.get("modules") == ".":
        del named["modules"]
    kept = {key: value for key, value in named.items() if value}
    lines = plain_yaml.write(kept, block=True).splitlines()
    pixel_nm = config.pixel_size_nm if _is_config(Path(cfg)) else None
    if pixel_nm is None and config.imspector is not None:
        pixel_nm = round((own_pixel_um(core, config) or 0.0) * 1e3, 6)
    return starter_config(core, Path(cfg).name, lines, pixel_nm)


def _table(infos: list[DeviceInfo], grouped: list[GroupInfo]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("device", "property", "value", "accepted"):
        table.add_column(column, overflow="fold")
    for group in grouped:
        presets = ", ".join(group.presets)
        table.add_row(
            Text(group.name, style="bold"), "config group", Text(group.current), Text(presets)
        )
    for info in infos:
        table.add_row(Text(info.label, style="bold"), Text(f"{info.library} {info.name}"), "", "")
        for prop in info.properties:
            table.add_row("", Text(prop.name), Text(str(prop.value)), Text(_accepted(prop)))
    return table


def _accepted(prop: PropertyInfo) -> str:
    if prop.read_only:
        return "read-only"
    if prop.limits is not None:
        return f"{prop.limits[0]:.10g} … {prop.limits[1]:.10g}"
    return ", ".join(prop.allowed)
