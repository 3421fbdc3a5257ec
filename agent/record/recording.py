"""What a ledger already holds of a run, for resuming, replaying and summing it up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agent.plan import Instruction, Rebuild, Rebuilt
from agent.record.ledger import Entry, Ledger
from devices.autofocus import Autofocus, Focused
from devices.shot import Field, Plane, Shot
from models.quality.score import Score

if TYPE_CHECKING:
    from agent.config import RunConfig

FILTER = "filter"
"""What the faults of the filter name as their part; those of the scoring name none."""
REBUILD = "rebuild"
"""What the faults of the interpolator name."""
TUNE = "tune"
"""What the faults of its fine-tuning name."""
LIGHT = "light"
"""What those name that say that light was on the sample for another time than expected."""
FOCUS = "focus"
"""What those of the autofocus device name."""
SEQUENCE = "sequence"
"""What the one names that says why frames are no hardware sequence."""


_EVEN = 0.1
"""Share of the mean by which steps of time may differ and still count as equal."""


@dataclass(slots=True)
class Taken:
    """A frame that is on disk, with the shot it came from, and its score if it has one.

    Attributes
    ----------
    filtered
        {uncertainty, device, ms}; None where it was not filtered.
    """

    shot: dict[str, Any]
    frame: dict[str, Any]
    score: Score | None = None
    filtered: dict[str, Any] | None = None

    @property
    def camera(self) -> int:
        """Number of its camera channel: of the frame among those of its shot, from 0."""
        return int(self.shot["camera"]["index"]) if "camera" in self.shot else 0

    @property
    def seen(self) -> bool:
        """Whether it is the frame that the plan had of its shot."""
        return bool(self.shot["camera"]["seen"]) if "camera" in self.shot else True

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return tuple(self.frame["shape"])

    def pixel_um(self, config: RunConfig) -> float:
        """Side of a pixel (µm): the config's, unless the frame had another one."""
        nm = self.frame.get("pixel_size_nm", config.microscope.pixel_size_nm)
        return float(nm) * 1e-3


@dataclass(slots=True)
class Recording:
    """A run's ledger, read once.

    Attributes
    ----------
    taken
        Frames on disk by number.
    lost
        Shots that were announced and lit the sample, but left no frame. Of these and of those
        taken, `settings` and `dose_J` are measured values, where these are known.
    notes
        What the plan noted, in order: {topic, data}.
    told
        What it was told, in order: {listen, instructions, read}.
    commands
        What its sessions were told, in order: {id, by, at, told, read, refused}.
    late
        Time points that came too late, in order: {due, at_s, by_s, policy, points, frames}.
    clock
        What happened to the computer's clocks, in order: {event, by_s, what, at}.
    focused
        What its autofocus device found, by the number of the search.
    rebuilt
        The results of its requests to rebuild frames, by their number.
    begins
        Number of the first frame that each of its sessions could take.
    tuned
        What each attempt to fine-tune the interpolator came to, in order.
    """

    taken: dict[int, Taken] = field(default_factory=dict)
    lost: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    clock: list[dict[str, Any]] = field(default_factory=list)
    focused: dict[int, dict[str, Any]] = field(default_factory=dict)
    rebuilt: dict[int, dict[str, Any]] = field(default_factory=dict)
    tuned: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    safe_state: dict[str, Any] | None = None
    end: dict[str, Any] | None = None

    @classmethod
    def read(cls, ledger: Ledger) -> Recording:
        """Read a ledger from its first entry to its last.

        Raises
        ------
        DamagedLedger
            It holds rows that no run would have written.
        """
        recording = cls()
        announced: dict[int, dict[str, Any]] = {}
        for entry in ledger.entries():
            try:
                recording._take(entry, announced)
            except ValueError as error:
                raise ledger.wrong(entry.seq, entry.kind, str(error)) from None
        if (last := max(recording.taken, default=None)) is not None:
            shot = recording.taken[last].shot
            if "camera" in shot and shot["camera"]["index"] + 1 < shot["camera"]["of"]:
                row = next(entry for entry in ledger.of_frame(last) if entry.kind == "frame")
                raise ledger.wrong(row.seq, row.kind, f"frame {last}: others of its shot lack")
        recording.lost += filter(_of_light, announced.values())
        return recording

    def _take(self, entry: Entry, announced: dict[int, dict[str, Any]]) -> None:
        data, index = entry.data, entry.frame
        if entry.kind == "run":
            self.sessions.append({**data, "at": entry.at})
            self.begins.append(max(self.taken, default=-1) + 1)
            self.end = None
        elif entry.kind == "end":
            self.end = {**data, "at": entry.at}
        elif entry.kind == "safe_state":
            self.safe_state = data
        elif entry.kind == "fault":
            self.faults.append({**data, "at": entry.at, "frame": index})
        elif entry.kind == "note":
            self.notes.append(data)
        elif entry.kind == "told":
            self.told.append(data)
        elif entry.kind == "command":
            self.commands.append(data)
        elif entry.kind == "pause":
            pass  # a plan does not know of it
        elif entry.kind == "late":
            self.late.append(data)
        elif entry.kind == "clock":
            self.clock.append({**data, "at": entry.at})
        elif entry.kind == "autofocus":
            self.focused[data["number"]] = data
        elif entry.kind == "rebuilt":
            self.rebuilt[data["number"]] = data
        elif entry.kind == "tuned":
            self.tuned.append(data)
        elif index is None:
            pass  # of a later version, perhaps
        elif entry.kind == "shot":
            if index in announced and _of_light(announced[index]):
                self.lost.append(announced[index])
            announced[index] = data
        elif entry.kind == "void":
            shot = announced.pop(index, None)
            if shot is not None and "dose_J" in data:
                self.lost.append(as_received(shot, data))
        elif entry.kind == "frame":
            if (shot := announced.pop(index, None)) is None:
                raise ValueError(f"frame {index} was not announced")
            data["at"] = entry.at
            self.taken[index] = Taken(as_received(shot, data), data)
            self._check_at_once(index, shot)
        elif entry.kind == "score" and index in self.taken:
            self.taken[index].score = score_from_dict(data)
        elif entry.kind == "filtered" and index in self.taken:
            self.taken[index].filtered = data

    def _check_at_once(self, index: int, shot: dict[str, Any]) -> None:
        """Check that a frame follows those that the camera gave together with it."""
        if (camera := shot.get("camera")) is None:
            return
        at, of = camera["index"], camera["of"]
        before = self.taken[index - 1].shot.get("camera") if index - 1 in self.taken else None
        whole = before is None or before["index"] + 1 == before["of"]
        expected = (0, of) if before is None or whole else (before["index"] + 1, before["of"])
        if (at, of) != expected:
            raise ValueError(f"`camera`: frame {index} cannot be number {at} of {of} in its shot")
        group = range(index - at, index + 1)
        if at + 1 == of and sum(self.taken[one].seen for one in group) != 1:
            raise ValueError(f"`camera.seen`: of the {of} frames of a shot, one is decided on")

    def shots(self) -> dict[int, Taken]:
        """The first frames of all shots, by number; of most cameras these are all frames."""
        return {index: one for index, one in self.taken.items() if one.camera == 0}

    def seen(self) -> dict[int, Taken]:
        """The frame that the plan had of each shot, by number."""
        return {index: one for index, one in self.taken.items() if one.seen}

    def given_up(self) -> dict[int, str]:
        """Why frames went without a score, where the plan was told so and continued."""
        return self._skipped(None)

    def filtered(self) -> dict[int, dict[str, Any]]:
        """Records of the frames that were filtered: {uncertainty, device, ms}."""
        return {i: one.filtered for i, one in self.taken.items() if one.filtered is not None}

    def unfiltered(self) -> dict[int, str]:
        """Why frames that should have been filtered were not, and never will be."""
        return self._skipped(FILTER)

    def _skipped(self, part: str | None) -> dict[int, str]:
        return {
            fault["frame"]: fault["what"]
            for fault in self.faults
            if fault["policy"] == "skip" and fault.get("part") == part
        }

    def notes_on(self, topic: str) -> list[dict[str, Any]]:
        """Data of the notes on one topic, in order."""
        return [note["data"] for note in self.notes if note["topic"] == topic]


def _of_light(shot: Mapping[str, Any]) -> bool:
    """Whether a shot's row tells of its light: the first one does, of several frames."""
    return "camera" not in shot or shot["camera"]["index"] == 0


def as_received(shot: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A shot as announced, with what a later row says that the sample got of it."""
    got: dict[str, Any] = {key: row[key] for key in ("settings", "dose_J") if key in row}
    return {**shot, **got} if got else shot


def shot_as_dict(shot: Shot) -> dict[str, Any]:
    """A shot as the ledger keeps it."""
    rare: dict[str, Any] = {"locked": True} if shot.locked else {}
    if shot.roi is not None:
        rare["roi"] = list(shot.roi)
    return {
        **rare,
        "mode": shot.mode,
        "asked": dict(shot.settings),
        "field": _field_as_dict(shot.field) if shot.field else None,
        "at_s": shot.at_s,
        "purpose": shot.purpose,
        "point": shot.point,
        "plane": asdict(shot.plane) if shot.plane else None,
        **asdict(Role(shot.trial, shot.retest, shot.search)),
    }


def shot_from_dict(data: dict[str, Any]) -> Shot:
    """The shot that a ledger entry tells of."""
    where = data["field"]
    return Shot(
        data["mode"],
        data["asked"],
        field_from_dict(where) if where else None,
        data["at_s"],
        data["purpose"],
        **asdict(role_of(data)),
        point=data.get("point"),
        plane=Plane(**plane) if (plane := data.get("plane")) else None,
        locked=data.get("locked", False),
        roi=None if (roi := data.get("roi")) is None else tuple(roi),
    )


def _field_as_dict(field: Field) -> dict[str, Any]:
    data: dict[str, Any] = {
        "index": field.index,
        "x_um": field.x_um,
        "y_um": field.y_um,
        "z_um": field.z_um,
    }
    if field.name:
        data["name"] = field.name
    if field.stages:
        data["stages"] = dict(field.stages)
    return data


def field_from_dict(data: Mapping[str, Any]) -> Field:
    """The field that a shot's ledger entry tells of; `str` of it is how it is called."""
    stages = tuple(sorted(data.get("stages", {}).items()))
    where = data["index"], data["x_um"], data["y_um"], data["z_um"]
    return Field(*where, data.get("name", ""), stages)


_PURPOSE = re.compile(r"(?:search (?P<search>\d+), )?trial (?P<trial>\d+)|retest (?P<retest>\w+)")


@dataclass(frozen=True, slots=True)
class Role:
    """What a shot was for; see `devices.shot.Shot`."""

    trial: int | None = None
    retest: str | None = None
    search: int | None = None


def role_of(shot: Mapping[str, Any]) -> Role:
    """What a shot was for, as its ledger entry tells; earlier versions told it in words only."""
    if "trial" in shot:
        return Role(shot["trial"], shot.get("retest"), shot.get("search"))
    found = _PURPOSE.match(shot["purpose"])
    if found is None:
        return Role()
    numbers = {key: int(found[key]) for key in ("trial", "search") if found[key]}
    return Role(retest=found["retest"], **numbers)


def autofocus_as_dict(search: Autofocus) -> dict[str, Any]:
    """A search of the autofocus device as the ledger keeps it."""
    where = _field_as_dict(search.field) if search.field else None
    return {**asdict(search), "field": where}


def focused_from_dict(data: Mapping[str, Any]) -> Focused:
    """What it found, as a ledger entry tells."""
    return Focused(data["z_um"], data["from_um"], data["why"])


def rebuild_as_dict(request: Rebuild) -> dict[str, Any]:
    """A request to rebuild frames as the ledger keeps it."""
    data = asdict(request)
    del data["wait"]
    if request.series is None:
        del data["series"]
    return data


def rebuilt_from_dict(data: dict[str, Any]) -> Rebuilt:
    """The result in a ledger entry."""
    errors = (None if pair is None else (pair[0], pair[1]) for pair in data["errors"])
    return Rebuilt(tuple(data["uncertainty"]), tuple(errors), data["failed"])


def instructions_as_list(instructions: Sequence[Instruction]) -> list[dict[str, Any]]:
    """Instructions as the ledger keeps them."""
    return [asdict(instruction) for instruction in instructions]


def instructions_from_list(data: list[dict[str, Any]]) -> tuple[Instruction, ...]:
    """The instructions that a ledger entry tells of."""
    return tuple(Instruction(one["key"], one["value"]) for one in data)


def score_as_dict(score: Score) -> dict[str, Any]:
    """A score as the ledger keeps it."""
    return {
        "value": score.value,
        "sd": score.sd,
        "flags": list(score.flags),
        "tiles": score.tiles,
    }


def score_from_dict(data: dict[str, Any]) -> Score:
    """The score that a ledger entry tells of."""
    # Ledgers of the first version hold the value alone, and JSON has no NaN for an sd that
    # is unknown: 0, and no flags, are what their plans were told.
    return Score(
        data["value"], data.get("sd", 0.0), tuple(data.get("flags", ())), data.get("tiles", 1)
    )


def even_s(times: Sequence[float]) -> float:
    """Time from each to the next (s) where that is always the same, within a tenth; else 0."""
    if len(times) < 2:
        return 0.0
    steps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(steps) / len(steps)
    return mean if max(abs(step - mean) for step in steps) < _EVEN * mean else 0.0
