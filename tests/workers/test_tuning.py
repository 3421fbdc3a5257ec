"""What an interpolator learns from the audits of a time-lapse, and when that is kept."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch

from agent.bench.interpolation.study import real_movies
from agent.bench.tuning import measure
from agent.plans.adaptive.alignment import comparable
from agent.plans.adaptive.frame_noise import Detector, smooth
from agent.record.images import ImageStore
from agent.workers.fine_tuning import (
    FIRST,
    JUDGES,
    RECIPE,
    AuditExample,
    AuditTriplet,
    affordable,
    compare_weights,
    fine_tune,
    split_audits,
    write_rescaled,
)
from agent.workers.tune import audits_of
from agent.workers.tune_process import FOLDER, TuneProcess, Tuner
from models.interpolation import Interpolation
from models.interpolation.losses import of_structure
from tests.doubles.drifting import drifting, train_tiny, write_movies

pytestmark = pytest.mark.usefixtures("one_thread")
DETECTOR = Detector(gain=1e-3, offset=100, read_sd=20)
QUICK = replace(RECIPE, epochs=2, steps_per_epoch=20, patch=40, learning_rate=2e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that learned next to nothing."""
    folder = tmp_path_factory.mktemp("tiny")
    return train_tiny(write_movies(folder), folder / "tiny")


def examples(seed: int = 7, count: int = 18) -> list[AuditExample]:
    frames, _ = drifting(seed, count)
    return [
        AuditExample(first, middle, last, 0.5)
        for first, middle, last in zip(frames, frames[1:], frames[2:], strict=False)
    ]


def row(index: int, *, failed: str | None = None, dark: bool = False) -> dict[str, object]:
    return {
        "before": [index, 2 * index],
        "after": [index + 2, 2 * index + 5],
        "audits": [[index + 1, 2 * index + 2]],
        "errors": [] if failed else [None if dark else [0.01, 0.001]],
        "drift_px": [1.0, -2.0],
        "failed": failed,
    }


def test_what_the_ledger_has_becomes_audits() -> None:
    assert audits_of(row(3)) == [AuditTriplet(3, 4, 5, 0.4, (1.0, -2.0))]
    assert audits_of(row(3, failed="it died")) == audits_of(row(3, dark=True)) == []


def test_no_frame_is_learned_from_that_judges() -> None:
    for count in (FIRST, 40):
        audits = [AuditTriplet(i, i + 1, i + 2, 0.5) for i in range(count)]
        older, latest = split_audits(audits)
        assert latest == audits[-max(JUDGES, count // 3) :]
        assert len(older) == count - len(latest) - 2  # those that share a frame with these
        judges = frozenset[int]().union(*(one.frames for one in latest))
        assert not any(one.frames & judges for one in older)


def test_large_frames_are_fewer() -> None:
    audits = [AuditTriplet(i, i + 1, i + 2, 0.5) for i in range(200)]
    assert affordable(audits, (64, 64)) == audits[-48:]
    assert affordable(audits, (4096, 4096)) == audits[-FIRST:]


def test_drift_is_taken_out_of_all_three() -> None:
    frame = np.random.default_rng(1).uniform(size=(60, 60)).cumsum(0).cumsum(1)
    before, middle, after = (frame[8 - i : 48 - i, 8 + i : 48 + i] for i in (0, 2, 4))
    first, second, third = comparable(before, after, 0.5, (4.0, -4.0), middle)
    np.testing.assert_allclose(first, third)
    np.testing.assert_allclose(first, second, rtol=1e-5)
    assert first.shape == (32, 32)
    # Without drift nothing is touched.
    assert comparable(before, after, 0.5, (0.3, 0.0), middle)[1] is middle


@pytest.mark.slow
def test_weights_that_rebuild_badly_are_better_after_it(tiny: Path, tmp_path: Path) -> None:
    known = examples()
    fine_tune(tiny, known[:10], tmp_path / "better", QUICK)
    old = Interpolation(tiny, "cpu")
    new = Interpolation(tmp_path / "better.safetensors", "cpu")
    found = compare_weights(old, new, known[12:], DETECTOR)
    assert found.better and found.after.value < 0.8 * found.before.value
    assert found.gain.value == pytest.approx(found.before.value - found.after.value)
    # They say that they are as unsure as the old ones, whatever a training made of that.
    write_rescaled(tmp_path / "better.safetensors", found, tmp_path / "matched")
    kept = Interpolation(tmp_path / "matched.safetensors", "cpu")
    again = compare_weights(old, kept, known[12:], DETECTOR)
    assert again.unsure == pytest.approx(1.0, abs=1e-4)
    assert again.after == found.after


@pytest.mark.slow
def test_what_is_learned_from_wrong_frames_is_not_kept(tiny: Path, tmp_path: Path) -> None:
    known = examples()
    # As if the structure jumped aside between two frames, and back.
    wrong = [replace(one, measured=np.roll(one.measured, 6, axis=0)) for one in known[:10]]
    card = fine_tune(tiny, wrong, tmp_path / "worse", QUICK)
    assert card["training"]["best_epoch"]  # by the frames it learned from it is better
    worse = Interpolation(tmp_path / "worse.safetensors", "cpu")
    found = compare_weights(Interpolation(tiny, "cpu"), worse, known[12:], DETECTOR)
    assert not found.better and found.after.value > found.before.value


def test_its_loss_looks_through_the_blur_that_errors_are_measured_behind() -> None:
    first, second = np.random.default_rng(3).normal(size=(2, 1, 1, 40, 40)).astype(np.float32)
    wanted = np.mean((smooth(first[0, 0]) - smooth(second[0, 0])) ** 2)
    found = float(of_structure(torch.from_numpy(first), torch.from_numpy(second)))
    assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not real_movies(), reason="the real movies are not beside the project")
def test_the_benchmark_runs(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.bench.tuning._MODEL", tiny)
    found = measure(quick=True, seeds=None)
    (row,) = found.rows
    assert row[0] == "mitosis_C1" and row[1] == 13
    one = found.raw["mitosis_C1"]
    assert one["used"] == one["later"]["after" if one["kept"] else "before"] > 0


@pytest.mark.slow
def test_the_same_weights_are_no_better(tiny: Path) -> None:
    same = Interpolation(tiny, "cpu")
    assert not compare_weights(same, same, examples()[12:], DETECTOR).better


@pytest.mark.slow
def test_too_few_audits_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 audits to learn from; needed are 4"):
        fine_tune(tiny, examples()[:3], tmp_path / "none", QUICK)
    same = Interpolation(tiny, "cpu")
    dark = replace(examples()[0], measured=np.full((40, 40), 100, np.uint16))
    with pytest.raises(ValueError, match="0 audits with a structure to judge by"):
        compare_weights(same, same, [dark, dark], DETECTOR)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="knows no priorities")
def test_it_is_the_last_to_get_a_core(tmp_path: Path) -> None:
    process = TuneProcess(PurePosixPath, tmp_path, "none", "none")  # type: ignore[arg-type]
    assert process.pid is None  # nothing is started before there is something to do
    try:
        with pytest.raises(AttributeError, match="tune"):
            process.tune("flow", [], 1, 60.0)
        assert process.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    finally:
        process.kill()


@pytest.mark.slow
def test_the_run_s_frames_are_read_and_better_weights_left(tiny: Path, tmp_path: Path) -> None:
    frames, _ = drifting(7, 18)
    raw = ImageStore(tmp_path, pixel_size_um=0.02)
    for number, frame in enumerate(frames):
        raw.write(number, frame)
    audits = [AuditTriplet(i, i + 1, i + 2, 0.5) for i in range(16)]
    tuner = Tuner(tmp_path, DETECTOR, 0.02, QUICK)
    done = tuner.tune(str(tiny), audits, 1)
    assert (done.audits, done.learned, done.verdict.audits) == (16, 9, 5)
    assert done.verdict.better and done.file == f"{FOLDER}/tuned-1.safetensors"
    assert done.started_from == Interpolation(tiny, "cpu").weights_hash()
    assert Interpolation(tmp_path / done.file, "cpu").weights_hash() == done.sha256
    with pytest.raises(ValueError, match="audits to learn from"):
        tuner.tune(str(tiny), audits[:8], 2)
    left = {one.name for one in (tmp_path / FOLDER).iterdir()}
    assert left == {"tuned-1.json", "tuned-1.safetensors"}
