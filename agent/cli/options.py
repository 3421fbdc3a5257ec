"""What the commands have in common: the consoles, and the options that more than one takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.terminal import err, out, say
from agent.config.reading import UserError

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
Host = Annotated[str, typer.Option("--host", help="of the page: address to listen on")]
Port = Annotated[int | None, typer.Option("--port", help="of the page")]
Certificate = Annotated[Path | None, typer.Option("--certificate", help="of the page: TLS, PEM")]
Key = Annotated[Path | None, typer.Option("--key", help="of the page: TLS, PEM")]
AllowPlain = Annotated[
    bool, typer.Option("--allow-plain", help="of the page: other machines without TLS")
]
Open = Annotated[bool, typer.Option("--open/--no-open", help="the page in a browser")]
