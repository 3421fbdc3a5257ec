"""How a run goes, learned from its ledger entry by entry, in memory that does not grow with it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from agent.config import RunConfig
from agent.plan import FRAMES_EACH, FREE, LAPSE, PLACE, STACK
from agent.record import text
from agent.record.dose import DoseGate
from agent.record.judging import of_notes
from agent.record.layout import channel_of
from agent.record.ledger import Entry
from agent.record.load import own_plan
from agent.record.notes import TOPICS
from agent.record.planned import PlannedFrames
from agent.record.recording import FILTER, as_received
from agent.record.trials import best_trial, kind_of
from agent.record.verdict import Verdict
from agent.steering.search_state import SearchState
from agent.ui.view.thinned_curve import RECENT, ThinnedCurve
from agent.ui.view.timelapse_state import MEASURED, TimelapseState

_PACE = 30
"""Frames, and seconds at least, that the time left is judged by."""
_LINES = 400
_LONGEST = 300
"""Characters of a note in the log."""


@dataclass(slots=True)
class FrameState:
    """What is kept of a frame.

    Attributes
    ----------
    kind
        `measured`, or `audited` (measured, and a rebuilt one was compared with it).
    at, time_s
        When it was on disk (ISO 8601), and in seconds of the run.
    filtered
        {uncertainty, device, ms}; None where it was not.
    error
        Of what the frames beside it make of its time point; None where that was not compared.
    shape
        Rows and columns.
    pixel_size_nm
        Side of a pixel (nm); None where it is the config's.
    """

    index: int
    kind: str
    at: str
    time_s: float
    shot: dict[str, Any]
    shape: tuple[int, int]
    score: dict[str, Any] | None = None
    filtered: dict[str, Any] | None = None
    error: float | None = None
    pixel_size_nm: float | None = None

    @classmethod
    def measured(cls, entry: Entry, index: int, shot: dict[str, Any]) -> FrameState:
        """A frame by its row of the ledger."""
        size_nm = entry.data.get("pixel_size_nm")
        at, time_s = entry.at, entry.data["time_s"]
        rows, columns = entry.data["shape"][-2:]
        return cls(index, MEASURED, at, time_s, shot, (rows, columns), pixel_size_nm=size_nm)

    @property
    def stack(self) -> tuple[Any, ...]:
        """What tells its z-stack from others: time point, field and channel."""
        field = (self.shot.get("field") or {}).get("index")
        return self.shot.get("point"), field, self.channel

    @property
    def channel(self) -> str | None:
        """Its mode; with its camera channel, where the camera gives several frames at once."""
        return channel_of(self.shot) if "mode" in self.shot else None

    @property
    def camera(self) -> int:
        """Number of its camera channel, from 0."""
        return int((self.shot.get("camera") or {}).get("index", 0))

    @property
    def seen(self) -> bool:
        """Whether it is the frame that the plan had of its shot."""
        return bool((self.shot.get("camera") or {}).get("seen", True))

    def as_dict(self) -> dict[str, Any]:
        """For a page."""
        return {
            "index": self.index,
            "kind": self.kind,
            "at": self.at,
            "time_s": self.time_s,
            "mode": self.channel,
            "purpose": text.purpose(self.shot),
            "settings": self.shot.get("settings", {}),
            "field": (self.shot.get("field") or {}).get("index"),
            "score": self.score,
            "filtered": self.filtered,
            "error": self.error,
            "pixel_size_nm": self.pixel_size_nm,
        }


@dataclass(slots=True)
class RunState:
    """A run as far as its ledger was read.

    Attributes
    ----------
    read
        Number of the last entry that was taken.
    versions
        How often each part changed, so that a page fetches only new parts.
    newest
        Number of the newest frame of each kind; `seen`: the one that the plan had of the newest
        shot, where that has several.
    modes
        Of the frames that were taken.
    outdated
        An entry read earlier has become void: the ledger is to be read again.
    whole
        Rows and columns of the camera's whole frames, by mode.
    lapsed
        Time points of a time-lapse that skips; None elsewhere.
    """

    config: RunConfig
    read: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None
    safe_state: dict[str, Any] | None = None
    paused: bool = False
    pausing: bool = False
    stopping: bool = False
    under_way: dict[str, Any] | None = None
    frames: dict[int, FrameState] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    newest: dict[str, int] = field(default_factory=dict)
    modes: set[str] = field(default_factory=set)
    trials: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    spans: dict[str, Any] = field(default_factory=dict)
    filtering: str | None = None
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LINES))
    scores: ThinnedCurve = field(default_factory=ThinnedCurve)
    light: ThinnedCurve = field(default_factory=ThinnedCurve)
    lapsed: TimelapseState | None = None
    standing: SearchState | None = None
    planned_frames: PlannedFrames | None = None
    gate: DoseGate | None = None
    whole: dict[str, list[int]] = field(default_factory=dict)
    outdated: bool = False
    _announced: dict[int, dict[str, Any]] = field(default_factory=dict)
    _pace: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_PACE + 1))

    def __post_init__(self) -> None:
        self.standing = SearchState(self.config.optimize.trials)
        self.planned_frames = PlannedFrames(None, self.config.section.planned_trials())
        self.gate = DoseGate(self.config.dose)
        self.filtering = self.config.filter.frames if self.config.filter else None
        self.lapsed = (
            TimelapseState(self.config.timelapse) if self.config.section.rebuilds() else None
        )

    def stack(self, index: int) -> list[int]:
        """Numbers of the frames of the z-stack that this one is a plane of, from the lowest."""
        section = self.config.section
        shown = self.frames.get(index)
        if shown is None or shown.shot.get("plane") is None:
            return [index]
        fields = section.fields_at_once() + len(self.notes.get(PLACE, ()))
        cameras = len(self.config.microscope.camera_channels) or 1
        apart = len(section.planes()) * len(section.modes()) * fields * cameras
        near = (self.frames.get(number) for number in range(index - apart, index + apart + 1))
        planes = [
            one
            for one in near
            if one is not None and one.shot.get("plane") and one.stack == shown.stack
        ]
        return [one.index for one in sorted(planes, key=lambda one: one.shot["plane"]["index"])]

    def take(self, entries: Iterable[Entry]) -> bool:
        """Learn from entries that follow those before; whether there was any."""
        before = self.read
        for entry in entries:
            self.read = entry.seq
            # A later version of stedfast may write what this one does not know.
            if (learn := getattr(self, f"_take_{entry.kind}", None)) is not None:
                learn(entry)
        return self.read > before

    # ------------------------------------------------------------------ entries by kind

    def _take_run(self, entry: Entry) -> None:
        assert self.planned_frames is not None
        self.sessions.append({**entry.data, "at": entry.at})
        self.planned_frames.asked = entry.data.get("planned")
        self.whole = entry.data.get("whole", {})
        self.end = None
        self.paused = self.pausing = self.stopping = False
        self.under_way = None
        self.filtering = self.config.filter.frames if self.config.filter else None
        self._pace.clear()
        self.versions["log"] += 1

    def _take_shot(self, entry: Entry) -> None:
        assert self.gate is not None
        if entry.frame is not None:
            self._announced[entry.frame] = entry.data
        if "camera" not in entry.data or entry.data["camera"]["seen"]:
            self.under_way = {**entry.data, "index": entry.frame}
        self.gate.count(entry.data["dose_J"], _field(entry.data))

    def _take_void(self, entry: Entry) -> None:
        assert self.gate is not None
        shot = self._announced.pop(entry.frame, None) if entry.frame is not None else None
        self.under_way = None
        if shot is not None:
            self.gate.count(shot["dose_J"], _field(shot), sign=-1)
            self.gate.count(entry.data.get("dose_J", {}), _field(shot))
            self.gate.learn(entry.data)

    def _take_frame(self, entry: Entry) -> None:
        assert self.gate is not None and entry.frame is not None
        shot = self._announced.pop(entry.frame, {})
        self.under_way = None
        if shot and "dose_J" in entry.data:
            self.gate.count(shot["dose_J"], _field(shot), sign=-1)
            shot = as_received(shot, entry.data)
            self.gate.count(shot["dose_J"], _field(shot))
            self.gate.learn(entry.data)
        shown = FrameState.measured(entry, entry.frame, shot)
        self._add(shown)
        self.modes.add(str(shot.get("mode")))
        self.newest["raw"] = entry.frame
        if shown.seen:
            if "camera" in shot:
                self.newest["seen"] = entry.frame
            if shot.get("mode") == self.config.section.decides():
                self.newest["decides"] = entry.frame
        if shown.camera == 0:
            self._pace.append((_moment(entry.at), self.done))
            self.light.add(entry.frame, dict(self.gate.total))

    def _take_cut(self, entry: Entry) -> None:
        # A reader that begins at the ledger's first entry meets none that is void.
        self.outdated = self.outdated or entry.frame in self.frames

    def _take_late(self, entry: Entry) -> None:
        self.counts["missed"] += entry.data["frames"]

    def _take_rebuilt(self, entry: Entry) -> None:
        if self.lapsed is not None:
            self.lapsed.rebuilt(entry.data)
            self._show_lapsed()

    def _take_score(self, entry: Entry) -> None:
        flagged = bool(entry.data.get("flags"))
        self.counts["scored"] += 1
        self.counts["flagged"] += flagged
        if (found := self.frames.get(entry.frame or 0)) is not None and entry.frame is not None:
            found.score = entry.data
            value, sd = entry.data["value"], entry.data.get("sd", 0.0)
            self.scores.add(entry.frame, found.time_s, value, sd, flagged)
        if entry.frame is not None:
            self.newest["scored"] = max(entry.frame, self.newest.get("scored", 0))
        self.versions["frames"] += 1

    def _take_filtered(self, entry: Entry) -> None:
        self.counts["filtered"] += 1
        if entry.frame is None:
            return
        if (found := self.frames.get(entry.frame)) is not None:
            found.filtered = entry.data
        self.newest["filtered"] = max(entry.frame, self.newest.get("filtered", 0))

    def _take_note(self, entry: Entry) -> None:
        assert self.standing is not None and self.planned_frames is not None
        topic, data = entry.data["topic"], entry.data["data"]
        self.standing.learn(entry.data)
        self.planned_frames.learn(entry.data)
        if topic == "trial":
            self.trials.append(data)
            self.versions["trials"] += 1
            return
        if topic == LAPSE and self.lapsed is not None:
            self.lapsed.learn(data)
            for mark in data["frames"]:
                if (shown := self.frames.get(mark["frame"])) is not None:
                    shown.kind, shown.error = mark["kind"], mark.get("error")
            self._show_lapsed()
            return
        kept = self.notes.setdefault(topic, [])
        kept.append(data)
        del kept[:-_LINES]
        if topic not in TOPICS and own_plan(self.config, self.sessions):
            words = ", ".join(f"{key} {text.number(value)}" for key, value in data.items())
            self._say("note", entry.at, f"{topic}: {words}"[:_LONGEST])
        if topic in ("recommendation", "retest", STACK, "enough", "belief"):
            self.versions["trials"] += 1
        if topic == PLACE:
            self.versions["places"] += 1
            where = ", ".join(text.number(data[key]) for key in ("x_um", "y_um"))
            self._say("told", entry.at, f"place {data['field']} = ({where}) µm")
        if topic == "told":
            if data["key"] in self.config.adjustable() and "refused" not in data:
                self.spans[data["key"]] = None if data["value"] == FREE else data["value"]
            self.versions["settings"] += 1
            self._say("told", entry.at, text.told(data), **_refusal(data))

    def _take_told(self, entry: Entry) -> None:
        for stamp in entry.data.get("stamps", ()):
            self._say("by", entry.at, ", ".join(stamp["keys"]), **_who(stamp), **_refusal(stamp))

    def _take_command(self, entry: Entry) -> None:
        told = entry.data.get("told", {})
        words = ", ".join(k if v is True else f"{k}: {v}" for k, v in told.items())
        if "refused" not in entry.data:
            self.pausing = self.pausing or "pause" in told
            self.stopping = self.stopping or "stop" in told
            self.filtering = told.get("filter", self.filtering)
        self._say("command", entry.at, words, **_who(entry.data), **_refusal(entry.data))

    def _take_pause(self, entry: Entry) -> None:
        self.paused = entry.data["paused"]
        self.pausing = False
        self._pace.clear()
        if self.paused:
            self.safe_state = {**entry.data["safe_state"], "at": entry.at}

    def _take_fault(self, entry: Entry) -> None:
        fault = entry.data
        self.counts["faults"] += fault["policy"] != "ignored"
        part = {"part": fault["part"]} if fault.get("part") == FILTER else {}
        self._say("fault", entry.at, fault["what"], policy=fault["policy"], **part)

    def _take_safe_state(self, entry: Entry) -> None:
        self.safe_state = entry.data

    def _take_end(self, entry: Entry) -> None:
        self.end = {**entry.data, "at": entry.at}
        self.versions["trials"] += 1
        self.paused = self.pausing = self.stopping = False
        self.under_way = None
        self._say("end", entry.at, f"{entry.data['status']}: {entry.data['reason']}")

    # ------------------------------------------------------------------ what follows from them

    @property
    def planned(self) -> int | None:
        """Frames of the whole run, with instructions and repetitions since it began."""
        assert self.planned_frames is not None
        return self.planned_frames.total

    @property
    def acquired(self) -> int:
        """Shots that were measured, of a frame each with most cameras."""
        return self.counts[MEASURED]

    @property
    def done(self) -> int:
        """Frames that were measured, or deliberately not."""
        skipped = self.lapsed.skipped if self.lapsed is not None else 0
        return self.acquired + skipped + self.counts["missed"]

    def left_s(self) -> float | None:
        """Time that the frames left will take at the latest pace (s); None if unknown."""
        planned = self.planned
        if planned is None or len(self._pace) < 3 or self.end is not None:
            return None
        times = list(self._pace)
        # The mean, as frames of a trial come in bursts; the median where one was held up.
        mean = (times[-1][0] - times[0][0]) / max(times[-1][1] - times[0][1], 1)
        steps = [(b - a) / max(later - earlier, 1) for (a, earlier), (b, later) in pairwise(times)]
        pace = mean if len(steps) >= FRAMES_EACH else median(steps)
        return max(0.0, pace * (planned - self.done))

    def best(self) -> int | None:
        """Number of the best trial; see `agent.record.trials.best_trial`."""
        return best_trial(self.trials, self.config.optimize.bleaching_limit)

    def result(self, *, going_on: bool) -> Verdict:
        """What the search came to, or has so far."""
        return of_notes(
            self.config.optimize, {**self.notes, "trial": self.trials}, going_on=going_on
        )

    def _show_lapsed(self) -> None:
        assert self.lapsed is not None
        if self.lapsed.newest is not None:
            self.newest["reconstructed"] = self.lapsed.newest.number
        self.versions["frames"] += 1

    def _add(self, shown: FrameState) -> None:
        self.counts[MEASURED] += shown.index not in self.frames and shown.camera == 0
        self.frames[shown.index] = shown
        self.versions["frames"] += 1
        while len(self.frames) > RECENT:
            del self.frames[next(iter(self.frames))]

    def _say(self, kind: str, at: str, words: str, **more: Any) -> None:
        self.log.append({"kind": kind, "at": at, "words": words, **more})
        self.versions["log"] += 1


def verdict(trial: dict[str, Any], config: RunConfig) -> str:
    """What a trial counts as: `failed`, `flagged`, `over` the limit, or `within` it."""
    return kind_of(trial["objectives"], config.optimize.bleaching_limit)


def _field(shot: dict[str, Any]) -> int | None:
    where = shot.get("field")
    return where["index"] if where else None


def _moment(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _who(stamp: dict[str, Any]) -> dict[str, Any]:
    return {key: stamp[key] for key in ("by", "id") if key in stamp}


def _refusal(data: dict[str, Any]) -> dict[str, Any]:
    return {"refused": data["refused"]} if "refused" in data else {}
