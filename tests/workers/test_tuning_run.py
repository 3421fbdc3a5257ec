"""A time-lapse whose interpolator is tuned beside it: nothing waits, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig
from agent.plan import Plan, Rebuild
from agent.plans.adaptive.frame_noise import PHOTONS
from agent.plans.build import build_plan
from agent.record.folder import new_folder, read_config
from agent.record.images import ImageStore
from agent.record.summary import summarize
from agent.run import Result, Session
from agent.run.replay import replay
from agent.ui.report import write_report
from agent.workers import tune_process
from agent.workers.rebuild_process import RebuildProcess, Weights, open_interpolation
from devices.shot import Shot
from models.interpolation.weights import read_interpolator, save
from tests.doubles.drifting import drifting, train_tiny, write_movies
from tests.doubles.tuners import Pretends
from tests.faulty import cli
from tests.helpers.runs import entries, frames_in, recorded, until
from tests.plans.test_lapse_run import CONFIG, config

POINTS = 19
# So small a bound that every time point is taken, and compared.
ASKED = {
    "timelapse__error": 0.001,
    "timelapse__frames": POINTS,
    "timelapse__tune": True,
    "microscope__virtual_sted__width_px": 32,
    "microscope__virtual_sted__height_px": 32,
    # Without depletion a simulated frame takes no time, and nothing here depends on it.
    "microscope__settings__depletion_power__start": 0,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    return train_tiny(write_movies(folder), folder / "tiny")


@pytest.fixture(scope="module", autouse=True)
def awake() -> Iterator[None]:
    """Beside other tests a process of the lowest priority would hardly advance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune_process, "LOWEST", 0)
        yield


def lapse(
    folder: Path,
    tiny: Path,
    tuner: Pretends,
    make_plan: Callable[[RunConfig, Path], Plan] | None = None,
) -> tuple[Result, Path]:
    asked = config(**ASKED, timelapse__model=str(tiny))
    run = new_folder(asked, folder, folder / "run")
    plan = None if make_plan is None else (lambda found: make_plan(found, run))
    session = Session(asked, CONFIG, run, tuner=tuner, make_plan=plan)
    session.progress.of.asked = POINTS
    return session.run(), run


def by_hand(asked: RunConfig) -> Plan:
    """The config's plan: one that waits has to be named when its run is continued."""
    return build_plan(asked)


def resumed(
    run: Path, tuner: Pretends, make_plan: Callable[[RunConfig, Path], Plan] | None = None
) -> Result:
    plan = by_hand if make_plan is None else (lambda found: make_plan(found, run))
    again = Session(read_config(run), run / "config.yaml", run, tuner=tuner, make_plan=plan)
    again.progress.of.asked = POINTS
    return again.run()


def waiting(
    kind: Any, at: int, cut: int | None = None, many: int = 1
) -> Callable[[RunConfig, Path], Plan]:
    """The config's plan, which after some frames waits for entries in the ledger."""

    def plan(asked: RunConfig, run: Path) -> Plan:
        steps, answer, count = build_plan(asked), None, 0
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Shot):
                if count == at:
                    until(lambda: entries(run, kind) >= many, 60)
                if count == cut:
                    raise RuntimeError("power cut")
                count += 1
            answer = yield step

    return plan


def weights_of(run: Path) -> list[str]:
    return [row["weights"] for _, row in sorted(recorded(run).rebuilt.items())]


@pytest.fixture(scope="module")
def cut(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was cut off after it had adopted weights; not to be changed."""
    folder = tmp_path_factory.mktemp("cut")
    result, run = lapse(folder, tiny, Pretends(), waiting("tuned", 15, cut=16))
    assert result.status == "failed" and "power cut" in result.reason and result.safe
    return run


@pytest.mark.process
@pytest.mark.slow
def test_better_weights_rebuild_what_comes_later(cut: Path, tiny: Path) -> None:
    (row,) = recorded(cut).tuned
    assert row["kept"] and row["audits"] >= 12
    before = read_interpolator(tiny).card["weights_sha256"]
    assert row["started_from"] == before != row["sha256"]
    assert read_interpolator(cut / row["file"]).card["weights_sha256"] == row["sha256"]
    used = weights_of(cut)
    assert used[0] == before and used[-1] == row["sha256"]
    assert used == sorted(used, key=used.index)  # it is swapped once
    assert not [fault for fault in recorded(cut).faults if fault.get("part") == "tune"]


@pytest.mark.process
@pytest.mark.slow
def test_a_replay_needs_neither_weights_nor_tuner(cut: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    shutil.rmtree(run / "interpolator")
    found = replay(run, by_hand)
    assert found.difference is None and found.frames == 16


@pytest.mark.process
@pytest.mark.slow
def test_a_resumed_run_goes_on_with_them(
    cut: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    before = len(weights_of(run))
    result = resumed(run, Pretends(seconds=1000))  # nobody waits for that
    assert result.status == "completed", result.reason
    assert len(frames_in(run)) == POINTS
    assert not recorded(run).faults[1:]  # the first one is the power cut
    (row,) = recorded(run).tuned
    assert set(weights_of(run)[before:]) == {row["sha256"]}
    assert replay(run, by_hand).difference is None
    told = summarize(run)["lapse"]["tuned"]
    assert (told["attempts"], told["kept"], told["error"]) == (1, 1, [0.2, 0.1])
    _, out, _ = cli(capsys, "show", run)
    said = "tuned      1 time, 1 kept; error of the 4 audits that judged 0.200 → 0.100"
    assert f"{said} ({row['sha256'][:12]}…)" in out
    write_report(run, tmp_path / "report.html")
    assert "tuned once to audits of this run" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.process
@pytest.mark.slow
def test_damaged_weights_and_a_tuner_that_dies_are_faults_and_the_run_goes_on(
    cut: Path, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    (row,) = recorded(run).tuned
    for ending in (".safetensors", ".json"):
        shutil.copy(tiny.with_suffix(ending), (run / row["file"]).with_suffix(ending))
    before = len(weights_of(run))
    # The power cut is a fault as well.
    result = resumed(run, Pretends(dies=True), waiting("fault", POINTS - 1, many=3))
    assert result.status == "completed", result.reason
    faults = recorded(run).faults
    assert {(fault["policy"], fault["part"]) for fault in faults[-2:]} == {("go on", "tune")}
    assert "the ledger says" in faults[-2]["what"]
    assert "fine-tuning the interpolator failed: its process ended" in faults[-1]["what"]
    assert len(frames_in(run)) == POINTS
    assert set(weights_of(run)[before:]) == {row["started_from"]}
    assert replay(run, by_hand).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_a_rebuilding_process_that_is_started_again_has_them_too(
    tiny: Path, tmp_path: Path
) -> None:
    raw = ImageStore(tmp_path, pixel_size_um=0.02)
    for number, frame in enumerate(drifting(1, 3)[0]):
        raw.write(number, frame)
    found = read_interpolator(tiny)
    for part in found.network.parameters():
        part.data *= 1.0001
    other = save(tmp_path / "other", found.network, found.card)
    made = partial(open_interpolation, str(tiny), "cpu")
    process = RebuildProcess(made, tmp_path, [0], 3, PHOTONS, pixel_size_um=0.02)
    request = Rebuild(0, (0, 0), (2, 2), points=(1,))
    try:
        sha256 = found.card["weights_sha256"]
        assert process.rebuild(request, 60.0).weights == process.weights_hash != sha256
        process.adopt(Weights(other, sha256), 60.0)
        with pytest.raises(ValueError, match="the ledger says 0123"):
            process.adopt(Weights(other, "0123"), 60.0)
        process.kill()
        assert process.rebuild(request, 60.0).weights == sha256
    finally:
        process.close()


@pytest.mark.parametrize("acquire", ["skip", "every"])
def test_nothing_to_learn_from_is_said(acquire: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"timelapse.acquire={acquire}", "timelapse.tune=true"]
    asked = [part for word in words for part in ("--set", word)]
    code, _, err = cli(capsys, "check", CONFIG, *asked)
    assert code == 2 and "Traceback" not in err
    for part in ("timelapse.yaml", "`timelapse.tune`: true", f"acquire: {acquire}", "adaptive"):
        assert part in " ".join(err.split())


def test_tune_is_true_or_false(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = cli(capsys, "check", CONFIG, "--set", f"timelapse.tune={json.dumps('often')}")
    assert code == 2 and "`timelapse.tune`" in err and "'often'" in err
