"""What Micro-Manager's core knew of its devices at each frame of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.record.recording import Recording

State = Mapping[str, Mapping[str, str]]
"""Values of properties, by device and property."""


def states(recording: Recording) -> Iterator[tuple[int, State]]:
    """The number of each frame, in order, and the state that it was taken in.

    Empty where an earlier version recorded none. Frames whose state is the same have one and the
    same object.
    """
    begins = dict(zip(recording.begins, recording.sessions, strict=True))
    waiting = sorted(begins)
    now: State = {}
    for index, taken in sorted(recording.taken.items()):
        while waiting and waiting[0] <= index:
            now = begins[waiting.pop(0)].get("state", {}).get("properties", {})
        if changed := taken.frame.get("changed"):
            now = {**now}
            for device, properties in changed.items():
                now[device] = {**now.get(device, {}), **properties}
        yield index, now
