"""Objectives that do not come with this package: the example's, by a file and as a package."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import RunConfig, load
from agent.config.objective_section import Objective
from agent.config.own_code import OBJECTIVE, installed
from agent.config.reading import UserError
from agent.optimizer.build import check_engine, filling_trials, make_optimizer
from agent.optimizer.memory import PriorError
from agent.optimizer.objectives import Estimate
from agent.optimizer.objectives.judged import OwnJudge
from agent.optimizer.stedfast import StedfastOptimizer
from agent.plan import AnalysisError, Frame
from agent.record.folder import new_folder
from agent.record.reader import open_run
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from agent.run.trust import read_trusted
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.helpers.own_code import install
from tests.helpers.runs import cut_after, recorded
from tests.helpers.searches import config_data_of_a_run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "peak_signal"
NAME = "peak_signal:peak_signal"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test imports from its folder is not there for the next."""
    place = list(sys.path)
    sys.modules.pop("peak_signal", None)
    yield
    sys.path[:] = place
    sys.modules.pop("peak_signal", None)


def searching(folder: Path, *, also: str = "", **options: Any) -> Path:
    """The file of a search whose objective lies beside it, without a quality network."""
    shutil.copy(EXAMPLE / "peak_signal.py", folder)
    if also:
        with (folder / "peak_signal.py").open("a", encoding="utf-8") as file:
            file.write(also)
    data = config_data_of_a_run()
    data["analysis"] = {"on_error": options.pop("on_error", "stop")}
    search = {"engine": "sobol", "trials": 3, "objective": NAME}
    data["optimize"] |= search | {"peak_signal": {"enough": 5000}} | options
    return faulty.write(folder / "config.yaml", data)


def ran(file: Path, status: str = "completed", cut: int | None = None) -> Path:
    config = load(file)
    folder = new_folder(config, file.parent, file.parent / "run")
    make_plan = None if cut is None else cut_after(cut)
    result = Session(config, file, folder, make_plan=make_plan).run()
    assert result.status == status, result.reason
    return folder


@pytest.mark.slow
def test_a_search_looks_for_it_and_says_so_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(searching(tmp_path))
    sys.modules.pop("peak_signal")

    images = open_run(run)
    table = images.trials()
    sted = [taken.shot for taken in recorded(run).taken.values() if taken.shot["mode"] == "sted"]
    assert len(table["peak_signal"]) == 3 and len(sted) == 5
    for number, value in enumerate(table["peak_signal"]):
        dark, peak = np.percentile(images.raw[3 * number + 1], [25, 99])
        assert value == pytest.approx(peak - dark)
    np.testing.assert_allclose(table["score"], np.clip(table["peak_signal"] / 5000, 0, 1))

    by = "Scored by peak signal: 0 at 0\N{NO-BREAK SPACE}counts, 1 at 5000\N{NO-BREAK SPACE}counts"
    summary = summarize(run)
    assert summary["objective"] == Objective("peak_signal", "counts", 0.0, 5000.0).as_dict()
    assert summary["best"]["measured"]["peak_signal"]["n"] == 1
    code, out, err = cli(capsys, "show", run)
    assert code == 0 and "peak_signal" in out and by[:22] in out, err
    page = tmp_path / "report.html"
    write_report(run, page)
    drawn = page.read_text(encoding="utf-8")
    assert by in drawn and "peak signal (counts)" in drawn
    reader = Reader(run)
    reader.refresh()
    shown = payloads.trials(reader)
    assert shown["objective"]["words"].startswith(by)
    assert "counts (n" in shown["result"]["best"]["measured"]["peak_signal"]
    assert "peak_signal" not in sys.modules, "who only looks at a run needs no code of its plan"

    assert replay(run).difference is None
    code_of = recorded(run).sessions[-1]["code"]["objective"]
    assert code_of["name"] == NAME and len(code_of["sha256"]) == 64


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_objective_and_refuses_another_version(tmp_path: Path) -> None:
    run = ran(searching(tmp_path), "failed", cut=4)
    module = tmp_path / "peak_signal.py"
    was = module.read_text(encoding="utf-8")
    module.write_text(was.replace("peak - background", "2 * peak - background"), encoding="utf-8")
    sys.modules.pop("peak_signal")
    changed = f"code of the objective {NAME} is"
    with pytest.raises(UserError, match=f"{changed}.*--accept-changes"):
        Session(read_trusted(run, trust=False), run / "config.yaml", run).run()
    with pytest.raises(UserError, match=changed):
        replay(run)
    assert len(recorded(run).taken) == 4

    module.write_text(was, encoding="utf-8")
    sys.modules.pop("peak_signal")
    config = read_trusted(run, trust=False)
    result = Session(config, run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert len(recorded(run).notes_on("trial")) == 3 and replay(run).difference is None


def test_what_is_computed_is_what_was_hashed(tmp_path: Path) -> None:
    """A change within a second that keeps the size is a change."""
    file, module = searching(tmp_path), tmp_path / "peak_signal.py"
    was, at = module.read_text(encoding="utf-8"), module.stat()
    load(file)
    now = was.replace("return (0.0, self.enough)", "return (0.0, 2.000000000)")
    module.write_text(now, encoding="utf-8")
    os.utime(module, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert module.stat().st_size == at.st_size and now != was
    sys.modules.pop("peak_signal")
    assert load(file).objective() == Objective("peak_signal", "counts", 0.0, 2.0)


BROKEN = """

def peak_signal(section: PeakSignal, run: RunConfig):
    return lambda before, image, after: 1 / 0 if image.index < 3 else 1.0
"""


def test_what_it_cannot_say_fails_the_trial(tmp_path: Path) -> None:
    notes = recorded(ran(searching(tmp_path, also=BROKEN, on_error="skip"))).notes_on("trial")
    assert notes[0]["objectives"] is None
    assert (
        notes[0]["failed"] == "frame 1: objective peak_signal: ZeroDivisionError: division by zero"
    )
    assert [note["objectives"]["measured"] for note in notes[1:]] == [{"peak_signal": 1.0}] * 2


# ---------------------------------------------------------------------- scores


def frame(index: int, quality: Callable[[], Score] = lambda: Score(0.5, 0.1)) -> Frame:
    return Frame(index, Shot("sted"), {}, np.zeros((4, 4)), 0.0, quality)


@pytest.mark.parametrize(
    ("found", "score", "sd"),
    [
        (200.0, 0.0, 0.0),
        (30, 1.0, 0.0),
        (np.float32(115), 0.5, 0.0),
        (Estimate(115.0, 17.0), 0.5, 0.1),
        (400.0, 0.0, 0.0),
        (1.0, 1.0, 0.0),
    ],
)
def test_less_may_be_better_and_nothing_is_scored_beyond(
    found: Any, score: float, sd: float
) -> None:
    judge = OwnJudge(lambda *frames: found, Objective("width", "nm", 200.0, 30.0))
    judged = judge(*(frame(0),) * 3)
    assert (judged.score, judged.sd) == (pytest.approx(score), pytest.approx(sd))
    value = found.value if isinstance(found, Estimate) else found
    assert judged.measured == {"width": value} and judged.flags == ()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (float("inf"), "found inf; accepted: a finite number"),
        (Estimate(1.0, float("nan")), "accepted: a finite number"),
        ("much", "could not convert string to float: 'much'"),
        (None, "must be a string or a real number"),
    ],
)
def test_what_is_no_number_is_refused(found: Any, said: str) -> None:
    judge = OwnJudge(lambda *frames: found, Objective("width"))
    with pytest.raises(AnalysisError, match=f"frame 7: objective width: .*{said}"):
        judge(*(frame(7),) * 3)


def test_a_frame_without_a_score_is_none_of_its_faults() -> None:
    def fails() -> Score:
        raise AnalysisError("frame 7 (sted) is not scored")

    judge = OwnJudge(lambda before, image, after: image.score, Objective("width"))
    with pytest.raises(AnalysisError, match=r"^frame 7 \(sted\) is not scored$"):
        judge(*(frame(7, fails),) * 3)


# ---------------------------------------------------------------------- config and memory


def test_the_example_is_a_package_whose_objective_a_config_names(tmp_path: Path) -> None:
    version = install(EXAMPLE, tmp_path / "site")
    assert installed(OBJECTIVE) == ["peak_signal"]
    config = load(EXAMPLE / "peak_signal.yaml")
    own = config.own["objective"]
    assert (own.name, own.version) == ("peak_signal", version)
    assert config.objective() == Objective("peak_signal", "counts", 0.0, 600.0)
    assert not config.scores, "no quality network is needed"


def with_quality_memory(folder: Path, *more: str) -> RunConfig:
    shutil.copy(EXAMPLE / "peak_signal.py", folder)
    shutil.copy(ROOT / "configs" / "optimize.yaml", folder)
    return load(folder / "optimize.yaml", [f"optimize.objective={NAME}", *more])


def test_what_is_remembered_of_quality_is_not_used(tmp_path: Path) -> None:
    config = with_quality_memory(tmp_path)
    made = make_optimizer(config)
    assert isinstance(made, StedfastOptimizer) and made.memory_share is None
    assert filling_trials(config) == 5
    with pytest.raises(UserError, match=r"`optimize\.prior`: earlier runs tell of quality"):
        with_quality_memory(tmp_path, "optimize.prior=[somewhere]")


@pytest.mark.slow
def test_a_run_for_something_else_teaches_no_search_for_quality(tmp_path: Path) -> None:
    run = ran(searching(tmp_path))
    prior = [f"optimize.prior=[{run}]", "optimize.engine=stedfast", "optimize.objective=quality"]
    data = config_data_of_a_run()
    file = faulty.write(tmp_path / "quality.yaml", data)
    with pytest.raises(PriorError, match="searched for peak_signal; accepted: runs for quality"):
        make_optimizer(load(file, prior))


@pytest.mark.parametrize(
    ("options", "also", "said"),
    [
        ({"peak_signal": {"enough": 0}}, "", "`optimize.peak_signal.enough`: found 0; .*greater"),
        (
            {"peak_signal": {"enoug": 1}},
            "",
            "`optimize.peak_signal.enoug`: unknown key; .*`enou",
        ),
        (
            {"objective": "peak_signal:PeakSignal"},
            "",
            "`optimize.objective`: .*is no objective; ",
        ),
        ({"objective": "qualty"}, "", "`optimize.objective`: found 'qualty'; .*mean 'quality'"),
        ({}, "\nPeakSignal.scale = lambda self: (1, 1)\n", r"`optimize.peak_signal`: scale: found"),
        ({}, "\nPeakSignal.reads_score = lambda self: True\n", "`analysis.score`: must be true"),
        (
            {"engine": NAME, "objective": NAME},
            "",
            "peak_signal.*is no engine|its section would be that of the engine",
        ),
    ],
)
def test_what_is_wrong_with_an_objective_of_one_s_own_is_said(
    tmp_path: Path, options: dict[str, Any], also: str, said: str
) -> None:
    file = searching(tmp_path, also=also, **options)
    with pytest.raises(UserError, match=said):
        load(file)


def test_an_objective_that_cannot_be_made_is_refused_before_there_is_light(tmp_path: Path) -> None:
    also = "\n\ndef peak_signal(section: PeakSignal, run):\n    return section.nothing\n"
    file = searching(tmp_path, also=also)
    with pytest.raises(UserError, match=r"`optimize.objective`: .*made: AttributeError: .*nothing"):
        check_engine(load(file), file)


@pytest.mark.parametrize(
    "kept", [None, 7, {"worst": 1, "best": 1}, {"unit": 3}, {"worst": "a"}, {"other": 1}]
)
def test_what_a_stranger_writes_of_an_objective_leaves_its_name_alone(kept: Any) -> None:
    assert Objective.kept("width", kept) == Objective("width")
