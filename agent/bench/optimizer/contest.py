"""All engines on one task, and a file that keeps every course that was run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from agent.bench.optimizer.campaign import EngineCourse, lead
from agent.bench.optimizer.families import Family, make_task
from agent.bench.optimizer.task import Task
from agent.optimizer.protocol import Optimizer

LOOK_AT = (1, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30, 40)
TRIALS = 40
Key = tuple[str, int, str]
"""Family, seed, engine."""
Maker = Callable[[Task, int], Optimizer]


class Kept:
    """Courses on disk, one JSON object a line; a contest that is stopped continues from them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.courses: dict[Key, EngineCourse] = {}
        if file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                except ValueError:  # cut off in the middle
                    continue
                key = (row.pop("family"), row.pop("seed"), row.pop("engine"))
                row["front"] = [tuple(point) for point in row["front"]]
                self.courses[key] = EngineCourse(**row)

    def add(self, key: Key, course: EngineCourse) -> None:
        """Keep one more."""
        self.courses[key] = course
        family, seed, engine = key
        row = {"family": family, "seed": seed, "engine": engine, **asdict(course)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def contest(
    family: Family,
    seed: int,
    engines: Mapping[str, Maker],
    known: Sequence[Key],
    *,
    final: bool = True,
    trials: int = TRIALS,
) -> Iterator[tuple[Key, EngineCourse]]:
    """Lead every engine that is not in `known` through one task."""
    todo = [name for name in engines if (family, seed, name) not in known]
    if not todo:
        return
    task = make_task(family, seed, final=final)
    for name in todo:
        engine = engines[name](task, seed)
        yield (family, seed, name), lead(engine, task, trials, LOOK_AT)
