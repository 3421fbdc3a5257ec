"""Bringing simulated hardware to where earlier sessions of a run left it.

A real sample remembers its light and a real clock continues. A virtual sample and a recorded movie
begin again in every process, so that a resumed run must lead them to where they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.config import RunConfig
from agent.record.recording import Recording, shot_from_dict
from devices.microscope import Microscope


def catch_up(
    config: RunConfig,
    microscope: Microscope,
    recording: Recording,
    go_on: Callable[[], bool],
    tell: Callable[[str, dict[str, Any]], None],
) -> None:
    """Put sample, clock and movie of a resumed run where its last frame left them.

    A virtual sample is given the light it had by taking the same frames again, which takes as
    long as it did; their pixels are not looked at. Where a plan does not come
    back to fields that it has left, only the last one needs it.

    Parameters
    ----------
    config, microscope, recording
        Of the run.
    go_on
        Asked before each frame.
    tell
        Called with (`catching up`, {`frame`, `of`}) before each frame.
    """
    last = max(recording.taken, default=None)
    if last is None:
        return
    if config.microscope.virtual_sted is not None:
        indices = [
            index
            for index in sorted(recording.shots())
            if config.section.returns()
            or recording.taken[index].shot["field"] == recording.taken[last].shot["field"]
        ]
        for number, index in enumerate(indices, 1):
            if not go_on():
                return
            tell("catching up", {"frame": number, "of": len(indices)})
            taken = recording.taken[index]
            if microscope.clock.seconds is not None:
                exposure = microscope.exposure_s(taken.shot["settings"])
                microscope.clock.set(taken.frame["time_s"] - exposure)
            # A frame that is only taken again waits for no time point.
            shot = replace(shot_from_dict(taken.shot), at_s=None, locked=False)
            held = taken.frame.get("held") or {}
            if shot.field is not None and held.get("z_um") is not None:
                shot = replace(shot, field=replace(shot.field, z_um=held["z_um"]))
            event = microscope.event(shot, index)
            microscope.core.mda.run(iter([event]))
    microscope.clock.set(recording.taken[last].frame["time_s"])
    if config.microscope.replay is not None:
        _wind_on(microscope, last + 1)


def _wind_on(microscope: Microscope, frame: int) -> None:
    """Let a recorded movie continue at a frame."""
    core = microscope.core
    camera = core.getCameraDevice()
    frames = int(core.getProperty(camera, "Frames"))
    core.setProperty(camera, "Frame", frame if frame <= frames else frame % frames)
