"""The rules by which plans decide: a run keeps to those that it was born with.

`resume` and `replay` lead a plan through stored frames, and it must decide then as it did at
first. So a change of what is decided gets a number here, a run's config has the number of its
birth, and a config without one is of a run from before there were any.

1. Until rules had numbers.
2. `SPARING`: what bleaches more than allowed is not recommended where anything bleaches less;
   where nothing keeps to the limit, what bleaches least is tried and recommended. What no frame
   supports is not recommended: without a single usable score the starting settings stay.
"""

from __future__ import annotations

FIRST = 1
SPARING = 2
LATEST = 2
