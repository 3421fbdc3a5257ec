"""`stedfast export --useq`: the frames that a run took, as useq writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.config.time_points import TimePointsConfig
from agent.record.durable import write_file
from agent.record.load import read
from agent.record.recording import Taken, shot_from_dict

if TYPE_CHECKING:
    from useq import MDAEvent, MDASequence

_Searches = Sequence[Mapping[str, Any]]
"""What the ledger has of searches by the autofocus device, in their order."""
_ENDINGS = (".yaml", ".yml", ".json")


def export_sequence(folder: Path, out: Path, *, overwrite: bool = False) -> tuple[int, bool]:
    """Write what a run took as a useq sequence, or as a list of useq events.

    It is a sequence (`MDASequence`) where one makes the same frames in the same order: place,
    channel, plane and time point of each. Else it is the list of its events (`MDAEvent`), each with
    the properties that were set and the time it was taken at.

    Parameters
    ----------
    folder
        A run folder.
    out
        The YAML or JSON file to write.
    overwrite
        Replace a file that is there.

    Returns
    -------
    tuple[int, bool]
        How many shots there are, and whether they are a sequence.

    Raises
    ------
    UserError
        No run, no frames, another ending, or a file in the way.
    """
    config, recording = read(folder)
    if out.suffix.lower() not in _ENDINGS:
        raise UserError(f"{out}: found the ending {out.suffix!r}; accepted: {', '.join(_ENDINGS)}")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; --overwrite replaces it")
    if not recording.taken:
        raise UserError(f"{folder}: has no frames to export")
    frames = [taken for _, taken in sorted(recording.shots().items())]
    searches = [
        search
        for _, search in sorted(recording.focused.items())
        if search["using"] != "continuous"  # which useq does not know
    ]
    sequence = _sequence(config, frames, searches)
    data: Any = _events(config, frames, searches)
    if sequence is not None:
        data = sequence.model_dump(mode="json", exclude_unset=True)
    as_json = out.suffix.lower() == ".json"
    text = json.dumps(data, indent=1) if as_json else yaml.safe_dump(data, sort_keys=False)
    try:
        write_file(out, text.encode())
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    return len(frames), sequence is not None


def _sequence(config: RunConfig, frames: list[Taken], searches: _Searches) -> MDASequence | None:
    """The sequence of these frames and searches for the focus; None where there is none."""
    from useq import MDASequence

    section = config.section
    if config.mda.sequence is not None and section is config.mda:
        whole = len(frames) == section.planned_frames()
        return MDASequence.model_validate(config.mda.sequence) if whole else None
    if not isinstance(section, TimePointsConfig) or not section.by_point():
        return None
    places: dict[int, dict[str, Any]] = {}
    for taken in frames:
        if (where := taken.shot["field"]) is not None:
            z_um = where["z_um"]
            if z_um is None and section.z is not None:
                z_um = config.microscope.fields.z_um
            place = {"x": where["x_um"], "y": where["y_um"], "z": z_um, "name": where.get("name")}
            known = {key: value for key, value in place.items() if value not in (None, "")}
            places.setdefault(where["index"], known)
    interval_s = getattr(section, "interval_s", 0.0)
    points = 1 + max(taken.shot.get("point") or 0 for taken in frames)
    parts: dict[str, Any] = {
        "axis_order": f"t{section.axis_order}",
        "time_plan": {"interval": interval_s, "loops": points},
        "channels": [_channel(config, mode) for mode in section.modes()],
    }
    if places:
        parts["stage_positions"] = list(places.values())
    if section.z is not None:
        parts["z_plan"] = section.z.model_dump(exclude_none=True, mode="json")
    if searches:
        parts["autofocus_plan"] = {
            "axes": ["t", "p"],
            "autofocus_motor_offset": searches[0]["offset"],
            "autofocus_device_name": searches[0]["offset_device"],
        }
    sequence = MDASequence.model_validate(parts)
    if _searched(sequence, list(places)) != [_where(search) for search in searches]:
        return None
    return sequence if _same(config, sequence, list(places), frames) else None


def _where(search: Mapping[str, Any]) -> tuple[int, int | None]:
    """Time point and place of a search for the focus."""
    return search["point"] or 0, search["field"]["index"] if search["field"] else None


def _searched(sequence: MDASequence, places: list[int]) -> list[tuple[int, int | None]]:
    """The same of those that a sequence makes."""
    return [
        (event.index.get("t", 0), places[event.index["p"]] if places else None)
        for event in sequence
        if _is_search(event)
    ]


def _is_search(event: MDAEvent) -> bool:
    return getattr(event.action, "type", "") == "hardware_autofocus"


def _same(config: RunConfig, sequence: MDASequence, places: list[int], frames: list[Taken]) -> bool:
    """Whether a sequence makes these frames, each at the starting settings of its mode."""
    modes, planes = config.section.modes(), config.section.planes()
    made = [
        (
            event.index.get("t", 0),
            places[event.index["p"]] if places else None,
            modes[event.index.get("c", 0)],
            plane.index if (plane := planes[event.index.get("z", 0)]) else None,
        )
        for event in sequence
        if not _is_search(event)
    ]
    took = []
    for taken in frames:
        shot = shot_from_dict(taken.shot)
        if shot.settings or shot.point is None:
            return False
        field = shot.field.index if shot.field else None
        took.append((shot.point, field, shot.mode, shot.plane.index if shot.plane else None))
    return made == took


def _channel(config: RunConfig, mode: str) -> dict[str, Any]:
    """A mode as a channel: the preset that it pins, if it pins one, else its name."""
    scope = config.microscope
    pins = scope.modes[mode]
    groups = {name: scope.settings[name].group for name in pins}
    presets = [(group, pins[name]) for name, group in groups.items() if group is not None]
    exposure = scope.camera_ms({**scope.start(), **pins})
    found: dict[str, Any] = {"config": mode}
    if len(presets) == 1:
        found = {"group": presets[0][0], "config": str(presets[0][1])}
    return found if exposure is None else {**found, "exposure": exposure}


def _events(config: RunConfig, frames: list[Taken], searches: _Searches) -> list[dict[str, Any]]:
    from useq import MDAEvent

    scope = config.microscope
    events, waiting = [], list(searches)
    for index, taken in enumerate(frames):
        shot, where = taken.shot, taken.shot["field"] or {}
        here = shot.get("point") or 0, where.get("index")
        while waiting and _where(waiting[0]) == here:
            events.append(_search_event(waiting.pop(0), index))
        bound = {name: value for name, value in shot["settings"].items() if name in scope.settings}
        parts = {
            "index": {"t": index},
            "channel": _channel(config, shot["mode"]) if shot["mode"] in scope.modes else None,
            "exposure": scope.camera_ms(bound) if set(scope.start()) <= set(bound) else None,
            "min_start_time": taken.frame["time_s"],
            "x_pos": where.get("x_um"),
            "y_pos": where.get("y_um"),
            "z_pos": shot.get("focus_um", where.get("z_um")),
            "properties": [
                (scope.settings[name].device, scope.settings[name].property, value)
                for name, value in bound.items()
                if scope.settings[name].group is None
            ],
        }
        if parts["channel"] is not None:
            parts["channel"] = {k: v for k, v in parts["channel"].items() if k != "exposure"}
        known = {key: value for key, value in parts.items() if value is not None}
        event = MDAEvent.model_validate(known)
        events.append(event.model_dump(mode="json", exclude_unset=True))
    return events


def _search_event(search: Mapping[str, Any], index: int) -> dict[str, Any]:
    """A search for the focus before a frame."""
    from useq import HardwareAutofocus, MDAEvent

    where = search["field"] or {}
    start_um = search.get("start_um")
    parts = {
        "index": {"t": index},
        "x_pos": where.get("x_um"),
        "y_pos": where.get("y_um"),
        "z_pos": where.get("z_um") if start_um is None else start_um,
        "action": HardwareAutofocus(
            type="hardware_autofocus",
            autofocus_device_name=search["offset_device"],
            autofocus_motor_offset=search["offset"],
            max_retries=search["tries"],
        ),
    }
    known = {key: value for key, value in parts.items() if value is not None}
    return MDAEvent.model_validate(known).model_dump(mode="json", exclude_unset=True)
