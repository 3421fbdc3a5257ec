"""The rules by which plans decide: a run keeps to those that it was born with.

`resume` and `replay` lead a plan through stored frames, and it must decide then as it did at
first. So a change of decisions gets a number here, a run's config has the number of its birth, and
a config without one is of a run from before there were any.

1. Until rules had numbers.
2. `SPARING`: settings that bleach more than allowed are not recommended where any bleach less;
   where none keep to the limit, those that bleach least are tried and recommended. Settings that no
   frame supports are not recommended: without a single usable score the starting settings stay.
3. `PUNCTUAL`: a sweep through the focus waits for its time point, as its frames do, and leaves room
   for a stack within `stage_limits`. The first ones follow each other closer, until the drift that
   is predicted has been seen for as long. The sharpest plane is where the reciprocals are lowest.
4. `SCALED`: a drift is followed by the size of the pixels of its own frames.
5. `HEEDING`: a score in doubt is learned from with a wide standard deviation, unless the detector
   was at its limit; where all are in doubt, the settings found are still compared with the start.
6. `AFFORDED`: an adaptive time-lapse takes no audit with the light that its last time point needs.
"""

from __future__ import annotations

FIRST = 1
SPARING = 2
PUNCTUAL = 3
SCALED = 4
HEEDING = 5
AFFORDED = 6
LATEST = 6
