"""A simulated data set on disk: a table with a row for each item, made in parallel, continued."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from agent.config.reading import UserError

Row = Mapping[str, Any]

# No copies of this process: it may have threads, whose locks a copy would have without them.
_START = "forkserver" if sys.platform == "linux" else "spawn"


def read_rows(table: Path) -> list[dict[str, str]]:
    """Rows of a data set's table; empty where there is none yet.

    A last line without an end, which a killed process may leave, is not one.
    """
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))


def check_rows(table: Path, rows: Sequence[Row], asked: Mapping[str, str]) -> None:
    """Refuse to continue a set that was made with something else.

    Raises
    ------
    UserError
        Names the table, the column and both values.
    """
    for row in rows:
        for key, value in asked.items():
            if row.get(key) != value:
                raise UserError(
                    f"{table}: {key} is {row.get(key)}, asked for is {value}; "
                    "continue with what it was made with, or name another folder"
                )


def simulate_set(
    table: Path,
    columns: Sequence[str],
    number: int,
    make: Callable[[int], Row],
    *,
    complete: Callable[[Row], bool],
    asked: Mapping[str, str] | None = None,
    named: str = "name",
    workers: int | None = None,
) -> Iterator[int]:
    """Make the items of a set that are missing, each with a row as soon as its files are there.

    Parameters
    ----------
    table
        Is written again, with the rows of complete items first.
    columns
        Of the table.
    number
        How many items the finished set has; they are called 00000, 00001, …
    make
        Makes an item and returns its row; importable, for it is called in other processes.
    complete
        Whether the files of a row are all there.
    asked
        Columns and their values; see `check_rows`.
    named
        Column with an item's name, or with that of its file.
    workers
        Processes; by default one a core.

    Yields
    ------
    int
        How many items are complete, after each.

    Raises
    ------
    UserError
        See `check_rows`.
    """
    rows = read_rows(table)
    check_rows(table, rows, asked or {})
    table.parent.mkdir(parents=True, exist_ok=True)
    whole = [row for row in rows if complete(row)]
    done = {Path(row[named]).stem for row in whole}
    missing = [item for item in range(number) if f"{item:05d}" not in done]
    processes = max(1, min(workers or os.cpu_count() or 1, len(missing)))
    with (
        table.open("w", newline="") as file,
        ProcessPoolExecutor(processes, get_context(_START)) as pool,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(whole)
        file.flush()
        for count, row in enumerate(pool.map(make, missing), len(whole) + 1):
            writer.writerow(row)
            file.flush()
            yield count
