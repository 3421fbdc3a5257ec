"""Read a run: what it decided, what it measured, and its pixels.

python examples/read_run.py RUN
"""

from __future__ import annotations

import argparse

import numpy as np

from agent.record.reader import open_run


def main() -> None:
    """Read what the command line names."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("run")
    run = open_run(asked.parse_args().run)
    frames = run.frames()
    print(f"{run.summary['plan']}: {len(run)} frames of {run.raw.shape[1:]} pixels")
    scored = np.isfinite(frames["score"])
    if scored.any():
        best = int(np.nanargmax(frames["score"]))
        settings = {name: frames[name][best] for name in frames if name.startswith("settings.")}
        print(f"best frame: {best}, score {frames['score'][best]:.3f}, {settings}")
    for name in frames:
        if name.startswith("dose_J."):
            print(f"{name.removeprefix('dose_J.')}: {np.nansum(frames[name]):.3g} J on the sample")
    # The images are OME-Zarr: napari and Fiji open them, and so does zarr.
    print(f"mean of the first frame: {run.frame(0).mean():.2f} counts")


if __name__ == "__main__":
    main()
