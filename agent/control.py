"""The control file of a run: what a person tells it while it works.

One JSON object a line, {key: value, …}, which are the keys of `agent.instructions`. It is only
ever appended to. How far it was read is part of the ledger's entry on what was read, so that
after a kill nothing is heeded twice and nothing is lost.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.instructions import Standing, check, short
from agent.plan import Instruction
from agent.reading import ConfigError
from agent.recording import Recording, instructions_as_list

FILE = "control.jsonl"


@dataclass(frozen=True, slots=True)
class Position:
    """How far the control file was read, and a checksum of what was."""

    bytes: int = 0
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What the control file said since it was last read.

    Attributes
    ----------
    instructions
        To be heeded, in order.
    refused
        Why other lines are not, one sentence each.
    read
        How far the file was read.
    """

    instructions: tuple[Instruction, ...]
    refused: tuple[str, ...]
    read: Position

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        return {
            "instructions": instructions_as_list(self.instructions),
            "read": asdict(self.read),
        }


class Control:
    """The control file as a session of its run reads it.

    Parameters
    ----------
    folder
        The run's.
    config
        What the file's lines are checked against.
    recording
        Says how far earlier sessions read the file.
    """

    def __init__(self, folder: Path, config: RunConfig, recording: Recording) -> None:
        self._path = folder / FILE
        self._config = config
        self._read = Position(**recording.told[-1]["read"]) if recording.told else Position()
        self._standing = Standing(config.optimize.trials)
        self._unreadable = ""

    def learn(self, note: Mapping[str, Any]) -> None:
        """Take in what the plan notes, {topic, data}: it decides what can be heeded."""
        self._standing.learn(note)

    def close(self) -> None:
        """The plan is at its end: whatever else comes is refused."""
        self._standing.over = True

    def hear(self) -> Heard | None:
        """Read on; None if there is nothing new. A line is heeded as a whole or not at all."""
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            text = b""
        except OSError as error:
            said, self._unreadable = self._unreadable, f"cannot be read: {error.strerror}"
            return None if said == self._unreadable else self._heard([], [self._unreadable])
        self._unreadable = ""
        old, new = text[: self._read.bytes], text[self._read.bytes :]
        if zlib.crc32(old) != self._read.crc32:
            # What is old in it and what is new, nobody can tell.
            self._read = Position(len(text), zlib.crc32(text))
            return self._heard([], ["was written anew, not appended to; nothing in it is heeded"])
        if not self._standing.over:
            new = _whole_lines(new)
        if not new:
            return None
        self._read = Position(len(old + new), zlib.crc32(old + new))
        instructions: list[Instruction] = []
        refused = []
        for number, line in enumerate(new.split(b"\n"), old.count(b"\n") + 1):
            if not line.strip():
                continue
            try:
                found = check(self._config, parse(line), self._standing)
            except ConfigError as error:
                refused.append(f"line {number}: {error}")
                continue
            self._standing.expect(found)
            instructions += found
        return self._heard(instructions, refused)

    def _heard(self, instructions: list[Instruction], refused: list[str]) -> Heard:
        named = tuple(f"{FILE}{', ' if why.startswith('line') else ' '}{why}" for why in refused)
        return Heard(tuple(instructions), named, self._read)


def _whole_lines(text: bytes) -> bytes:
    """Text up to its last line end; all of it if what comes after is an object already.

    An editor may leave the last line without an end, but half of a line that is being written
    is no JSON object.
    """
    end = text.rfind(b"\n") + 1
    try:
        parse(text[end:])
    except ConfigError:
        return text[:end]
    return text


def parse(line: bytes) -> dict[str, Any]:
    """The JSON object on a line.

    Raises
    ------
    ConfigError
        There is none, or a key stands in it twice.
    """
    try:
        data = json.loads(line.decode("utf-8"), object_pairs_hook=_unique)
    except ConfigError:
        raise
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        found = line.decode("utf-8", "replace").strip()
        raise ConfigError(
            f'{short(found)} is damaged; accepted: a JSON object, like {{"trials": 30}}'
        ) from None
    if not isinstance(data, dict):
        raise ConfigError(f'{short(data)}; accepted: a JSON object, like {{"trials": 30}}')
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ConfigError(f"`{short(twice, quoted=False)}`: stands here twice; accepted: once")
    return data


def append(folder: Path, told: Mapping[str, Any]) -> None:
    """Write a line, on disk when this returns; a reader sees all of it or nothing.

    Raises
    ------
    ConfigError
        It cannot be written.
    """
    path = folder / FILE
    line = json.dumps(dict(told), ensure_ascii=False).encode("utf-8") + b"\n"
    try:
        # `O_APPEND`, so that lines of several writers follow each other.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        file = os.open(path, flags, 0o666)
        try:
            if os.lseek(file, 0, os.SEEK_END):
                os.lseek(file, -1, os.SEEK_END)
                # Whoever wrote the last line by hand may have left it without an end.
                line = line if os.read(file, 1) == b"\n" else b"\n" + line
            if os.write(file, line) < len(line):
                raise ConfigError(f"{path}: cannot be written: the disk is full")
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
