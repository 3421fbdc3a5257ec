"""Plans that do not come with this package: the example's, by a file and as a package."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from agent.config import load
from agent.config.own_code import PLAN, installed
from agent.config.reading import UserError
from agent.optimizer.baselines import RandomSearch
from agent.optimizer.space import Space
from agent.record.folder import new_folder, read_config
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from agent.run.trust import read_trusted
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from agent.workers.checks import check_interpolator
from tests import faulty
from tests.faulty import cli
from tests.helpers.own_code import ENGINE, FILTER, INTERPOLATOR, install
from tests.helpers.runs import cut_after, mean_score, recorded
from tests.helpers.searches import config_data_of_a_run

EXAMPLE = Path(__file__).parents[2] / "examples" / "focus_series"
SECTION = {"from_um": -1.0, "to_um": 1.0, "frames": 3}
# Whoever imports this leaves a trace.
EVIL = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test imports from its folder is not there for the next."""
    place = list(sys.path)
    for name in ("focus_series", "later", "times", "fade"):
        sys.modules.pop(name, None)
    yield
    sys.path[:] = place
    for name in ("focus_series", "later", "times", "fade"):
        sys.modules.pop(name, None)


def config_data(**parts: Any) -> dict[str, Any]:
    data = faulty.config(
        plan="focus_series:focus_series",
        focus_series=SECTION,
        analysis={"score": True},
        microscope={"stage_limits": {"z_um": [-5, 5]}},
    )
    del data["live"]
    data["microscope"]["python_devices"]["Focus"] = faulty.device("Focus")
    return data | parts


def beside(folder: Path, **parts: Any) -> Path:
    """The file of a config that the example's plan lies beside."""
    folder.mkdir(exist_ok=True)
    shutil.copy(EXAMPLE / "focus_series.py", folder)
    return faulty.write(folder / "config.yaml", config_data(**parts))


def ran(file: Path, *, cut: int | None = None, overrides: tuple[str, ...] = ()) -> Path:
    """A run of a config, ended by an exception after some frames."""
    config = load(file, overrides)
    folder = new_folder(config, file.parent, file.parent / "run")
    make_plan = None if cut is None else cut_after(cut)
    result = Session(config, file, folder, make_plan=make_plan, scorer=mean_score).run()
    assert result.status == ("completed" if cut is None else "failed"), result.reason
    return folder


def resumed(run: Path, **options: Any) -> str:
    config = read_trusted(run, trust=False)
    return Session(config, run / "config.yaml", run, scorer=mean_score, **options).run().status


@pytest.fixture
def installed_example(tmp_path: Path) -> str:
    """The example's package, as an installer would make it known; its version."""
    return install(EXAMPLE, tmp_path / "site")


# ---------------------------------------------------------------------- a run


@pytest.mark.slow
def test_a_plan_beside_its_config_is_run_shown_drawn_and_replayed(tmp_path: Path) -> None:
    run = ran(beside(tmp_path))
    sys.modules.pop("focus_series")

    assert summarize(run)["frames"] == {
        "planned": 3,
        "acquired": 3,
        "skipped": 0,
        "reconstructed": 0,
    }
    page = tmp_path / "report.html"
    write_report(run, page)
    drawn = page.read_text(encoding="utf-8")
    assert "Noted by the plan" in drawn and "best focus" in drawn and "z_um" in drawn
    reader = Reader(run)
    reader.refresh()
    assert payloads.state(reader)["planned"] == 3
    log = [line["words"] for line in payloads.log(reader)]
    assert any(line.startswith("best focus: z_um") for line in log), log
    assert "focus_series" not in sys.modules, "who only looks at a run needs no code of its plan"

    found = replay(run)
    assert found.difference is None and (found.frames, found.notes) == (3, 4)
    code = recorded(run).sessions[-1]["code"]["plan"]
    assert code["name"] == "focus_series:focus_series" and len(code["sha256"]) == 64


@pytest.mark.process
@pytest.mark.slow
def test_a_run_goes_on_with_its_own_plan_and_refuses_another_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(beside(tmp_path), cut=1)
    module = tmp_path / "focus_series.py"
    was = module.read_text(encoding="utf-8")
    module.write_text(was.replace("max(scores)", "min(scores)"), encoding="utf-8")
    sys.modules.pop("focus_series")
    changed = "code of the plan focus_series:focus_series is"
    with pytest.raises(UserError, match=f"{changed}.*--accept-changes"):
        resumed(run)
    code, _, err = cli(capsys, "replay", run)
    assert code == 2 and changed in err, err
    assert len(recorded(run).taken) == 1 and len(recorded(run).sessions) == 1

    with pytest.raises(UserError, match="not loaded"):
        Session(read_config(run), run / "config.yaml", run)

    assert resumed(run, accept_changes=True) == "completed"
    module.write_text(was, encoding="utf-8")
    sys.modules.pop("focus_series")
    with pytest.raises(UserError, match="code of the plan"):
        replay(run)


@pytest.mark.slow
def test_a_plan_that_a_strangers_run_names_is_not_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(beside(tmp_path / "theirs"), cut=1)
    came = tmp_path / "came"
    shutil.copytree(run, came)
    (came / "focus_series.py").write_text(EVIL, encoding="utf-8")
    text = (came / "config.yaml").read_text(encoding="utf-8")
    text = text.replace(f"modules: {tmp_path / 'theirs'}", f"modules: {came}")
    (came / "config.yaml").write_text(text, encoding="utf-8")
    sys.modules.pop("focus_series")
    for command in ("show", "report"):
        code, _, err = cli(capsys, command, came)
        assert code == 0, err
    reader = Reader(came)
    reader.refresh()
    assert payloads.state(reader)["plan"] == "focus_series:focus_series"
    with pytest.raises(UserError, match="--trust"):
        replay(came)
    for command in ("resume", "replay"):
        code, _, err = cli(capsys, command, came)
        assert code == 2 and "focus_series:focus_series" in err and "--trust" in err, err
    assert not (came / "imported").exists() and "focus_series" not in sys.modules

    code, _, err = cli(capsys, "replay", came, "--trust")
    assert code == 2 and "no 'focus_series' in focus_series" in err, err
    assert (came / "imported").exists(), "trusted, so imported"


# ---------------------------------------------------------------------- what it can be told


@pytest.mark.slow
def test_a_plan_of_one_s_own_is_told_the_settings_that_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ran(beside(tmp_path), cut=1)
    sys.modules.pop("focus_series")
    for told, said in (
        ("depletion_powr=40", "did you mean `depletion_power`"),
        ("depletion_power=400", "accepted: a number within 0 … 300 mW, or free"),
        ("trials=3", "`trials`: unknown key; accepted: excitation_power, depletion_power"),
    ):
        code, _, err = cli(capsys, "tell", run, told)
        assert code == 2 and said in err, err
    code, _, err = cli(capsys, "tell", run, "depletion_power=40")
    assert code == 0 and "when the run is resumed" in err, err
    assert "focus_series" not in sys.modules, "who tells a run something needs no code of its plan"

    assert resumed(run) == "completed"
    sys.modules.pop("focus_series")
    recording = recorded(run)
    powers = [taken.shot["settings"]["depletion_power"] for taken in recording.taken.values()]
    assert powers == [100, 40, 40]
    assert [note["value"] for note in recording.notes_on("told")] == [40]
    reader = Reader(run)
    reader.refresh()
    shown = {one["name"]: one for one in payloads.settings(reader)["settings"]}
    assert shown["depletion_power"]["edges"] == [0, 300]
    assert shown["depletion_power"]["told"] == 40 and shown["excitation_power"]["told"] is None
    assert "focus_series" not in sys.modules
    assert replay(run).difference is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("{'depletion_powr': (0, 1)}", "may be told 'depletion_powr': unknown setting; .*mean `d"),
        ("{'depletion_power': (0, 400)}", r"may be told `depletion_power`: found \(0, 400\); acc"),
        ("{'depletion_power': (9, 4)}", r"accepted: \[0.0, 300.0\], or a part of it"),
    ],
)
def test_a_plan_that_says_what_cannot_be_sent_is_refused(
    tmp_path: Path, answer: str, said: str
) -> None:
    file = beside(tmp_path)
    module = tmp_path / "focus_series.py"
    lines = [
        f"FocusSeries.adjustable = lambda self, scope: list({answer})",
        f"FocusSeries.edges = lambda self, scope, name: dict({answer})[name]",
    ]
    module.write_text("\n".join([module.read_text(encoding="utf-8"), *lines]), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load(file)


@pytest.mark.parametrize(
    "kept", [None, 7, {"nothing": [0, 1]}, {"depletion_power": [0, 1e9]}, {"depletion_power": "0"}]
)
def test_what_a_stranger_writes_of_a_plan_widens_no_limit(tmp_path: Path, kept: Any) -> None:
    data = config_data(provenance={"own": {"plan": "focus_series:focus_series"}})
    data["provenance"]["adjustable"] = {"excitation_power": [1, 2]}
    file = faulty.write(tmp_path / "config.yaml", data)
    assert load(file, code=False).adjustable() == ["excitation_power"]
    data["provenance"]["adjustable"] = kept
    assert load(faulty.write(file, data), code=False).adjustable() == []


@pytest.mark.parametrize("name", ["a:own", "a:copy", "a:model_dump", "a:__class__", "../a:b"])
def test_a_strangers_plan_cannot_take_the_name_of_a_part_of_the_config(
    tmp_path: Path, name: str
) -> None:
    section = {name.rpartition(":")[2]: {"planned_frames": 3}}
    file = faulty.write(tmp_path / "config.yaml", faulty.config(plan=name, **section))
    with pytest.raises(UserError, match=r"another part of the config|unknown key"):
        load(file, code=False)


# ---------------------------------------------------------------------- an installed package


@pytest.mark.slow
def test_the_example_is_a_package_whose_plan_a_config_names(
    installed_example: str, tmp_path: Path
) -> None:
    assert installed(PLAN) == ["focus_series"]
    file = tmp_path / "focus_series.yaml"
    shutil.copy(EXAMPLE / "focus_series.yaml", file)
    scope = "microscope.virtual_sted"
    small = ("focus_series.frames=2", f"{scope}.width_px=32", f"{scope}.height_px=32")
    run = ran(file, overrides=small)
    code = recorded(run).sessions[-1]["code"]["plan"]
    assert (code["name"], code["version"]) == ("focus_series", installed_example)
    assert replay(run).difference is None

    # Where the package is not installed, the run can still be looked at.
    sys.path.remove(str(tmp_path / "site"))
    assert installed(PLAN) == []
    assert summarize(run)["plan"] == "focus_series"
    with pytest.raises(UserError, match="`plan`: found 'focus_series'; accepted: live"):
        load(file)


# ---------------------------------------------------------------------- an engine


def searching(folder: Path, **options: Any) -> Path:
    """The file of a search with an engine that lies beside it."""
    (folder / "later.py").write_text(ENGINE, encoding="utf-8")
    data = config_data_of_a_run()
    data["optimize"] |= {"engine": "later:later", "trials": 3, **options}
    return faulty.write(folder / "config.yaml", data)


@pytest.mark.slow
def test_an_engine_of_one_s_own_searches_and_is_named_in_the_ledger(tmp_path: Path) -> None:
    run = ran(searching(tmp_path, later={"shift": 3}))
    note = recorded(run).notes_on("trial")[0]
    config = load(tmp_path / "config.yaml")
    tuned = {name: config.microscope.settings[name] for name in config.tuned()}
    space = Space(tuned, config.optimize.search)
    assert note["settings"] == RandomSearch(space, bleaching_limit=0.2, seed=3).ask()
    code = recorded(run).sessions[-1]["code"]
    assert code["engine"]["name"] == "later:later" and "plan" not in code
    assert summarize(run)["plan"] == "optimize"
    assert replay(run).difference is None

    (tmp_path / "later.py").write_text(ENGINE + "# changed", encoding="utf-8")
    with pytest.raises(UserError, match="code of the engine later:later is"):
        replay(run)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"later": {"shift": -1}},
            "`optimize.later.shift`: found -1; .*greater than or equal",
        ),
        ({"later": {"shft": 1}}, "`optimize.later.shft`: unknown key; .*mean `shift`"),
        ({"engine": "later:Later"}, "`optimize.engine`: 'later:Later' is no engine; accepted: a"),
        ({"engine": "soboll"}, "`optimize.engine`: found 'soboll'; .*mean 'sobol'"),
    ],
)
def test_what_is_wrong_with_an_engine_of_one_s_own_is_said(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        load(searching(tmp_path, **options))


# ---------------------------------------------------------------------- a filter


@pytest.mark.slow
def test_a_filter_of_one_s_own_works_in_its_process(tmp_path: Path) -> None:
    (tmp_path / "times.py").write_text(FILTER, encoding="utf-8")
    asked = {"model": "times:times", "frames": "all", "times": {"factor": 3.0}}
    data = faulty.config(live={"frames": 2}, filter=asked)
    run = ran(faulty.write(tmp_path / "config.yaml", data))
    raw, filtered = (zarr.open(run / f"{kind}.ome.zarr")["0"] for kind in ("raw", "filtered"))
    assert np.array_equal(np.asarray(filtered)[0].squeeze()[0], 3.0 * np.asarray(raw)[0].squeeze())
    session = recorded(run).sessions[-1]
    assert session["code"]["filter"]["name"] == "times:times"
    assert session["weights"]["filter"].endswith("3")

    sys.modules.pop("times")
    assert summarize(run)["filtered"]["frames"] == 2
    assert replay(run).difference is None
    assert "times" not in sys.modules, "what the filter gave is in the ledger"

    data["filter"] = asked | {"times": {"factor": 0}}
    with pytest.raises(UserError, match=r"`filter.times.factor`: found 0; .*greater than 0"):
        load(faulty.write(tmp_path / "wrong.yaml", data))


# ---------------------------------------------------------------------- an interpolator


def skipping(folder: Path, **options: Any) -> Path:
    """The file of a time-lapse whose interpolator lies beside it."""
    (folder / "fade.py").write_text(INTERPOLATOR, encoding="utf-8")
    lapse = {"frames": 7, "interval_s": 0, "acquire": "skip", "gap": 3, "model": "fade:fade"}
    data = faulty.config(plan="timelapse", timelapse=lapse | options)
    del data["live"]
    return faulty.write(folder / "config.yaml", data)


@pytest.mark.slow
def test_an_interpolator_of_one_s_own_rebuilds_in_its_process(tmp_path: Path) -> None:
    run = ran(skipping(tmp_path, drift="off", fade={"sharpness": 2.0}))
    raw, made = (
        np.asarray(zarr.open(run / f"{kind}.ome.zarr")["0"]) for kind in ("raw", "reconstructed")
    )
    first, second = raw[0].astype(float), raw[1].astype(float)
    np.testing.assert_allclose(made[1, 0], (4 * first + second) / 5, atol=0.51)
    session = recorded(run).sessions[-1]
    assert session["code"]["interpolator"]["name"] == "fade:fade"
    assert session["weights"]["interpolator"].endswith("2")

    sys.modules.pop("fade", None)
    assert summarize(run)["frames"]["reconstructed"] == 4
    assert replay(run).difference is None
    assert "fade" not in sys.modules, "what the interpolator gave is in the ledger"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fade": {"sharpness": 0}}, "`timelapse.fade.sharpness`: found 0; .*greater than 0"),
        ({"model": "fade:Fade"}, "`timelapse.model`: 'fade:Fade' is no interpolator; accepted: a"),
        ({"tune": True, "acquire": "adaptive"}, "`timelapse.tune`: found True; accepted: false: "),
    ],
)
def test_what_is_wrong_with_an_interpolator_of_one_s_own_is_said(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    file = skipping(tmp_path, **options)
    with pytest.raises(UserError, match=said):
        check_interpolator(load(file), file)


# ---------------------------------------------------------------------- configs that are wrong

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"focus_series": {"from_um": 0}}, ["`focus_series.to_um`: missing; last focus position"]),
    (
        {"focus_series": SECTION | {"frame": 3}},
        ["`focus_series.frame`", "accepted: from_um, to_um, frames, field; did you mean `frames`?"],
    ),
    (
        {"focus_series": SECTION | {"frames": 1}},
        ["`focus_series.frames`: found 1", "greater than or equal to 2 (focus positions, evenly"],
    ),
    ({"focus_series": SECTION | {"field": 4}}, ["`focus_series.field`: 4, but", "has 4"]),
    ({"focus_series": SECTION | {"to_um": 9}}, ["`focus_series.to_um`: z = 9 µm is outside"]),
    ({"focus_serie": SECTION}, ["`focus_serie`", "did you mean `focus_series`?"]),
    ({"analysis": {"score": False}}, ["`analysis.score`: must be true"]),
    ({"plan": "focus:series"}, ["`plan`: 'focus:series' cannot be imported", "looked for in"]),
    ({"plan": "focus_series:focus_serie"}, ["`plan`", "did you mean 'focus_series'?"]),
    ({"plan": "focus_series:FocusSeries"}, ["`plan`", "is no plan", "annotated with its section"]),
    ({"plan": "focus_series:microscope"}, ["`plan`", "another part of the config"]),
    ({"plan": "focus_serie"}, ["`plan`", "live, optimize, timelapse, mda, or MODULE:FUNCTION"]),
]


@pytest.mark.parametrize(("parts", "said"), WRONG)
def test_what_is_wrong_with_a_section_of_one_s_own_is_said_as_of_ours(
    tmp_path: Path, parts: dict[str, Any], said: list[str]
) -> None:
    file = beside(tmp_path, **parts)
    with pytest.raises(UserError) as caught:
        load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}, line ") and len(message.splitlines()) <= 3, message
    assert all(part in message for part in said), message


@pytest.mark.filterwarnings("ignore:Field name .* shadows")
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("FocusSeries.check = lambda self, whole: {}['z']", "its section fails: KeyError: 'z'"),
        ("FocusSeries.adjustable = lambda self, scope: 1 / 0", "fails: ZeroDivisionError: divis"),
        (
            "def focus_series(section: FocusSeries, run):\n    raise OSError('no')",
            "made: OSError: no",
        ),
        ("def focus_series(section: FocusSeries): pass", "made: TypeError: .* takes 1 pos"),
        (
            "def focus_series(section: FocusSeries, run):\n    return 3",
            "gives 3, which lacks send, close",
        ),
        (
            "class Mine(PlanSection):\n    planes: int = 3",
            "Mine: found a key 'planes', which is what every plan's section answers",
        ),
    ],
)
def test_what_code_of_one_s_own_does_wrong_is_said_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str, said: str
) -> None:
    file = beside(tmp_path)
    with (tmp_path / "focus_series.py").open("a", encoding="utf-8") as module:
        module.write(f"\n\n{broken}\n")
    code, _, err = cli(capsys, "run", file, "--out", tmp_path / "run")
    assert code == 2 and not (tmp_path / "run").exists(), err
    flat = " ".join(err.split())
    assert "focus_series:focus_series" in flat and re.search(said, flat), err


def test_a_microscope_without_a_focus_drive_is_refused(tmp_path: Path) -> None:
    file = beside(tmp_path)
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    del data["microscope"]["python_devices"]["Focus"]
    faulty.write(file, data)
    config = load(file)
    folder = new_folder(config, tmp_path, tmp_path / "run")
    with pytest.raises(UserError, match="has no focus drive"):
        Session(config, file, folder, scorer=mean_score).run()
