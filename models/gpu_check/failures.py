"""Failures that are provoked: every frame comes all the same, and says what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.cuda import Cuda
from models.emulated import Emulated
from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.faulty import Faulty, Short
from models.gpu_check.frames import apart, frame
from models.interpolation import Interpolation
from models.restoration import RestorationNet, Restored, Restorer
from models.restoration.weights import save

_FILTER, _INTERPOLATOR = "actin-small", "flow"
_ERROR = 0.01
"""Largest error after a failure, relative to the signal; chosen: that of bfloat16."""
_LOST_S = 240.0
"""Longest time for the process that loses its GPU (s); chosen."""


def failures(accelerator: Accelerator, watch: TimeLeft, *, quick: bool) -> Section:
    """Provoke each, and compare the results with the CPU's."""
    with TemporaryDirectory() as folder:
        return _all(accelerator, watch, _tiny(Path(folder)) if quick else _FILTER)


def _tiny(folder: Path) -> Path:
    """Weights of a network that takes no time, and learned nothing."""
    torch.manual_seed(1)
    network = RestorationNet(depth=1, kernel=3, first=4)
    card = {
        "architecture": network.architecture,
        "normalization": {"low": 2.0, "high": 99.8},
        "calibration": 1.0,
    }
    return save(folder / "tiny", [network], card)


def _all(accelerator: Accelerator, watch: TimeLeft, model: str | Path) -> Section:
    section = Section("failures")
    quick = isinstance(model, Path)
    large, small = (200, 96) if quick else (2048, 512)
    cpu = Restorer(model, "cpu")
    for gigabytes in (8.0, 4.0):
        if watch.allows(section, f"a card of {gigabytes:g} GB"):
            with capped(accelerator, gigabytes * 1e9):
                restorer = Restorer(model, accelerator)
                found = _survives(
                    section, f"a card of {gigabytes:g} GB", restorer, cpu, [frame(large, large)]
                )
                section.checks.append(
                    _is(f"a card of {gigabytes:g} GB: on it", found[0].device == accelerator.name)
                )
                _release(restorer)
    if watch.allows(section, "a card that is full"):
        with capped(accelerator, 16e6):
            _survives(
                section,
                "a card that is full",
                Restorer(model, Short(accelerator, 0)),
                cpu,
                [frame(small, small)],
                says="out of memory",
            )
    if watch.allows(section, "memory for half of a frame"):
        found = _survives(
            section,
            "memory for half of a frame",
            Restorer(model, Short(accelerator, large * large - 1)),
            cpu,
            [frame(large, large)],
            says="in tiles of",
        )
        section.checks.append(
            _is("memory for half of a frame: on the GPU", found[0].device == accelerator.name)
        )
    if watch.allows(section, "sizes mixed in one stream"):
        tile = 96 if quick else 192
        sizes = [(tile, tile), (large, tile), (tile, tile), (tile, large), (tile, tile), (64, 90)]
        frames = [frame(*size, seed) for seed, size in enumerate(sizes)]
        restorer = Restorer(model, accelerator, tile=tile)
        _survives(section, "sizes mixed in one stream", restorer, cpu, frames, says=None)
        _release(restorer)
    frames = [frame(small, small, seed) for seed in range(4)]
    for name, faulty, says in (
        ("a launch that fails once", Faulty(accelerator, launches=[1]), "tried again"),
        ("launches that fail", Faulty(accelerator, launches=range(1, 9)), "on cpu"),
        ("a GPU that is gone", Faulty(accelerator, lost_from=2), "on cpu"),
    ):
        if watch.allows(section, name):
            _survives(section, name, Restorer(model, faulty), cpu, frames, says=says)
    if watch.allows(section, "an interpolator whose launch fails"):
        _rebuilds(section, Faulty(accelerator, launches=[0, 1]), 64 if quick else 256)
    if watch.allows(section, "a GPU lost in the middle of a run"):
        _lost(section, accelerator, small)
    return section


@contextmanager
def capped(accelerator: Accelerator, memory: float) -> Iterator[None]:
    """As if the card had so many bytes, for this process."""
    if isinstance(accelerator, Emulated):
        before, accelerator.memory = accelerator.memory, int(memory)
        yield
        accelerator.memory = before
        return
    assert isinstance(accelerator, Cuda)
    total = torch.cuda.get_device_properties(accelerator.place).total_memory
    accelerator.release()
    torch.cuda.set_per_process_memory_fraction(min(1.0, memory / total), accelerator.place)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, accelerator.place)


def _survives(
    section: Section,
    name: str,
    restorer: Restorer,
    cpu: Restorer,
    frames: Sequence[NDArray[Any]],
    *,
    says: str | None = "",
) -> list[Restored]:
    """Note whether all frames come, as they should be; `says` is what one of them must say."""
    found = list(restorer.stream(iter(frames)))
    worst = max(
        apart(one.image, cpu.restore(pixels).image)
        for one, pixels in zip(found, frames, strict=True)
    )
    section.checks.append(BoundedFigure(f"{name}: error", worst, "<=", _ERROR))
    told = [one.fault for one in found if one.fault]
    section.figures[name] = {"devices": [one.device for one in found], "faults": told}
    if says is None:
        section.checks.append(_is(f"{name}: nothing to tell", not told))
    elif says:
        section.checks.append(_is(f"{name}: is told", any(says in one for one in told)))
    return found


def _rebuilds(section: Section, faulty: Accelerator, side: int) -> None:
    name = "an interpolator whose launch fails"
    pair = frame(side, side), frame(side, side, shift=2)
    found = Interpolation(_INTERPOLATOR, faulty).between(*pair)
    exact = Interpolation(_INTERPOLATOR, "cpu").between(*pair)
    section.checks += [
        BoundedFigure(f"{name}: error", apart(found.image, exact.image), "<=", _ERROR),
        _is(f"{name}: is told", "on cpu" in (found.fault or "")),
    ]


def _lost(section: Section, accelerator: Accelerator, side: int) -> None:
    """In a process of its own: nothing on the GPU works in it afterwards."""
    name = "a GPU lost in the middle of a run"
    command = [sys.executable, "-m", "models.gpu_check.lost", accelerator.place, str(side)]
    root = Path(__file__).resolve().parents[2]
    try:
        ended = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=_LOST_S, check=False
        )
        told = json.loads(ended.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        section.figures[name] = str(error)
        section.checks.append(_is(f"{name}: it ends", False))
        return
    section.figures[name] = told
    section.checks += [
        _is(f"{name}: it ends", ended.returncode == 0),
        BoundedFigure(f"{name}: error", told["error"], "<=", _ERROR),
        _is(f"{name}: is told", any("on cpu" in fault for fault in told["faults"])),
    ]


def _release(restorer: Restorer) -> None:
    for compute in restorer.computes:
        compute.release()


def _is(name: str, true: bool) -> BoundedFigure:
    return BoundedFigure(name, float(true), "==", 1)
