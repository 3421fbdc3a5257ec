"""What stacks cost as hardware sequences, beside pymmcore-plus's own.

`live` with a z-stack of 20 planes on the C++ DemoCamera, 512 × 512, 10 ms: our whole session
against `core.mda.run` over the same events, which pymmcore-plus's engine makes sequences of, stack
by stack, and writes to OME-Zarr. And ours with each plane taken singly. They take turns in one
process.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from agent.bench.measurement import Check, Measurement
from agent.config import RunConfig
from agent.record.load import read
from agent.run import Session
from devices.microscope import Microscope
from devices.shot import Shot

_REPEATS = 5
_STACKS = 15
_QUICK_STACKS = 5
_PLANES = 20
_SIDE = 512
_LIMIT = 1.05


def _config(stacks: int, side: int, *, sequences: bool) -> RunConfig:
    return RunConfig.model_validate(
        {
            "plan": "live",
            "live": {"frames": stacks, "z": {"range": _PLANES - 1, "step": 1}},
            "analysis": {"score": False},
            "microscope": {
                "cfg": "demo",
                "pixel_size_nm": 20,
                "exposure": {"camera_ms": 10},
                "sequences": sequences,
                "properties": [
                    ["Camera", "OnCameraCCDXSize", side],
                    ["Camera", "OnCameraCCDYSize", side],
                    ["Camera", "PixelType", "16bit"],
                    ["Z", "UseSequences", "Yes"],
                ],
            },
        }
    )


def _theirs(stacks: int, side: int, folder: Path) -> float:
    """Seconds of pymmcore-plus's own engine, sequences and writer over the same events."""
    from pymmcore_plus.core._sequencing import SequencedEvent, iter_sequenced_events
    from pymmcore_plus.mda import MDAEngine
    from useq import MDAEvent

    config = _config(stacks, side, sequences=True)
    planes = config.live.planes()
    with Microscope.open(config.microscope) as microscope:
        core = microscope.core
        numbers = iter(range(stacks * _PLANES))
        events = [
            [microscope.event(Shot("sted", plane=plane), next(numbers)) for plane in planes]
            for _ in range(stacks)
        ]
        core.mda.set_engine(MDAEngine(core))
        core.setAutoShutter(True)
        lengths: list[int] = []

        def sequenced() -> Iterator[MDAEvent]:
            for event in chain.from_iterable(iter_sequenced_events(core, one) for one in events):
                lengths.append(len(event.events) if isinstance(event, SequencedEvent) else 1)
                yield event

        started = time.perf_counter()
        core.mda.run(sequenced(), output=folder / "bare.ome.zarr")
        seconds = time.perf_counter() - started
    if lengths != [_PLANES] * stacks:
        raise RuntimeError(f"pymmcore-plus made sequences of {lengths} frames")
    return seconds


def _ours(stacks: int, side: int, folder: Path, *, sequences: bool) -> float:
    """Seconds of a session."""
    config = _config(stacks, side, sequences=sequences)
    run = folder / "run"
    run.mkdir()
    with Microscope.open(config.microscope) as microscope:
        session = Session(config, folder / "bench.yaml", run, microscope=microscope)
        started = time.perf_counter()
        result = session.run()
        seconds = time.perf_counter() - started
    _, recording = read(run)
    of = [taken.frame.get("sequence", {}).get("frames") for taken in recording.taken.values()]
    wanted = [_PLANES if sequences else None] * stacks * _PLANES
    if result.status != "completed" or of != wanted:
        raise RuntimeError(f"the benchmark's run ended as {result.status}: {result.reason}")
    return seconds


def measure_stacks(*, quick: bool, seeds: int | None, side: int = _SIDE) -> Measurement:
    """Alternate theirs, ours, and ours singly.

    Parameters
    ----------
    quick
        Fewer stacks.
    seeds
        How often each.
    side
        Of a frame (px).
    """
    repeats, stacks = seeds or _REPEATS, _QUICK_STACKS if quick else _STACKS
    raw: dict[str, list[float]] = {"their_stacks_s": [], "stacks_s": [], "single_planes_s": []}
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        for repeat in range(repeats):
            for name, seconds in raw.items():
                place = folder / str(repeat) / name
                place.mkdir(parents=True)
                if name == "their_stacks_s":
                    seconds.append(_theirs(stacks, side, place))
                else:
                    seconds.append(_ours(stacks, side, place, sequences=name == "stacks_s"))
                shutil.rmtree(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = {
        name: [ours / theirs for ours, theirs in zip(seconds, raw["their_stacks_s"], strict=True)]
        for name, seconds in raw.items()
    }
    frames = stacks * _PLANES
    told = ("stacks by pymmcore-plus's sequences", "stacks as sequences", "stacks, plane by plane")
    figures: dict[str, Any] = {**raw, "stacks": stacks, "planes": _PLANES}
    return Measurement(
        columns=("", "ms a frame, median", "spread", "× bare, median"),
        rows=[
            (
                words,
                f"{1e3 * median(seconds) / frames:.2f}",
                f"{1e3 * min(seconds) / frames:.2f} … {1e3 * max(seconds) / frames:.2f}",
                f"{median(ratio[name]):.3f}" if name != "their_stacks_s" else "1",
            )
            for words, (name, seconds) in zip(told, raw.items(), strict=True)
        ],
        checks=[
            Check(
                f"z-stacks of {_PLANES} planes as sequences, median ratio to pymmcore-plus's own",
                median(ratio["stacks_s"]),
                "<=",
                _LIMIT,
            )
        ],
        raw=figures,
        seeds=list(range(repeats)),
    )
