"""Every shipped network on the GPU against itself on the CPU."""

from __future__ import annotations

import numpy as np
import torch

from models.accelerator import Accelerator
from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.frames import apart, frame
from models.interpolation.compute import Made
from models.interpolation.on_cpu import OnCpu as RebuildsOnCpu
from models.interpolation.on_gpu import OnGpu as RebuildsOnGpu
from models.interpolation.weights import read_interpolator
from models.interpolation.weights import shipped as interpolators
from models.quality import QualityScorer
from models.quality.scorer import PAPERS, SHIPPED
from models.restoration.compute import Answer
from models.restoration.on_cpu import OnCpu
from models.restoration.on_gpu import OnGpu
from models.restoration.weights import read_restoration
from models.restoration.weights import shipped as filters

# Relative to the signal. Convolutions in single precision may be rounded to TF32 by cuDNN.
TOLERANCES = {torch.float32: 2e-3, torch.bfloat16: 0.01}
SD_TOLERANCES = {torch.float32: 5e-3, torch.bfloat16: 0.03}
"""The same for standard deviations; chosen."""
SCORES = 1e-4
"""Scores decide, so that they are computed with all digits on a GPU, too."""
_NAMES = {torch.float32: "single precision", torch.bfloat16: "bfloat16"}


def compare(accelerator: Accelerator, watch: TimeLeft, *, quick: bool) -> Section:
    """Scores, filters and interpolators; errors are root mean squares relative to the signal."""
    section = Section("against the CPU")
    rows, columns = (45, 58) if quick else (300, 413)
    for weights in (SHIPPED,) if quick else (SHIPPED, PAPERS):
        _scores(section, watch, accelerator, weights.stem)
    pixels = frame(rows, columns)
    side = 4096
    for name in ("actin-small",) if quick else filters():
        if not watch.allows(section, f"filter {name}"):
            continue
        loaded = read_restoration(name)
        made_of = loaded.members, loaded.calibration, loaded.normalization
        exact = OnCpu(*made_of).submit(pixels, side)()
        for dtype in TOLERANCES:
            gpu = OnGpu(*made_of, accelerator, dtype=dtype)
            _note(section, f"filter {name}", dtype, gpu.submit(pixels, side)(), exact)
            gpu.release()
    pair = frame(rows, columns), frame(rows, columns, shift=3)
    for name in ("flow",) if quick else interpolators():
        if not watch.allows(section, f"interpolator {name}"):
            continue
        weights_of = read_interpolator(name)
        expected = RebuildsOnCpu(weights_of, both_ways=True).rebuild(*pair, 0.4, side)
        for dtype in TOLERANCES:
            rebuilds = RebuildsOnGpu(weights_of, accelerator, both_ways=True, dtype=dtype)
            found = rebuilds.rebuild(*pair, 0.4, side)
            _note(section, f"interpolator {name}", dtype, found, expected)
            rebuilds.release()
    return section


def _note(
    section: Section, name: str, dtype: torch.dtype, found: Answer | Made, exact: Answer | Made
) -> None:
    what = f"{name}, {_NAMES[dtype]}"
    unsure = abs(found.uncertainty / exact.uncertainty - 1)
    section.checks += [
        BoundedFigure(f"{what}: image", apart(found.image, exact.image), "<=", TOLERANCES[dtype]),
        BoundedFigure(f"{what}: deviation", apart(found.sd, exact.sd), "<=", SD_TOLERANCES[dtype]),
        BoundedFigure(f"{what}: uncertainty", unsure, "<=", SD_TOLERANCES[dtype]),
    ]


def _scores(section: Section, watch: TimeLeft, accelerator: Accelerator, name: str) -> None:
    if not watch.allows(section, f"scores {name}"):
        return
    file = SHIPPED.with_name(f"{name}.safetensors")
    frames = [frame(*size, seed) for seed, size in enumerate([(224, 224), (150, 300), (64, 64)])]
    frames.append(np.full((64, 80), 7, np.uint16))
    gpu, cpu = QualityScorer(file, accelerator), QualityScorer(file)
    found, again = gpu.score_batch(frames), gpu.score_batch(frames)
    expected = cpu.score_batch(frames)
    values = [np.array([score.value for score in one]) for one in (found, expected)]
    sds = [np.array([score.sd for score in one]) for one in (found, expected)]
    section.checks += [
        BoundedFigure(
            f"scores {name}: value", float(np.abs(values[0] - values[1]).max()), "<=", SCORES
        ),
        BoundedFigure(
            f"scores {name}: deviation", float(np.abs(sds[0] - sds[1]).max()), "<=", SCORES
        ),
        BoundedFigure(
            f"scores {name}: flags",
            float([score.flags for score in found] == [score.flags for score in expected]),
            "==",
            1,
        ),
        BoundedFigure(f"scores {name}: the same again", float(found == again), "==", 1),
    ]
