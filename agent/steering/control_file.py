"""The control file of a run: what a person tells it during the run.

One JSON object a line, {key: value, …}. Its keys are those of `agent.steering.instructions`, which
a plan applies, or one of `agent.steering.commands`, which the session obeys at once; beside them it
may be stamped with `id`, `by` and `at`: a line whose id was there before is not applied again. The
file is only ever appended to. Each ledger entry on lines that were read has the position up to
which they were read, so that after a kill nothing is applied twice and nothing is lost.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.reading import UserError
from agent.record.safe_files import open_to_append
from devices.refusals import refused, shortened

FILE = "control.jsonl"
STAMP = ("id", "by", "at")
COMMANDS = ("pause", "resume", "stop", "filter")
"""Keys that are not for the plan but for the running session."""
FILTERING = ("none", "newest", "all")
"""Which frames `filter` may ask for."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far the control file was read, and a checksum of that part."""

    bytes: int = 0
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file.

    Attributes
    ----------
    number
        From 1.
    told
        Its content, without its stamp.
    stamp
        `id`, `by` and `at`, as far as it has them.
    damage
        Why it is not applied, for any content; empty where it may be.
    """

    number: int
    told: dict[str, Any]
    stamp: dict[str, str]
    damage: str = ""

    @property
    def is_command(self) -> bool:
        """Whether it is for the session instead of the plan."""
        return any(key in COMMANDS for key in self.told)


class ControlFile:
    """The lines of a control file, each given once.

    Parameters
    ----------
    folder
        The run's.
    read
        How far it was read before.
    ids
        Of lines that were read before.
    """

    def __init__(self, folder: Path, read: Position, ids: Iterable[str] = ()) -> None:
        self._path = folder / FILE
        self.read = read
        self._ids = set(ids)
        self._unreadable = ""

    def lines(self, *, to_the_end: bool = False) -> tuple[list[Line], str]:
        """New whole lines, and the damage of the file as such.

        Parameters
        ----------
        to_the_end
            Take a last line that is not whole, too.
        """
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            text = b""
        except OSError as error:
            said, self._unreadable = self._unreadable, f"cannot be read: {error.strerror}"
            return [], "" if said == self._unreadable else self._unreadable
        self._unreadable = ""
        old, new = text[: self.read.bytes], text[self.read.bytes :]
        if zlib.crc32(old) != self.read.crc32:
            # Its old lines and its new ones cannot be told apart.
            self.read = Position(len(text), zlib.crc32(text))
            return [], "was rewritten, not appended to; nothing in it is applied"
        if not to_the_end:
            new = _whole_lines(new)
        if new:
            self.read = Position(len(old + new), zlib.crc32(old + new))
        first = old.count(b"\n") + 1
        numbered = enumerate(new.split(b"\n"), first) if new else ()
        return [self._line(number, line) for number, line in numbered if line.strip()], ""

    def _line(self, number: int, text: bytes) -> Line:
        told: dict[str, Any] = {}
        stamp: dict[str, str] = {}
        damage = ""
        try:
            told = parse(text)
            stamp = stamp_of(told)
            if (known := stamp.get("id")) is not None:
                if known in self._ids:
                    raise UserError(f"id {shortened(known)}: was told before; accepted: a new id")
                self._ids.add(known)
        except UserError as error:
            damage = str(error)
        return Line(number, {k: v for k, v in told.items() if k not in STAMP}, stamp, damage)


def said_of(line: Line, why: str) -> str:
    """Why a line is not applied, and who wrote it."""
    by = f" by {shortened(line.stamp['by'], quoted=False)}" if "by" in line.stamp else ""
    return f"{FILE}, line {line.number}{by}: {why}"


def stamp_of(told: Mapping[str, Any]) -> dict[str, str]:
    """The stamp of a line.

    Raises
    ------
    UserError
        A part of it is no short text.
    """
    stamp = {key: told[key] for key in STAMP if key in told}
    for key, value in stamp.items():
        if not isinstance(value, str) or not 0 < len(value) <= 80 or not value.isprintable():
            raise UserError(f"`{key}`: {refused(value, 'a text of 1 … 80 letters')}")
    return stamp


def _whole_lines(text: bytes) -> bytes:
    """Text up to its last line end; all of it if the part after that is a whole object.

    An editor may leave the last line without an end, but half of a line that is being written
    is no JSON object.
    """
    end = text.rfind(b"\n") + 1
    try:
        parse(text[end:])
    except UserError:
        return text[:end]
    return text


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises
    ------
    UserError
        There is none, or a key stands in it twice.
    """
    try:
        data = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except UserError:
        raise
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        found = line.decode("utf-8", "replace").strip()
        raise UserError(
            f'{shortened(found)} is damaged; accepted: a JSON object, like {{"trials": 30}}'
        ) from None
    if not isinstance(data, dict):
        raise UserError(refused(data, 'a JSON object, like {"trials": 30}'))
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"`{shortened(twice, quoted=False)}`: stands here twice; accepted: once")
    return data


def append(folder: Path, told: Mapping[str, Any]) -> None:
    """Write a line, on disk when this returns; a reader sees all of it or nothing.

    Raises
    ------
    UserError
        It cannot be written.
    """
    path = folder / FILE
    line = json.dumps(dict(told), ensure_ascii=False).encode("utf-8") + b"\n"
    try:
        file = open_to_append(path)
        try:
            if os.lseek(file, 0, os.SEEK_END):
                os.lseek(file, -1, os.SEEK_END)
                # A last line written by hand may have no end.
                line = line if os.read(file, 1) == b"\n" else b"\n" + line
            if os.write(file, line) < len(line):
                raise UserError(f"{path}: cannot be written: the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
