"""What an exported file says of a series: the settings of its frames, and the state of devices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby

from agent.config import RunConfig
from agent.offline.files.run_series import FieldSeries
from agent.record.device_state import State
from agent.record.layout import channel_of
from agent.record.recording import Taken

_SETTINGS = "stedfast/settings"
_STATE = "stedfast/state"


def notes_on(
    series: FieldSeries, config: RunConfig, known: Mapping[int, State]
) -> dict[str, dict[str, str]]:
    """Settings, and what the core knew of its devices, if that was recorded; by namespace."""
    made = {_SETTINGS: _settings(series, config)}
    if state := _state(series, known):
        made[_STATE] = state
    return made


def _state(series: FieldSeries, known: Mapping[int, State]) -> dict[str, str]:
    """Properties of all devices, and the time points from which on they changed."""
    each = series.shape[1] * series.shape[2]
    parts: dict[str, list[str]] = defaultdict(list)
    last: dict[str, str] = {}
    before: State | None = None
    for number, index in enumerate(series.indices):
        if (now := known.get(index, {})) is before:
            continue
        before = now
        for device, properties in now.items():
            for name, value in properties.items():
                key = f"{device}.{name}"
                if value != last.get(key, ""):
                    since = f" (from T {number // each})" if number else ""
                    parts[key].append(f"{value}{since}")
                    last[key] = value
    return {key: "; ".join(values) for key, values in parts.items()}


def _settings(series: FieldSeries, config: RunConfig) -> dict[str, str]:
    """The settings of a series in words, of each channel, and by time point where they change."""
    if len(series.channels) == 1:
        return {"mode": series.channels[0], **_settings_of(series.taken, config)}
    return {
        f"{channel}.{name}": words
        for channel in series.channels
        for name, words in _settings_of(
            [one for one in series.taken if channel_of(one.shot) == channel][:: series.planes],
            config,
        ).items()
    }


def _settings_of(frames: Sequence[Taken], config: RunConfig) -> dict[str, str]:
    said = {}
    for name, setting in config.microscope.settings.items():
        unit = f" {setting.unit}" if setting.unit else ""
        numbered = enumerate(taken.shot["settings"].get(name) for taken in frames)
        parts = []
        for value, same in groupby(numbered, lambda pair: pair[1]):
            numbers = [number for number, _ in same]
            parts.append((f"{value}{unit}", numbers[0], numbers[-1]))
        said[name] = (
            parts[0][0]
            if len(parts) == 1
            else "; ".join(f"{value} (T {first} to {last})" for value, first, last in parts)
        )
    return said
