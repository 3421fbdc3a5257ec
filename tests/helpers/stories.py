"""Runs that never were, written entry by entry, and the pages of their reports."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.record.folder import write_config
from agent.record.images import ImageStore, checksum
from agent.record.ledger import Ledger
from agent.ui.report import write_report

VOID = {"meta", "br", "image", "path", "rect"}
SIDE = 48
Data = dict[str, Any]

# ---------------------------------------------------------------------- runs that never were


def a_config(plan: str, **changes: Any) -> RunConfig:
    power = {"device": "Laser", "property": "Power", "unit": "mW", "range": [0, 350], "safe": 0}
    data: Data = {
        "plan": plan,
        "seed": 7,
        "analysis": {"score": True},
        "optimize": {"trials": 6, "initial": 3, "retest_fields": 3, "bleaching_limit": 0.2},
        "timelapse": {"frames": 4, "fields": 2},
        "dose": {"budget_J": {"depletion": 2.0}, "per_field_J": {"depletion": 1.0}},
        "microscope": {
            "virtual_sted": {},
            "pixel_size_nm": 20,
            "fields": {"rows": 5, "columns": 5},
            "exposure": {"dwell_time": "dwell_time"},
            "settings": {
                "depletion_power": {**power, "start": 30, "laser": "depletion"},
                "dwell_time": {
                    "device": "Scan",
                    "property": "Dwell",
                    "unit": "µs",
                    "range": [1, 100],
                    "scale": "log",
                    "start": 10,
                },
                "gate": {
                    "device": "Scan",
                    "property": "Gate",
                    "kind": "choice",
                    "choices": ["open", "late"],
                    "start": "open",
                },
            },
            "modes": {"sted": {}, "confocal": {"depletion_power": 0}},
        },
    }
    for keys, value in changes.items():
        *parents, last = keys.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = value
    return RunConfig.model_validate(data)


class Story:
    """Writes a run folder entry by entry, as a session would."""

    def __init__(self, folder: Path, config: RunConfig, *, simulated: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.config = folder, config
        self.index = 0
        self.rng = np.random.default_rng(1)
        self.images = ImageStore(folder, pixel_size_um=0.02)
        write_config(folder, config, {"simulated": simulated})
        self.ledger = Ledger(folder)
        self.simulated = simulated

    def begin(self, planned: int | None = 99) -> Story:
        self.ledger.add(
            "run",
            {
                "plan": self.config.plan,
                "session": 1,
                "simulated": self.simulated,
                "planned": planned,
                "versions": {"stedfast": "0.1.0", "python": "3.11"},
                "weights": {"quality": "0123abcd"},
            },
        )
        return self

    def shot(self, mode: str, purpose: str = "", field: int | None = None, **asked: Any) -> None:
        where = None if field is None else {"index": field, "x_um": 0, "y_um": 0, "z_um": None}
        entry = {
            "mode": mode,
            "asked": asked,
            "field": where,
            "at_s": None,
            "purpose": purpose,
            "settings": {**self.config.microscope.start(), **asked},
            "dose_J": {"depletion": 0.05 if mode == "sted" else 0.0},
        }
        self.ledger.add("shot", entry, self.index)

    def frame(self, score: float | None = None, pixels: NDArray[Any] | None = None) -> int:
        if pixels is None:
            pixels = self.rng.poisson(4, (SIDE, SIDE)).astype(np.uint16)
        self.images.write(self.index, pixels)
        row = {"shape": [SIDE, SIDE], "dtype": "uint16", "crc32": checksum(pixels)}
        self.ledger.add("frame", {**row, "time_s": 40.0 * self.index}, self.index)
        if score is not None:
            self.ledger.add("score", {"value": score}, self.index)
        self.index += 1
        return self.index - 1

    def measured(self, purpose: str, field: int, score: float, **settings: Any) -> None:
        for mode in ("confocal", "sted", "confocal"):
            self.shot(mode, purpose, field, **(settings if mode == "sted" else {}))
            self.frame(score if mode == "sted" else None)

    def note(self, topic: str, **data: Any) -> None:
        self.ledger.add("note", {"topic": topic, "data": data})

    def trials(self, count: int) -> Story:
        for i in range(count):
            settings = {
                "depletion_power": 40.0 * i,
                "dwell_time": 2.0 + 3 * i,
                "gate": ("open", "late")[i % 2],
            }
            score, share = 0.2 + 0.11 * i, 0.05 * i
            self.measured(f"trial {i + 1}", i, score, **settings)
            failed = i == 2
            objectives = None if failed else {"score": score, "bleaching": share}
            self.note("trial", settings=settings, objectives=objectives)
        return self

    def retests(self, scores: dict[str, list[float]], **best: Any) -> Story:
        names = self.config.tuned()
        start = {k: v for k, v in self.config.microscope.start().items() if k in names}
        self.note("recommendation", settings={**start, **best}, trials=6)
        field = 10
        for which, found in scores.items():
            settings = start if which == "start" else {**start, **best}
            for i, score in enumerate(found):
                self.measured(f"retest {which}", field, score, **settings)
                objectives = {"score": score, "bleaching": 0.03 + 0.01 * i}
                self.note(
                    "retest", which=which, settings=settings, field=field, objectives=objectives
                )
                field += 1
        return self

    def fault(self, what: str) -> Story:
        self.ledger.add("fault", {"what": what, "policy": "stop"}, self.index)
        return self

    def end(self, status: str, reason: str = "finished", *, ok: bool = True) -> Story:
        readback = {"depletion_power": {"expected": 0, "value": 0.0 if ok else 12.5, "ok": ok}}
        at = "2026-01-02T03:04:05.678+00:00"
        self.ledger.add("safe_state", {"reason": reason, "at": at, "ok": ok, "readback": readback})
        self.ledger.add("end", {"status": status, "reason": reason})
        return self

    def closed(self) -> Path:
        self.images.trim(self.index)
        self.ledger.close()
        return self.folder


def completed(folder: Path, config: RunConfig | None = None) -> Path:
    story = Story(folder, config or a_config("optimize")).begin(36).trials(6)
    scores = {"start": [0.21, 0.25, 0.29], "best": [0.5, 0.6, 0.7]}
    return story.retests(scores, depletion_power=123.0).end("completed").closed()


# ---------------------------------------------------------------------- reading a page


class Page(HTMLParser):
    """A page taken apart: balanced tags, addresses, words."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.html = html
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{tag} {name}"
            if name.split(":")[-1] in ("src", "href", "srcset", "data", "poster", "action"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data


def drawn(folder: Path) -> Page:
    """Write the report of a run, and check what must hold for every page."""
    target = folder / "report.html"
    write_report(folder, target)
    html = target.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open, f"never closed: {page.open}"
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    outside = {"script", "link", "iframe", "object", "embed", "base", "form", "img"}
    assert not outside & set(page.tags)
    style = html[: html.index("</style>")]
    assert "url(" not in style and "@import" not in style and "://" not in style
    assert "default-src 'none'" in html
    assert target.stat().st_size < 3e6
    assert not list(folder.glob("*.partial"))
    page.words = page.words.replace("\N{NO-BREAK SPACE}", " ")
    return page
