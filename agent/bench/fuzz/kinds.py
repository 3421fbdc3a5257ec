"""Sorts of files: how one is damaged, and what a person would do with it."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.bench.fuzz import drawn
from agent.bench.fuzz import mutations as mutate
from agent.bench.fuzz.mutations import Chance
from agent.config import plain_yaml

Act = Callable[[], object]
"""Does with a damaged file what a person would."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of files.

    Parameters
    ----------
    cases
        How many of 10,000.
    prepare
        Makes a case in an empty folder, from the folder of originals; whether it is damaged is
        its last argument. Returns the work on it.
    """

    cases: int
    prepare: Callable[[Path, Path, Chance, bool], Act]


def command(*args: str | Path) -> Act:
    """A command of `stedfast`, in this process."""

    def act() -> None:
        from agent.cli import main

        before = sys.argv
        sys.argv = ["stedfast", *map(str, args)]
        try:
            main()
        finally:
            sys.argv = before

    return act


def _config(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    from agent.config import load
    from agent.config.data import as_data

    file = folder / "my.yaml"
    if damaged and rng.random() < 0.3:
        data, _ = next(drawn.configs(int(rng.integers(2**31))))
        for _ in range(rng.integers(1, 4)):
            data = mutate.changed(data, rng)
        text = mutate.as_json(data)  # which is YAML, too, and may be as deep as it likes
    else:
        shipped = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
        text = shipped[rng.integers(len(shipped))].read_text("utf-8")
        text = mutate.changed_lines(text, rng) if damaged else text
    file.write_text(text, encoding="utf-8", errors="surrogateescape")

    def act() -> None:
        config = load(file)
        again = folder / "again.yaml"
        again.write_text(plain_yaml.write(as_data(config)), encoding="utf-8")
        if load(again) != config:
            raise AssertionError("a config reads back as another one")

    return act


def _tiff(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    files = sorted((originals / "tiff").glob("*.tif"))
    source = files[rng.integers(len(files))]
    raw = source.read_bytes()
    file = folder / source.name
    file.write_bytes(mutate.damaged_tiff(raw, rng) if damaged else raw)
    return _of_image(file, folder, rng)


def _of_image(file: Path, folder: Path, rng: Chance) -> Act:
    def played() -> None:
        from devices.replay import ReplayCamera, build_replay
        from devices.sources import ReplayConfig

        (camera,) = build_replay(ReplayConfig(file=file), folder).values()
        assert isinstance(camera, ReplayCamera)
        camera.snap(np.zeros(camera.sensor_shape(), camera.dtype()))

    acts = (
        command("score", file, "--json"),
        command("filter", file, folder / "out.tif", "--model", "actin-small"),
        command("reconstruct", file, folder / "out.ome.tif", "--model", "flow"),
        _refusing(played, ValueError, OSError),
    )
    return acts[rng.integers(len(acts))]


def _refusing(act: Act, *refusals: type[Exception]) -> Act:
    """The same, where these errors are told in a line by what calls it."""

    def carried_out() -> None:
        from agent.config.reading import UserError

        try:
            act()
        except refusals as error:
            raise UserError(str(error)) from error

    return carried_out


def _zarr(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    place = folder / "movie.zarr"
    shutil.copytree(originals / "zarr" / "movie.zarr", place)
    files = sorted(file for file in place.rglob("*") if file.is_file())
    for _ in range(rng.integers(1, 3) if damaged else 0):
        file = files[rng.integers(len(files))]
        if not file.exists() or rng.random() < 0.1:
            file.unlink(missing_ok=True)
        elif file.suffix == ".json":
            text = mutate.changed_json(file.read_text("utf-8", errors="surrogateescape"), rng)
            file.write_text(text, encoding="utf-8", errors="surrogateescape")
        else:
            file.write_bytes(mutate.damaged(file.read_bytes(), rng))
    return _of_image(place, folder, rng)


def _weights(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    names = ("quality", "restoration", "interpolation")
    name = names[rng.integers(len(names))]
    file, card = folder / f"{name}.safetensors", folder / f"{name}.json"
    for place in (file, card):
        shutil.copy(originals / "weights" / place.name, place)
    if damaged and rng.random() < 0.5:
        card.write_text(
            mutate.changed_json(card.read_text("utf-8"), rng),
            encoding="utf-8",
            errors="surrogateescape",
        )
    elif damaged:
        raw = file.read_bytes()
        head = 8 + int.from_bytes(raw[:8], "little")
        # The header is what can be wrong in interesting ways; any other byte is a checksum's.
        file.write_bytes(mutate.damaged(raw[:head], rng) + raw[head:])
    movie = originals / "tiff" / "imagej.tif"
    return {
        "quality": command("score", movie, "--weights", file),
        "restoration": command("filter", movie, folder / "out.tif", "--model", file),
        "interpolation": command("reconstruct", movie, folder / "out.tif", "--model", file),
    }[name]


def _table(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    names = ("answers", "scores", "frames")
    name = names[rng.integers(len(names))]
    text = (originals / "csv" / f"{name}.csv").read_text("utf-8")
    file = folder / f"{name}.csv"
    text = mutate.changed_table(text, rng) if damaged else text
    file.write_text(text, encoding="utf-8", errors="surrogateescape")

    def compared() -> None:
        from agent.offline.rating.images import comparisons

        comparisons(originals / "csv", file, None)

    def trained_on() -> None:
        from models.quality.data import load

        for picture in (originals / "csv").glob("*.tif"):
            shutil.copy(picture, folder)
        load(file)

    return {
        "answers": command("study", file),
        "scores": compared,
        "frames": _refusing(trained_on, ValueError, OSError),
    }[name]


def _copy_of_a_run(folder: Path, originals: Path, rng: Chance) -> Path:
    runs = sorted(place.parent for place in (originals / "runs").glob("*/ledger.sqlite"))
    source, run = runs[rng.integers(len(runs))], folder / "run"
    run.mkdir()
    for entry in source.iterdir():
        if entry.is_dir():  # pixels, which stay as they are
            (run / entry.name).symlink_to(entry)
        elif entry.suffix != ".html":
            shutil.copy(entry, run)
    return run


def _control(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    run = _copy_of_a_run(folder, originals, rng)
    file = run / "control.jsonl"
    whole = file.read_text("utf-8").splitlines()
    lines = list(whole)
    if damaged:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(lines)))
            lines[at] = mutate.changed_json(rng.choice(whole), rng)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")

    def heard() -> None:
        from agent.record.load import read
        from agent.steering.control_file import ControlFile, Position
        from agent.steering.inbox import PlanInbox

        ControlFile(run, Position(0, 0)).lines(to_the_end=True)
        config, recording = read(run)
        if config.adjustable():
            PlanInbox(run, config, recording).hear()

    return heard


def _ledger(folder: Path, originals: Path, rng: Chance, damaged: bool) -> Act:
    run = _copy_of_a_run(folder, originals, rng)
    file = run / "ledger.sqlite"
    if damaged and rng.random() < 0.15:
        file.write_bytes(mutate.damaged(file.read_bytes(), rng))
    elif damaged:
        with closing(sqlite3.connect(file)) as db, db:
            _change_rows(db, rng)
    acts = (
        command("show", run, "--json"),
        command("show", run),
        command("report", run, "--out", folder / "report.html"),
        command("replay", run, "--json"),
        command("export", run, folder / "out.ome.tif"),
        command("tell", run, "depletion_power=50"),
    )
    # The runs are complete, and cannot be told anything more.
    return acts[rng.integers(len(acts) if damaged else len(acts) - 1)]


def _change_rows(db: sqlite3.Connection, rng: Chance) -> None:
    rows = db.execute("SELECT seq, kind, frame, data FROM entries").fetchall()
    for _ in range(rng.integers(1, 4)):
        seq, _, _, data = rows[rng.integers(len(rows))]
        what = rng.integers(8)
        if what == 0:
            db.execute("DELETE FROM entries WHERE seq = ?", (seq,))
        elif what == 1:
            other = rows[rng.integers(len(rows))][1]
            db.execute("UPDATE entries SET kind = ? WHERE seq = ?", (other, seq))
        elif what == 2:
            odd = (None, -1, 0, 2**62, "x", 1.5)[rng.integers(6)]
            db.execute("UPDATE entries SET frame = ? WHERE seq = ?", (odd, seq))
        elif what == 3:
            odd_time = ("", "yesterday", None, "2026-01-01T00:00:00", 5)[rng.integers(5)]
            db.execute("UPDATE OR IGNORE entries SET at = ? WHERE seq = ?", (odd_time, seq))
        elif what == 4:
            db.execute(
                "INSERT INTO entries (at, kind, frame, data) SELECT at, kind, frame, data "
                "FROM entries WHERE seq = ?",
                (seq,),
            )
        else:
            text = mutate.changed_json(data, rng)
            db.execute("UPDATE entries SET data = ? WHERE seq = ?", (_as_stored(text), seq))


def _as_stored(text: str) -> str | bytes:
    """Text as SQLite takes it: anything but Unicode goes in as bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")
    return text


KINDS = {
    "configs": Kind(2500, _config),
    "images": Kind(2500, _tiff),
    "zarrs": Kind(1000, _zarr),
    "weights": Kind(1000, _weights),
    "tables": Kind(1000, _table),
    "control": Kind(500, _control),
    "ledgers": Kind(1500, _ledger),
}
assert sum(kind.cases for kind in KINDS.values()) == 10_000
