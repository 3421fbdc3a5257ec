"""What `peak_signal` says of frames that need no microscope."""

from __future__ import annotations

from typing import Any

import numpy as np
from peak_signal import PeakSignal, peak_signal

from agent.plan import Frame
from devices.shot import Shot


def frame(pixels: Any) -> Frame:
    return Frame(0, Shot("sted"), {}, np.asarray(pixels, np.uint16), 0.0, lambda: None)


def test_it_is_the_height_of_the_brightest_structure() -> None:
    run: Any = None
    value = peak_signal(PeakSignal(), run)
    dark = np.full((20, 20), 3)
    lit = dark.copy()
    lit[:2] = 33
    assert value(frame(dark), frame(dark), frame(dark)) == 0
    assert value(frame(dark), frame(lit), frame(dark)) == 30
    assert PeakSignal(enough=60).scale() == (0, 60)
