"""What the interpolation benchmark measures, where the answer is known, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from agent.bench import interpolation as bench
from agent.bench import run_bench
from agent.bench.interpolation import tuning
from agent.bench.interpolation.measures import PERCENTILES, Judge, foreground_of, paired, ranked
from agent.bench.interpolation.methods import BAR, BLURRED, DIS, Told, classical
from agent.bench.interpolation.study import (
    GENERATED,
    JUMPING,
    DroppedFrame,
    StudiedMovie,
    compared,
    gaps,
    mean_of,
    real_movies,
)
from agent.bench.interpolation.verdict import gains, kept, order
from agent.bench.measurement import Absent, Check, Measurement
from models.interpolation import build
from models.interpolation import weights as interpolation_weights
from models.interpolation.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = {
    "mitosis_C1": {"repeat": (31.12, 0.813), "linear": (33.16, 0.854), "DIS": (33.87, 0.877)},
    "mitocheck_h2b": {"repeat": (24.01, 0.893), "linear": (25.98, 0.914), "DIS": (26.44, 0.932)},
    "golgi_bfa": {"repeat": (31.56, 0.891), "linear": (33.22, 0.914), "DIS": (34.16, 0.922)},
}
FARNEBACK = {"mitosis_C1": 33.47, "mitocheck_h2b": 26.32, "golgi_bfa": 34.07}
"""PSNR and SSIM of others' script, every second frame dropped (shared/data/README.md)."""


def drifting(frames: int = 9, noise: float = 2.0) -> StudiedMovie:
    """Blobs that move by three pixels a frame, and the same with noise."""
    rng = np.random.default_rng(3)
    still = gaussian_filter(rng.random((64, 64)) ** 8, 2.5, mode="wrap")
    still *= 200 / still.max()
    truth = np.stack([shift(still, (0, 3 * t), order=3, mode="grid-wrap") for t in range(frames)])
    measured = truth + noise * rng.standard_normal(truth.shape)
    return StudiedMovie("drifting", False, measured.astype(np.float32), truth.astype(np.float32))


def test_dropped_frames_have_a_kept_one_on_either_side() -> None:
    assert gaps(6, 2) == [DroppedFrame(0, 1, 2), DroppedFrame(2, 3, 4)]
    assert [gap.t for gap in gaps(6, 4)] == [0.25, 0.5, 0.75]
    assert gaps(4, 4) == []


def test_a_frame_is_judged_at_the_movies_contrast() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 10, (5, 40, 40))
    judge, everywhere = Judge(truth), np.ones((40, 40), bool)
    perfect = judge.score(truth[2], truth[2], everywhere)
    assert perfect.psnr == 100 and perfect.ssim == pytest.approx(1) and perfect.rmse == 0
    flat = np.full((40, 40), 100.0)
    tenth = judge.score(flat + judge.span / 10, flat, everywhere)
    assert tenth.psnr == pytest.approx(20) and tenth.foreground_psnr == pytest.approx(20)
    assert tenth.rmse == pytest.approx(0.1)
    other = Judge(7 * truth - 3)
    again = other.score(7 * (flat + judge.span / 10) - 3, 7 * flat - 3, everywhere)
    assert again.psnr == pytest.approx(tenth.psnr) and again.intensity == pytest.approx(
        tenth.intensity
    )
    hot = truth[2].copy()
    hot[3, 3] = 1e9
    assert judge.score(hot, truth[2], everywhere).psnr > 25, "no hot pixel decides"


def test_intensity_is_that_of_what_is_bright() -> None:
    truth = np.zeros((3, 32, 32))
    truth[:, 8:16, 8:16] = 50
    judge, mask = Judge(truth), foreground_of(list(truth))
    assert mask[10:14, 10:14].all() and not mask[24:, 24:].any()
    assert judge.score(0.9 * truth[1], truth[1], mask).intensity == pytest.approx(0.9)


def test_the_foreground_is_not_chosen_by_the_truths_noise() -> None:
    rng = np.random.default_rng(1)
    clean = np.zeros((64, 64))
    clean[16:48, 16:48] = 10
    noisy = clean + rng.normal(0, 5, (3, 64, 64))
    judge = Judge(noisy)
    # The clean frame is as bright as the noisy one, and must be found so.
    found = judge.score(clean, noisy[1], foreground_of(list(noisy))).intensity
    assert found == pytest.approx(1, abs=0.02)


def test_methods_get_the_frames_as_they_were_measured() -> None:
    movie, seen = drifting(5, noise=20.0), []

    def spy(before: NDArray[Any], after: NDArray[Any], t: float) -> Told:
        seen.append((before, after))
        return Told((before + after) / 2)

    compared(movie, {"spy": spy}, 2)
    for (before, after), gap in zip(seen, gaps(5, 2), strict=True):
        np.testing.assert_array_equal(before, movie.frames[gap.before])
        np.testing.assert_array_equal(after, movie.frames[gap.after])


@pytest.mark.parametrize("by", [(0.0, 0.0), (2.0, -3.0), (1.4, 0.3), (-2.6, 2.2)])
def test_a_frame_is_judged_again_where_its_stage_was(by: tuple[float, float]) -> None:
    # Dark at its edges, over which nothing comes in.
    truth = drifting(1).truth * np.outer(*2 * [np.hanning(64) ** 0.5])
    judge, everywhere = Judge(truth), np.ones(truth.shape[1:], bool)
    moved = shift(truth[0], by, order=3)
    score = judge.score(moved, truth[0], everywhere)
    assert score.aligned_psnr > 33 and score.aligned_psnr >= score.psnr
    if any(by):
        assert score.aligned_psnr > score.psnr + 8
    far = judge.score(shift(truth[0], (9, 0), mode="grid-wrap"), truth[0], everywhere)
    assert far.aligned_psnr < 30, "no farther than three pixels"


def test_the_share_of_pixels_in_their_interval_is_counted() -> None:
    movie = drifting(5, noise=0.0)
    rng = np.random.default_rng(2)

    def told(factor: float) -> Any:
        def method(before: NDArray[Any], after: NDArray[Any], t: float) -> Told:
            true = next(
                movie.truth[gap.target]
                for gap in gaps(5, 2)
                if np.array_equal(before, movie.frames[gap.before])
            )
            error = rng.laplace(0, 3 / np.sqrt(2), true.shape)
            return Told(true + error, np.full(true.shape, 3.0 * factor))

        return method

    rows = compared(movie, {"right": told(1), "too sure": told(0.3)}, 2)
    assert mean_of(rows["right"], "covered") == pytest.approx(0.9, abs=0.01)
    assert mean_of(rows["too sure"], "covered") < 0.55


def test_the_bar_is_optical_flow_behind_a_fixed_blur() -> None:
    pytest.importorskip("cv2")
    movie = drifting(5)
    methods = classical(Judge(movie.truth))
    pair = movie.frames[0], movie.frames[2]
    expected = gaussian_filter(methods[DIS](*pair, 0.5).image, 0.8)
    np.testing.assert_array_equal(methods[BAR](*pair, 0.5).image, expected)


def test_checks_that_could_not_be_made_are_counted() -> None:
    row = {"psnr": 30.0, "intensity": 1.0, "sd": 0.1, "rmse": 0.1, "pixels": 0.7, "covered": 0.9}
    methods = {name: [row] for name in ("linear", BLURRED, "flow")}
    groups = {GENERATED: ["a"], JUMPING: ["b"], "golgi_bfa": []}
    found = {"a": methods, "b": methods}
    names = ["flow"]
    verdict = [*order(found, groups, names, 2), *kept(found, groups, names), *gains({}, names)]
    absent = [one for one in verdict if isinstance(one, Absent)]
    why = {one.why.split(" (")[0] for one in absent}
    assert why == {"OpenCV is not installed", "no real movies"}
    with_bars = {**methods, DIS: [row], BAR: [row]}
    groups["golgi_bfa"] = ["c"]
    found = dict.fromkeys("abc", with_bars)
    tuning = {"flow": {"c": {"rows": {"before": [row], "after": [row]}}}}
    complete = [
        *order(found, groups, names, 2),
        *kept(found, groups, names),
        *gains(tuning, names),
    ]
    assert [one.name for one in complete] == [one.name for one in verdict], "none is forgotten"
    assert all(isinstance(one, Check) for one in complete)
    made = [one for one in verdict if isinstance(one, Check)]
    told = Measurement((), (), made, left_out=absent).summary()
    assert f"left out: {len(absent)} checks (" in told and "no real movies" in told


def test_ranks_and_pairs() -> None:
    assert ranked([1, 2, 3, 4], [2, 4, 6, 9]) == pytest.approx(1)
    assert np.isnan(ranked([1, 1, 1, 1], [1, 2, 3, 4]))
    better = paired(np.arange(10.0) + 1, np.arange(10.0))
    assert better["mean"] == 1 and better["higher"] == 1 and better["p"] < 0.01


def test_what_follows_motion_is_nearer_than_a_blend() -> None:
    movie = drifting()

    def knows(before: NDArray[Any], after: NDArray[Any], t: float) -> Told:
        """Moves both frames the right way, and says so."""
        moved = (1 - t) * shift(before, (0, 6 * t), mode="grid-wrap")
        moved = moved + t * shift(after, (0, 6 * t - 6), mode="grid-wrap")
        return Told(moved, 1 + np.abs(after - before))

    rows = compared(movie, {"knows": knows}, 2)
    psnr = {name: mean_of(own, "psnr") for name, own in rows.items()}
    assert len(rows["knows"]) == 4
    assert psnr["repeat"] < psnr["linear"] <= psnr[BLURRED] < psnr["knows"] - 3
    assert {"sd", "pixels"} <= set(rows["knows"][0]) and "sd" not in rows["linear"][0]
    for flow in {"Farneback", "DIS"} & set(psnr):
        assert psnr[flow] > psnr["linear"] + 1


@pytest.mark.slow
@pytest.mark.skipif(not real_movies(), reason="the real movies are not here")
def test_the_metric_is_the_one_that_the_bars_were_measured_with() -> None:
    for movie in real_movies():
        judge, rows = Judge(movie.truth), {}
        # That script clipped what it gave the methods, too.
        clipped = np.clip(movie.frames, *np.percentile(movie.frames, PERCENTILES))
        for name, method in classical(judge).items():
            rows[name] = [
                judge.score(
                    method(clipped[gap.before], clipped[gap.after], gap.t).image,
                    movie.truth[gap.target],
                    np.ones(movie.truth.shape[1:], bool),
                )
                for gap in gaps(len(movie.frames), 2)
            ]
        expected = REFERENCE[movie.name] | {"Farneback": (FARNEBACK[movie.name], None)}
        for name, (psnr, ssim) in expected.items():
            if name in rows:
                assert np.mean([row.psnr for row in rows[name]]) == pytest.approx(psnr, abs=0.1)
            if name in rows and ssim is not None:
                assert np.mean([row.ssim for row in rows[name]]) == pytest.approx(ssim, abs=0.002)


@pytest.mark.slow
def test_it_runs_and_says_what_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    network = build({"network": "flow", "widths": [4, 6], "hidden": 8, "synthesis": [4, 6]})
    card = {
        "architecture": network.architecture,
        "normalization": {"low": 1.0, "high": 99.8},
        "calibration": {"one_way": 1.0, "both_ways": 1.0},
    }
    save(tmp_path / "shipped" / "flow", network, card)
    for module in (interpolation_weights, tuning):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "shipped")
    moved = drifting(14)
    real = StudiedMovie("real", True, moved.frames, moved.frames)
    monkeypatch.setattr(bench, "real_movies", lambda: [real])
    keep = tmp_path / "keep"
    run_bench("interpolation", quick=True, seeds=None, as_json=True, keep=keep)
    told = json.loads(capsys.readouterr().out)
    assert {"zs", "dain"} <= set(told["raw"]["left_out"])
    assert set(told["raw"]["every_second"]) == {
        *(f"{group} 0000{number}" for group in (GENERATED, JUMPING) for number in range(2)),
        "real",
    }
    assert {one["why"] for one in told["left_out"]} >= {"no GPU"} or torch.cuda.is_available()
    flow = told["raw"]["every_second"]["real"]["flow"]
    assert len(flow) == 6 and all(row["psnr"] > 5 for row in flow)
    assert set(told["raw"]["tuning"]["flow"]["real"]["rows"]) == {"before", "after"}
    names = [check["name"] for check in told["checks"]]
    assert "flow: gained by fine-tuning, second halves, least" in names
    assert any("real: flow, fitted − best of linear and blurred blend" in name for name in names)
    weights = keep / "finetuned" / "real-flow.safetensors"
    made = weights.stat().st_mtime_ns
    tuning.tuned(keep / "finetuned", real, "flow", quick=True)
    assert weights.stat().st_mtime_ns == made, "what was trained is not trained again"
