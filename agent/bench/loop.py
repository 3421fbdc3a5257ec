"""What the loop costs beside Micro-Manager's bare runner.

`live` on the C++ DemoCamera, 512 × 512, 10 ms: our whole session (ledger, images, safe state)
against `core.mda.run` over the same events written to OME-Zarr by pymmcore-plus, alternating
in one process. Then z-stacks as hardware sequences: see `agent.bench.stacks`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from agent.bench.measurement import Check, Measurement
from agent.bench.stacks import measure_stacks
from agent.config import RunConfig
from agent.record.load import read
from agent.run import Session
from devices.microscope import Microscope
from devices.shot import Shot

_REPEATS = 5
_FRAMES = 300
_QUICK_FRAMES = 100
_SIDE = 512


def _config(frames: int, *, score: bool) -> RunConfig:
    return RunConfig.model_validate(
        {
            "plan": "live",
            "live": {"frames": frames},
            "analysis": {"score": score},
            "microscope": {
                "cfg": "demo",
                "pixel_size_nm": 20,
                "exposure": {"camera_ms": 10},
                "properties": [
                    ["Camera", "OnCameraCCDXSize", _SIDE],
                    ["Camera", "OnCameraCCDYSize", _SIDE],
                    ["Camera", "PixelType", "16bit"],
                ],
            },
        }
    )


def _bare(frames: int, folder: Path) -> float:
    """Seconds of pymmcore-plus's own engine and writer over the same events."""
    from pymmcore_plus.mda import MDAEngine

    with Microscope.open(_config(frames, score=False).microscope) as microscope:
        events = [microscope.event(Shot("sted"), i) for i in range(frames)]
        core = microscope.core
        core.mda.set_engine(MDAEngine(core))
        core.setAutoShutter(True)
        started = time.perf_counter()
        core.mda.run(iter(events), output=folder / "bare.ome.zarr")
        return time.perf_counter() - started


def _ours(frames: int, folder: Path, *, score: bool) -> tuple[float, dict[str, Any]]:
    """Seconds of a session; with scoring, until its last frame: what waits is scored after."""
    config = _config(frames, score=score)
    run = folder / "run"
    run.mkdir()
    with Microscope.open(config.microscope) as microscope:
        session = Session(config, folder / "bench.yaml", run, microscope=microscope)
        started = time.perf_counter()
        result = session.run()
        seconds = time.perf_counter() - started
    if result.status != "completed":
        raise RuntimeError(f"the benchmark's run ended as {result.status}: {result.reason}")
    _, recording = read(run)
    scored = sum(taken.score is not None for taken in recording.taken.values())
    if score:
        seconds = max(taken.frame["time_s"] for taken in recording.taken.values())
    return seconds, {"scored": scored, "queue": session.longest_queue}


def measure(*, quick: bool, seeds: int | None, view: bool = False) -> Measurement:
    """Alternate bare, ours, and ours with scoring; or, with `view`, without and with open pages."""
    if view:
        from agent.bench.pages import measure_pages

        return measure_pages(lambda count: _config(count, score=False), quick=quick, seeds=seeds)
    repeats = seeds or _REPEATS
    frames = _QUICK_FRAMES if quick else _FRAMES
    raw: dict[str, list[float]] = {"bare_s": [], "loop_s": [], "scoring_s": []}
    queues: list[int] = []
    scored: list[int] = []
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        for repeat in range(repeats):
            here = folder / str(repeat)
            for name in ("bare_s", "loop_s", "scoring_s"):
                place = here / name
                place.mkdir(parents=True)
                if name == "bare_s":
                    raw[name].append(_bare(frames, place))
                    continue
                seconds, facts = _ours(frames, place, score=name == "scoring_s")
                raw[name].append(seconds)
                if name == "scoring_s":
                    queues.append(facts["queue"])
                    scored.append(facts["scored"])
            shutil.rmtree(here)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = {
        name: [ours / bare for ours, bare in zip(raw[name], raw["bare_s"], strict=True)]
        for name in ("loop_s", "scoring_s")
    }
    rows = [
        (
            name.removesuffix("_s"),
            f"{1e3 * median(seconds) / frames:.2f}",
            f"{1e3 * min(seconds) / frames:.2f} … {1e3 * max(seconds) / frames:.2f}",
            f"{median(ratio[name]):.3f}" if name in ratio else "1",
        )
        for name, seconds in raw.items()
    ]
    limit = _config(frames, score=True).analysis.queue
    stacks = measure_stacks(quick=quick, seeds=seeds, side=_SIDE)
    return Measurement(
        columns=("", "ms a frame, median", "spread", "× bare, median"),
        rows=[*rows, *stacks.rows],
        checks=[
            Check("live loop, median ratio to bare runner", median(ratio["loop_s"]), "<=", 1.10),
            Check("with scoring, median ratio", median(ratio["scoring_s"]), "<=", 1.15),
            Check("frames waiting for a score, most", max(queues), "<=", limit, "frames"),
            *stacks.checks,
        ],
        raw={**raw, "frames": frames, "queue": queues, "scored": scored, "stacks": stacks.raw},
        seeds=list(range(repeats)),
    )
