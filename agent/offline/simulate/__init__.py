"""Labelled frames from the virtual microscope, for the quality network.

Every frame is drawn from (set, seed, index) alone, so that a set can be made in parallel, taken
up again after an interruption, and made again: bit for bit on one machine, within rounding on
another.
"""

from agent.offline.simulate.frames import LabelledFrame, draw_frame
from agent.offline.simulate.population import POPULATIONS, SETS, SetName
from agent.offline.simulate.sessions import simulate_sessions
from agent.offline.simulate.table import read_table, simulate_quality

__all__ = [
    "POPULATIONS",
    "SETS",
    "LabelledFrame",
    "SetName",
    "draw_frame",
    "read_table",
    "simulate_quality",
    "simulate_sessions",
]
