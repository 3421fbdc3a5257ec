"""Answers on disk: a journal that is only appended to, and tables that are made from it.

    ratings_ANNA.jsonl    the order Anna is shown the images in, each answer, and each that she
                          took back, one a line
    ratings_ANNA.csv      her scores:                file, score, pixel_size_nm, …
    ratings.csv           the mean over all testers: file, score, pixel_size_nm, testers, sd

    study_ANNA.jsonl, study_ANNA.csv, study.csv      likewise: tester, image, choice, …

An answer is on disk, to the last byte, when `Book.answer` returns. The tables are replaced
as wholes, and can always be made again from the journals.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from agent.config.reading import UserError
from agent.offline.rating.images import Shown
from agent.offline.rating.tables import means, read_table, write_table
from agent.offline.user_study.answers import CHOICES
from agent.record.safe_files import open_to_append
from devices.refusals import refused

DISCARD = "discard"
RATINGS, STUDY = "ratings", "study"
_RATED = ("file", "score", "pixel_size_nm", "tester", "position", "at")
_MEANS = ("file", "score", "pixel_size_nm", "testers", "sd")
_STUDIED = (
    *("tester", "image", "target", "prediction", "choice", "system"),
    *("first", "position", "at"),
)


class Book:
    """One tester's answers.

    Parameters
    ----------
    out
        Folder of the tables.
    images
        Folder of the images; tables name them as seen from `out`.
    shown
        What there is to answer.
    tester
        Name of the tester.
    seed
        Of the order; each tester has another one.

    Raises
    ------
    UserError
        The folder cannot be written to, the journal is another one's, or it is in use.
    """

    def __init__(
        self, out: Path, images: Path, shown: Sequence[Shown], tester: str, seed: int
    ) -> None:
        self.tester = _named(tester)
        self.study = any(one.target is not None for one in shown)
        self._kind = STUDY if self.study else RATINGS
        self._out, self._images = out, images
        self._journal = out / f"{self._kind}_{_slug(self.tester)}.jsonl"
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._journal.with_suffix(".lock"))
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self._journal}: is in use by another `stedfast rate`") from None
        except OSError as error:
            raise UserError(f"{out}: cannot be written to: {error.strerror}") from None
        self._by_key = {one.key: one for one in shown}
        self.order: list[str] = []
        """Keys of the images shown, in order."""
        self.first: dict[str, str] = {}
        """Of a study: whose score is shown first, `target` or `prediction`."""
        self._given: list[dict[str, Any]] = []
        self._read()
        self._begin(seed)
        self._write_tables()

    def close(self) -> None:
        """Let others write to the journal."""
        self._lock.release()

    @property
    def answers(self) -> dict[str, dict[str, Any]]:
        """The answer that counts, by key: the last one of each."""
        return {found["key"]: found for found in self._given}

    @property
    def table(self) -> Path:
        """The tester's own table."""
        return self._journal.with_suffix(".csv")

    @property
    def tables(self) -> Path:
        """The table over all testers."""
        return self._out / f"{self._kind}.csv"

    def shown(self, position: int) -> Shown:
        """The image shown at a position, from 0."""
        return self._by_key[self.order[position]]

    def next(self) -> int:
        """The first position without an answer; the number of positions where there is none."""
        answers = self.answers
        return next(
            (at for at, key in enumerate(self.order) if key not in answers), len(self.order)
        )

    def answer(self, position: int, value: float | str) -> None:
        """Write an answer down; it is on disk when this returns.

        Parameters
        ----------
        position
            Of the image, from 0; a later answer replaces the one before.
        value
            A score in [0, 1] or `discard`; of a study one of `first`, `second`, `equivalent` and
            `discard`.

        Raises
        ------
        UserError
            It is none of these.
        OSError
            The disk refused; the answer does not count.
        """
        key = self.order[position]
        found: dict[str, Any] = {"key": key, "position": position + 1, "at": _now()}
        if self.study:
            found["choice"] = self._choice(key, value)
        elif value == DISCARD:
            found["score"] = None
        elif isinstance(value, bool) or not isinstance(value, float | int) or not 0 <= value <= 1:
            raise UserError(f"score: {refused(value, f'0 … 1, or {DISCARD}')}")
        else:
            found["score"] = round(float(value), 4)
        self._append({"answer": found})
        self._given.append(found)
        self._write_tables()

    def last(self) -> int | None:
        """The position that was answered last; None where nothing is."""
        places = {key: at for at, key in enumerate(self.order)}
        given = (places.get(found["key"]) for found in reversed(self._given))
        return next((at for at in given if at is not None), None)

    def undo(self) -> int:
        """Take the last answer back; an earlier one of the same image counts again.

        Returns
        -------
        position
            Of the image that it answered.

        Raises
        ------
        UserError
            There is none.
        OSError
            The disk refused; the answer still counts.
        """
        position = self.last()
        if position is None:
            raise UserError("nothing is answered yet")
        key = self.order[position]
        self._append({"undo": {"key": key, "at": _now()}})
        self._take_back(key)
        self._write_tables()
        return position

    def _take_back(self, key: str) -> None:
        at = max(at for at, found in enumerate(self._given) if found["key"] == key)
        del self._given[at]

    def given(self, position: int) -> float | str | None:
        """The answer at a position, as a tester gives it; None where there is none."""
        key = self.order[position]
        found = self.answers.get(key)
        if found is None:
            return None
        if not self.study:
            return DISCARD if found["score"] is None else float(found["score"])
        if found["choice"] in ("equivalent", DISCARD):
            return str(found["choice"])
        return "first" if found["choice"] == self.first[key] else "second"

    def _choice(self, key: str, value: float | str) -> str:
        if value in ("equivalent", DISCARD):
            return str(value)
        if value not in ("first", "second"):
            known = f"first, second, equivalent, {DISCARD}"
            raise UserError(f"choice: {refused(value, known)}")
        other = {"target": "prediction", "prediction": "target"}
        return self.first[key] if value == "first" else other[self.first[key]]

    # ------------------------------------------------------------------ the journal

    def _read(self) -> None:
        try:
            text = self._journal.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UserError(f"{self._journal}: cannot be read: {error.strerror}") from None
        read = 0
        lines = text.splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    self._take(json.loads(line), number)
            except UserError:
                raise
            except (ValueError, KeyError, TypeError):
                if number < len(lines):
                    raise UserError(f"{self._journal}, line {number}: is damaged") from None
                # Half of an answer that was never confirmed to anybody.
                os.truncate(self._journal, read)
            read += len(line)

    def _take(self, entry: Mapping[str, Any], number: int) -> None:
        if (order := entry.get("order")) is not None:
            if entry["tester"] != self.tester:
                raise UserError(
                    f"{self._journal}, line {number}: is tester {entry['tester']!r}'s; "
                    "give --tester another name"
                )
            self.order += [key for key in order if key not in self.order]
            self.first |= entry.get("first", {})
        elif (undone := entry.get("undo")) is not None:
            self._take_back(undone["key"])
        else:
            answer = entry["answer"]
            if answer["key"] in self.order:
                self._given.append(answer)

    def _begin(self, seed: int) -> None:
        """Put new images of the folder behind earlier ones; leave out those that are gone."""
        fresh = sorted(key for key in self._by_key if key not in self.order)
        if fresh:
            chance = random.Random(f"{seed} {self.tester} {len(self.order)}")
            chance.shuffle(fresh)
            entry: dict[str, Any] = {"tester": self.tester, "seed": seed, "at": _now()}
            entry["order"] = fresh
            if self.study:
                entry["first"] = {key: chance.choice(("target", "prediction")) for key in fresh}
                self.first |= entry["first"]
            try:
                self._append(entry)
            except OSError as error:
                raise UserError(f"{self._journal}: cannot be written: {error.strerror}") from None
            self.order += fresh
        self.order = [key for key in self.order if key in self._by_key]

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8") + b"\n"
        with os.fdopen(open_to_append(self._journal), "a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                # Half a line that a power cut left must not swallow this one.
                line = line if file.read(1) == b"\n" else b"\n" + line
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # What does not count must not be found there later.
                with suppress(OSError):
                    os.truncate(self._journal, end)
                raise

    # ------------------------------------------------------------------ the tables

    def _write_tables(self) -> None:
        rows = self._studied() if self.study else self._rated()
        write_table(self.table, _STUDIED if self.study else _RATED, rows)
        everybody = [
            row
            for table in sorted(self._out.glob(f"{self._kind}_*.csv"))
            for row in read_table(table)
        ]
        if self.study:
            write_table(self.tables, _STUDIED, everybody)
        else:
            write_table(self.tables, _MEANS, means(everybody))

    def _answered(self) -> list[tuple[Shown, dict[str, Any]]]:
        answers = self.answers
        return [(self._by_key[key], answers[key]) for key in self.order if key in answers]

    def _path(self, shown: Shown) -> str:
        path = os.path.relpath(self._images / shown.file, self._out)
        return Path(path).as_posix()

    def _rated(self) -> list[dict[str, Any]]:
        return [
            {
                "file": self._path(shown),
                "score": found["score"],
                "pixel_size_nm": "" if shown.pixel_size_nm is None else shown.pixel_size_nm,
                "tester": self.tester,
                "position": found["position"],
                "at": found["at"],
            }
            for shown, found in self._answered()
            if found["score"] is not None
        ]

    def _studied(self) -> list[dict[str, Any]]:
        assert set(CHOICES) >= {found["choice"] for found in self.answers.values()}
        return [
            {
                "tester": self.tester,
                "image": shown.file,
                "target": shown.target,
                "prediction": shown.prediction,
                "choice": found["choice"],
                "system": shown.system,
                "first": self.first[shown.key],
                "position": found["position"],
                "at": found["at"],
            }
            for shown, found in self._answered()
        ]


def _named(tester: str) -> str:
    name = tester.strip()
    if not 0 < len(name) <= 40 or not name.isprintable() or not _slug(name):
        raise UserError(f"--tester: found {tester!r}; accepted: a name of 1 … 40 letters")
    return name


def _slug(name: str) -> str:
    """A name as a part of a file's."""
    return re.sub(r"[^\w-]+", "_", name.strip().lower()).strip("_")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
