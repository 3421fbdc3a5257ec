"""Options that several commands take together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from agent.cli.groups import Group, grouped


@dataclass(frozen=True, slots=True)
class Size(Group):
    rows: Annotated[int, typer.Option("--rows", help="of a frame")] = 4
    columns: Annotated[int | None, typer.Option("--columns")] = None


@grouped
def command(
    name: str, loud: Annotated[bool, typer.Option("--loud")] = False, *, size: Size
) -> None:
    """Say a size."""
    print(name, loud, size.rows, size.columns)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "a False 4 None"),
        (["a", "--rows", "7", "--loud"], "a True 7 None"),
        (["--columns", "2", "a"], "a False 4 2"),
    ],
)
def test_a_group_is_one_argument_of_the_command(words: list[str], said: str) -> None:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout.strip()) == (0, said)


def test_a_group_is_checked_option_by_option() -> None:
    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["a", "--rows", "many"]).exit_code == 2
