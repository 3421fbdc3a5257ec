"""`stedfast devices`: what a microscope has, and a config to start from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.config import load
from agent.reading import ConfigError, noted
from agent.signals import interrupts
from agent.terminal import say
from devices.config import ExposureConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.inventory import DeviceInfo, PropertyInfo, inventory, starter_config
from devices.opening import open_core

_ASKING_S = 60.0


def list_devices(cfg: str, starter: Path | None, console: Console, *, as_json: bool) -> None:
    """Print the devices of a `.cfg` (or of a config's microscope); write a starter config.

    Raises
    ------
    ConfigError
        The file cannot be loaded, or `starter` is there already.
    """
    if starter is not None and starter.exists():
        raise ConfigError(f"{starter}: is there already; give --write a new file")
    config, base = _microscope(cfg)
    try:
        with interrupts() as seen, open_core(config, base=base, stop=seen) as held:
            core = held.core
            infos = held.within(_ASKING_S, lambda: inventory(core))
            text = starter_config(core, cfg) if starter is not None else ""
            shutters = held.lights.shutters
    except BindingError as error:
        raise noted(ConfigError(str(error)), error) from None
    if as_json:
        print(json.dumps([asdict(info) for info in infos], indent=1, default=str))
    else:
        console.print(_table(infos))
    closed = f"{', '.join(shutters)} closed" if shutters else "there is no shutter to close"
    say(f"{cfg}: {closed}")
    if starter is not None:
        starter.write_text(text, encoding="utf-8")
        say(f"{starter}: written; the lines to look at say `# check:`")


def _microscope(cfg: str) -> tuple[MicroscopeConfig, Path]:
    """What to open, and the folder that its paths start from."""
    file = Path(cfg)
    if file.suffix in (".yaml", ".yml"):
        return load(file).microscope, file.parent
    exposure = ExposureConfig(camera_ms=1)
    return MicroscopeConfig(cfg=cfg, pixel_size_nm=1, exposure=exposure), Path()


def _table(infos: list[DeviceInfo]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("device", "property", "value", "accepted"):
        table.add_column(column, overflow="fold")
    for info in infos:
        table.add_row(Text(info.label, style="bold"), Text(f"{info.library} {info.name}"), "", "")
        for prop in info.properties:
            table.add_row("", prop.name, Text(str(prop.value)), Text(_accepted(prop)))
    return table


def _accepted(prop: PropertyInfo) -> str:
    if prop.read_only:
        return "read-only"
    if prop.limits is not None:
        return f"{prop.limits[0]:g} … {prop.limits[1]:g}"
    return ", ".join(prop.allowed)
