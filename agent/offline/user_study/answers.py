"""The answers of a user study, as its testers gave them.

The results are a CSV (UTF-8, commas) with a header and one answer a row:

========== =================================================================================
column     is
========== =================================================================================
tester     name of the tester; any text
image      which image; any text
target     the expert's score, in [0, 1]
prediction the system's score, in [0, 1]
choice     `target`, `prediction`, `equivalent` or `discard`
system     optional, `network` where absent or empty: what made the prediction; `random` is the
           random system of the same study
========== =================================================================================

Columns come in any order, others are ignored; choice and system in any case. A tester answers
once for an image and a system.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.config.reading import UserError
from devices.refusals import refused

NETWORK, RANDOM = "network", "random"
CHOICES = ("target", "prediction", "equivalent", "discard")

_NEEDED = ("tester", "image", "target", "prediction", "choice")
_ACCEPTED = f"accepted: a CSV with a header and at least the columns {', '.join(_NEEDED)}"


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One tester's answer for one image and system: a row of the results."""

    tester: str
    image: str
    system: str
    target: float
    prediction: float
    choice: str


def read_answers(file: Path) -> list[AnswerRow]:
    """Answers of a study, in the order of the file.

    Raises
    ------
    UserError
        An unreadable or empty file, missing columns, values that are not accepted, an answer
        given twice; names file, line, column, value and what is accepted.
    """
    lines = _lines(file)
    if not lines:
        raise UserError(f"{file}: is empty; {_ACCEPTED}")
    number, header = lines[0]
    if missing := [name for name in _NEEDED if name not in header]:
        raise UserError(
            f"{file}, line {number}: found columns {', '.join(header)},"
            f" missing {', '.join(missing)}; {_ACCEPTED}"
        )
    answers = []
    first: dict[tuple[str, str, str], int] = {}
    for number, fields in lines[1:]:
        answer = _answer(f"{file}, line {number}", header, fields)
        key = (answer.tester, answer.image, answer.system)
        if key in first:
            raise UserError(
                f"{file}, lines {first[key]} and {number}: two answers of tester"
                f" {answer.tester!r} for image {answer.image!r}, system {answer.system!r};"
                " accepted: one"
            )
        first[key] = number
        answers.append(answer)
    if not answers:
        raise UserError(f"{file}: no rows below the header; {_ACCEPTED}")
    return answers


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Stripped fields of all lines that are not blank, each with its line number."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            # Strict: otherwise a quote that is never closed would swallow answers in silence.
            reader = csv.reader(opened, strict=True, skipinitialspace=True)
            stripped = ((reader.line_num, [field.strip() for field in row]) for row in reader)
            return [(number, fields) for number, fields in stripped if any(fields)]
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; {_ACCEPTED}") from None
    except csv.Error as error:
        raise UserError(
            f"{file}, line {reader.line_num}: not a readable CSV ({error}); {_ACCEPTED}"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{file}: is a folder; {_ACCEPTED}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not a readable CSV ({error}); {_ACCEPTED}") from None


def _answer(where: str, header: Sequence[str], fields: Sequence[str]) -> AnswerRow:
    if any(fields[len(header) :]):
        # Most often a decimal comma, which would shift every value after it.
        raise UserError(
            f"{where}: found {len(fields)} values under {len(header)} columns; accepted: one value"
            " a column, with a decimal point"
        )
    row = dict(zip(header, fields, strict=False))
    for column in ("tester", "image"):
        if not row.get(column):
            raise UserError(f"{where}: {column}: found nothing; accepted: any name")
    choice = row.get("choice", "").lower()
    if choice not in CHOICES:
        raise UserError(f"{where}: choice: {refused(row.get('choice', ''), CHOICES)}")
    return AnswerRow(
        tester=row["tester"],
        image=row["image"],
        system=row.get("system", "").lower() or NETWORK,
        target=_score(where, "target", row.get("target", "")),
        prediction=_score(where, "prediction", row.get("prediction", "")),
        choice=choice,
    )


def _score(where: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise UserError(f"{where}: {column}: found {text!r}; accepted: a number from 0 to 1")
    return value
