"""Tables of answers, replaced as a whole."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from agent.record.safe_files import replace_text


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row an image: the mean of its testers' scores, and how far they lie apart."""
    scores: dict[str, list[float]] = {}
    sizes: dict[str, str] = {}
    for row in rows:
        scores.setdefault(row["file"], []).append(float(row["score"]))
        sizes[row["file"]] = row["pixel_size_nm"] or sizes.get(row["file"], "")
    return [
        {
            "file": file,
            "score": round(fmean(given), 4),
            "pixel_size_nm": sizes[file],
            "testers": len(given),
            "sd": round(stdev(given), 4) if len(given) > 1 else "",
        }
        for file, given in sorted(scores.items())
    ]


def read_table(table: Path) -> list[dict[str, str]]:
    """The rows of a table; none where it is not there, or damaged."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def write_table(table: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a table as a whole, on disk when this returns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    replace_text(table, text.getvalue(), sync=True)
