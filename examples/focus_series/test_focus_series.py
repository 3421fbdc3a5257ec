"""The decisions of `focus_series`, on frames that need no microscope."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from focus_series import FocusSeries, focus_series

from agent.plan import Frame, Instruction, Listen, Note
from devices.config import FieldsConfig
from devices.shot import Shot
from models.quality.score import Score

PIXELS = np.full((16, 16), 3, np.uint16)


def led(section: FocusSeries, told: Mapping[int, Any]) -> tuple[list[Shot], list[Note]]:
    """All that the plan asks for and notes, where frames are best at 0.2 µm.

    `told` has what a person says before a frame, by the frame's number.
    """
    run: Any = SimpleNamespace(microscope=SimpleNamespace(fields=FieldsConfig()))
    plan, shots, notes = focus_series(section, run), [], []
    answer = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return shots, notes
        answer = None
        if isinstance(step, Note):
            notes.append(step)
            continue
        if isinstance(step, Listen):
            answer = told.get(len(shots), ())
            continue
        assert isinstance(step, Shot) and step.field is not None and step.field.z_um is not None
        score = Score(1 - abs(step.field.z_um - 0.2), 0.0)
        answer = Frame(len(shots), step, {}, PIXELS, 0.0, lambda score=score: score)
        shots.append(step)


def test_it_takes_a_frame_at_each_position_and_notes_the_best() -> None:
    section = FocusSeries(from_um=-0.2, to_um=0.4, frames=4)
    shots, notes = led(section, {})
    assert np.allclose([shot.field.z_um for shot in shots if shot.field], [-0.2, 0.0, 0.2, 0.4])
    assert len(shots) == section.planned_frames()
    assert [note.topic for note in notes] == ["focus"] * 4 + ["best focus"]
    assert np.isclose(notes[-1].data["z_um"], 0.2) and np.isclose(notes[-1].data["score"], 1.0)


def test_what_a_person_tells_it_holds_from_the_next_frame_on() -> None:
    section = FocusSeries(from_um=-0.2, to_um=0.4, frames=4)
    lower, free = Instruction("depletion_power", 20.0), Instruction("depletion_power", "free")
    shots, notes = led(section, {2: (lower,), 3: (free,)})
    assert [dict(shot.settings) for shot in shots] == [{}, {}, {"depletion_power": 20.0}, {}]
    assert [note.data["value"] for note in notes if note.topic == "told"] == [20.0, "free"]
