"""A plan of your own, run by a script: one field at rising depletion powers.

    python examples/own_plan.py OUT

The microscope is the virtual one of `configs/optimize.yaml`. `examples/focus_series` shows the same
as an installed plan that the command line knows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from agent.config import RunConfig, load
from agent.plan import Note, Plan
from agent.record.folder import new_folder
from agent.run import Session
from devices.fields import grid
from devices.shot import Shot

CONFIG = Path(__file__).parents[1] / "configs" / "optimize.yaml"
POWERS_MW = (10, 40, 80, 160)


def power_series(config: RunConfig) -> Plan:
    """Takes one field at each power, and notes how bright it was."""
    field = grid(config.microscope.fields)[0]
    for power in POWERS_MW:
        frame = yield Shot.sted(field, {"depletion_power": power}, "power series")
        assert frame is not None  # a shot is answered with its frame
        yield Note("brightness", {"power_mW": power, "counts": float(frame.pixels.mean())})


def main() -> None:
    """Run the plan into the folder that the command line names."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("out", type=Path)
    asked.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = asked.parse_args()
    own = ["plan=live", f"live.frames={len(POWERS_MW)}", "analysis.score=false"]
    config = load(CONFIG, own + args.set)
    folder = new_folder(config, Path.cwd(), args.out)
    result = Session(config, CONFIG, folder, make_plan=power_series).run()
    print(f"{result.status}: {folder}")


if __name__ == "__main__":
    main()
