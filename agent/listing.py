"""`stedfast devices`: what a microscope has, and a config to start from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.config import load
from agent.reading import ConfigError
from agent.terminal import say
from devices.config import ExposureConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.inventory import DeviceInfo, PropertyInfo, inventory, starter_config
from devices.loading import load_core, release

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


def list_devices(cfg: str, starter: Path | None, console: Console, *, as_json: bool) -> None:
    """Print the devices of a `.cfg` (or of a config's microscope); write a starter config.

    Raises
    ------
    ConfigError
        The file cannot be loaded, or `starter` is there already.
    """
    if starter is not None and starter.exists():
        raise ConfigError(f"{starter}: is there already; give --write a new file")
    core = _load(cfg)
    try:
        infos = inventory(core)
        text = starter_config(core, cfg) if starter is not None else ""
    finally:
        release(core)
    if as_json:
        print(json.dumps([asdict(info) for info in infos], indent=1, default=str))
    else:
        console.print(_table(infos))
    if starter is not None:
        starter.write_text(text, encoding="utf-8")
        say(f"{starter}: written; the lines to look at say `# check:`")


def _load(cfg: str) -> UniMMCore:
    file = Path(cfg)
    if file.suffix in (".yaml", ".yml"):
        config = load(file).microscope
    else:
        config = MicroscopeConfig(cfg=cfg, pixel_size_nm=1, exposure=ExposureConfig(camera_ms=1))
        file = Path()
    try:
        return load_core(config, base=file.parent)
    except BindingError as error:
        raise ConfigError(str(error)) from None


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
