"""Simulated data: labelled frames, dual-label fields, movies, and the optimizer's sessions.

The first three train the networks of quality, restoration and interpolation; sessions are what the
optimizer knows before its first trial. Every item is drawn from its set, the seed and its number
alone, so that a set can be made in parallel, continued after an interruption, and made again: bit
for bit on one machine, within rounding on another.

This package has frames and sessions in its namespace; fields and movies are in `labels` and
`movie_set`.
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
