"""What the commands have in common: the consoles, and the options that more than one takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.terminal import err, out, say

__all__ = ["err", "out", "say"]

ConfigFile = Annotated[Path, typer.Argument(help="YAML config file", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(help="run folder", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="lay a value over the config's; repeatable"),
]

Host = Annotated[str, typer.Option("--host", help="of the page: address to listen on")]
Port = Annotated[int | None, typer.Option("--port", help="of the page")]
Certificate = Annotated[Path | None, typer.Option("--certificate", help="of the page: TLS, PEM")]
Key = Annotated[Path | None, typer.Option("--key", help="of the page: TLS, PEM")]
AllowPlain = Annotated[
    bool, typer.Option("--allow-plain", help="of the page: other machines without TLS")
]
Open = Annotated[bool, typer.Option("--open/--no-open", help="the page in a browser")]
