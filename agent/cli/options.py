"""What the commands have in common: the consoles, and the options that more than one takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.groups import Group
from agent.cli.terminal import err, out, say
from agent.config.reading import UserError

if TYPE_CHECKING:
    from agent.ui.web.access import Place
    from devices.recorded import Part

__all__ = ["err", "out", "say"]

_RUNS = Path("runs")

ConfigFile = Annotated[Path, typer.Argument(help="YAML config file", show_default=False)]
LAST = "last"


def named_run(folder: Path) -> Path:
    """The run folder that was named; `last` is the newest one in `runs`.

    Raises
    ------
    UserError
        There is none in `runs`.
    """
    from agent.record.folder import CONFIG

    if str(folder) != LAST or folder.exists():
        return folder
    begun = [(config.stat().st_mtime, config.parent) for config in _RUNS.glob(f"*/{CONFIG}")]
    if not begun:
        raise UserError(f"{LAST}: there is no run in {_RUNS.absolute()}; give a run folder")
    return max(begun)[1]


RunFolder = Annotated[
    Path,
    typer.Argument(
        help=f"run folder; `{LAST}`: the newest in ./runs", show_default=False, callback=named_run
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="lay a value over the config's; repeatable"),
]

View = Annotated[bool, typer.Option("--view", help="and a page to see and steer it")]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="of a run that was not begun here: load the devices, code and configurations it names",
    ),
]
Port = Annotated[int | None, typer.Option("--port", help="of the page")]
Open = Annotated[bool, typer.Option("--open/--no-open", help="the page in a browser")]


@dataclass(frozen=True, slots=True)
class Page(Group):
    """Where a page is served, and whether it is opened."""

    host: Annotated[str, typer.Option("--host", help="of the page: address to listen on")] = (
        "127.0.0.1"
    )
    port: Port = None
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="of the page: TLS, PEM")
    ] = None
    key: Annotated[Path | None, typer.Option("--key", help="of the page: TLS, PEM")] = None
    allow_plain: Annotated[
        bool, typer.Option("--allow-plain", help="of the page: other machines without TLS")
    ] = False
    show: Open = True

    @property
    def place(self) -> Place:
        """Where it is served."""
        from agent.ui.web.access import Place

        return Place(self.host, self.port, self.certificate, self.key, self.allow_plain)


@dataclass(frozen=True, slots=True)
class Frames(Group):
    """Which frames of a file are meant, and how large their pixels are."""

    series: Annotated[
        str | None,
        typer.Option(
            "--series", metavar="N", help="which image of a file of several: number or name"
        ),
    ] = None
    channel: Annotated[
        int | None, typer.Option("--channel", metavar="N", help="which channel, from 0")
    ] = None
    axes: Annotated[
        list[str] | None,
        typer.Option(
            "--axis",
            metavar="AXIS[=N]",
            help="z=3: the fourth plane; z: frames run along it; repeatable",
        ),
    ] = None
    pixel_size: Annotated[
        float | None, typer.Option("--pixel-size", metavar="NM", help="instead of the file's own")
    ] = None

    @property
    def part(self) -> Part:
        """Which image, channel and axes."""
        from agent.offline.files.opening import part_of

        return part_of(self.series, self.channel, self.axes or ())
