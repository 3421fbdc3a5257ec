"""Mistakes in configs, files and folders, each as a person would make it.

Every one ends with exit code 2 and at most three lines that name the key or the file, and what
would be accepted; never with a traceback.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import faulty
from tests.faulty import cli
from tests.helpers.refused import assert_refused

OPTIMIZE = faulty.ROOT / "configs" / "optimize.yaml"
GONE = object()
"""In place of a value: the key is taken out."""


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value put in, or taken out; names with dots are not needed here."""
    data = copy.deepcopy(data)
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return data


LASER = "microscope.settings.excitation_power"
CAMERA = "microscope.python_devices.Camera"

# One value of a config that is right otherwise, and what the message must name.
LIVE: list[tuple[str, Any, list[str]]] = [
    # keys
    ("lve", {"frames": 3}, ["`lve`", "did you mean `live`", "accepted: plan, seed"]),
    ("live.frame", 3, ["`live.frame`", "did you mean `frames`", "interval_s"]),
    ("microscope.pixelsize_nm", 20, ["`microscope.pixelsize_nm`", "`pixel_size_nm`"]),
    (f"{LASER}.rage", [0, 1], [f"`{LASER}.rage`", "did you mean `range`"]),
    ("microscope.fields.colums", 3, ["`microscope.fields.colums`", "did you mean `columns`"]),
    ("microscope.exposure.camera_s", 3, ["`microscope.exposure.camera_s`", "camera_ms"]),
    ("dose.budget", {"excitation": 1}, ["`dose.budget`", "budget_J", "per_field_J"]),
    ("faults.retry", 1, ["`faults.retry`", "did you mean `retries`"]),
    ("plan", GONE, ["`plan`", "missing"]),
    ("microscope", GONE, ["`microscope`", "missing"]),
    ("microscope.pixel_size_nm", GONE, ["`microscope.pixel_size_nm`", "missing"]),
    (f"{LASER}.device", GONE, [f"`{LASER}`", "needs `device` and `property`, or a `group`"]),
    # types
    ("plan", "timelaps", ["`plan`", "'timelaps'", "'live'", "did you mean 'timelapse'"]),
    ("plan", 7, ["`plan`", "7", "'live', 'optimize', 'timelapse' or 'mda'"]),
    ("live.frames", "many", ["`live.frames`", "'many'", "integer"]),
    ("live.frames", 0, ["`live.frames`", "0", "greater than or equal to 1"]),
    ("live.frames", 2.5, ["`live.frames`", "2.5", "integer"]),
    (
        "live",
        [1, 2],
        ["`live`", "[1, 2]", "keys with values", "frames, interval_s"],
    ),
    ("live", None, ["`live`", "nothing", "keys with values", "frames, interval_s"]),
    ("seed", -1, ["`seed`", "-1", "greater than or equal to 0"]),
    ("analysis.score", "perhaps", ["`analysis.score`", "'perhaps'", "boolean"]),
    ("analysis.on_error", "ignore", ["`analysis.on_error`", "'stop' or 'skip'"]),
    ("filter", {}, ["`filter.model`", "missing", "bundled weights"]),
    ("filter", {"model": "actin", "frame": 1}, ["`filter.frame`", "did you mean `frames`"]),
    ("filter", {"model": "actin", "frames": "some"}, ["`filter.frames`", "'newest' or 'all'"]),
    ("filter", {"model": "actin", "device": "gpu"}, ["`filter.device`", "'auto', 'cpu' or 'cuda'"]),
    ("filter", {"model": "actin", "modes": ["stde"]}, ["`filter.modes`", "'stde'", "sted"]),
    ("filter", {"model": "actin", "timeout_s": 0}, ["`filter.timeout_s`", "greater than 0"]),
    (
        "microscope",
        "demo",
        ["`microscope`", "'demo'", "keys with values", "cfg, virtual_sted"],
    ),
    ("microscope.settings", ["a"], ["`microscope.settings`", "keys with values"]),
    ("microscope.pixel_size_nm", 0, ["`microscope.pixel_size_nm`", "greater than 0"]),
    ("microscope.timeout_s", float("nan"), ["`microscope.timeout_s`", "finite number"]),
    ("microscope.fields.centre_um", 3, ["`microscope.fields.centre_um`", "accepted: a list"]),
    (f"{CAMERA}.class", "FlakyCamera", [f"`{CAMERA}.class`", "module:Class"]),
    # ranges, and what must lie in them
    (f"{LASER}.range", [300, 0], [f"`{LASER}.range`", "[low, high]", "300"]),
    (f"{LASER}.range", [5, 5], [f"`{LASER}.range`", "[low, high]"]),
    (f"{LASER}.range", 300, [f"`{LASER}.range`", "300", "accepted: a list", "lowest and highest"]),
    (f"{LASER}.range", [0, "full"], [f"`{LASER}.range", "'full'", "number"]),
    (f"{LASER}.start", 301, [f"`{LASER}.start`", "301", "0 … 300 mW"]),
    (f"{LASER}.start", "bright", [f"`{LASER}.start`", "'bright'", "number"]),
    (f"{LASER}.safe", -1, [f"`{LASER}.safe`", "-1", "0 … 300 mW"]),
    (f"{LASER}.safe", GONE, [f"`{LASER}`", "`safe`"]),
    (f"{LASER}.unit", "%", [f"`{LASER}`", "W, mW, µW", "`watts_per_unit`"]),
    (f"{LASER}.kind", "choice", [f"`{LASER}`", "`choices`"]),
    (f"{LASER}.kind", "whole", [f"`{LASER}.kind`", "'real', 'integer' or 'choice'"]),
    ("microscope.modes", {"sted": {"power": 1}}, ["modes.sted.power", "excitation_power"]),
    ("microscope.modes", {"sted": {"excitation_power": 400}}, ["400", "0 … 300 mW"]),
    ("live.mode", "sedt", ["`live.mode`", "'sedt'", "accepted: sted"]),
    ("dose.budget_J.exitation", 1, ["`dose.budget_J.exitation`", "excitation, depletion"]),
    ("dose.per_field_J.depletion", -1, ["`dose.per_field_J.depletion`", "above 0"]),
    ("microscope.exposure", {}, ["`microscope.exposure`", "`dwell_time`, `camera_ms`, `camera`"]),
    (
        "microscope.exposure",
        {"dwell_time": "dwell"},
        ["`microscope.exposure.dwell_time`", "'dwell'", "excitation_power, depletion_power"],
    ),
    ("microscope.python_devices", GONE, ["`microscope`", "`cfg`, `virtual_sted`, `replay`"]),
    # the microscope does not have it
    (f"{LASER}.device", "Exitation", [f"`{LASER}.device`", "did you mean 'Excitation'"]),
    (f"{LASER}.property", "Power", [f"`{LASER}.property`", "Power_mW"]),
    (f"{LASER}.property", "Model", [f"`{LASER}.property`", "read-only"]),
    (f"{LASER}.range", [0, 600], [f"`{LASER}.range`", "0 … 500"]),
    ("microscope.camera", "Camra", ["`microscope.camera`", "did you mean 'Camera'"]),
    ("microscope.shutter", "Depletion", ["`microscope.shutter`", "accepted: Shutter"]),
    ("microscope.xy_stage", "Table", ["`microscope.xy_stage`", "accepted: Stage"]),
    (
        "microscope.clock",
        {"device": "Watch", "property": "s"},
        ["`microscope.clock.device`", "'Watch'", "Camera"],
    ),
    (
        "microscope.properties",
        [["Excitation", "Powr_mW", 1]],
        ["`microscope.properties.0", "did you mean 'Power_mW'"],
    ),
    (
        "microscope.properties",
        [["Excitation", "Model", "bright"]],
        ["`microscope.properties.0", "Excitation.Model is read-only"],
    ),
    (
        "microscope.properties",
        [["Excitation", "Power_mW", 900]],
        ["`microscope.properties.0", "Excitation.Power_mW", "'excitation_power'"],
    ),
    (f"{CAMERA}.class", "tests.fault:Camera", [f"`{CAMERA}.class`", "cannot be imported"]),
    (f"{CAMERA}.class", "tests.faulty:Camera", [f"`{CAMERA}.class`", "cannot be imported"]),
    (f"{CAMERA}.options.fails", 1, [f"`{CAMERA}.options`", "fails"]),
    ("microscope.cfg", "MyScope.cfg", ["`microscope.cfg`", "MyScope.cfg", "`demo`"]),
    ("microscope.replay", {"file": "movie.tif"}, ["`microscope.replay.file`", "movie.tif"]),
    (
        "microscope.virtual_sted",
        {"structure": "actine"},
        ["`microscope.virtual_sted.structure`", "did you mean 'actin'"],
    ),
]

TUNING: list[tuple[str, Any, list[str]]] = [
    ("optimize.trails", 9, ["`optimize.trails`", "did you mean `trials`"]),
    ("optimize.trials", 200, ["`microscope.fields`", "208", "fresh"]),
    ("optimize.repeat_flagged", 100, ["`microscope.fields`", "118", "repeat_flagged"]),
    ("optimize.bleaching_limit", 20, ["`optimize.bleaching_limit`", "less than or equal to 1"]),
    ("optimize.engine", "gp", ["`optimize.engine`", "'stedfast', 'skopt'"]),
    (
        "optimize.search.depletion_power",
        [300, 10],
        ["`optimize.search.depletion_power`", "[low, high]", "300"],
    ),
    (
        "optimize.search.depletion_power",
        [10, 400],
        ["`optimize.search.depletion_power`", "400", "0 … 350 mW"],
    ),
    ("optimize.search.depletion_power", [], ["`optimize.search.depletion_power`", "[low, high]"]),
    ("optimize.search.depletion_power", 30, ["`optimize.search.depletion_power`", "a list"]),
    ("optimize.search.excitation_power", [0, 20], ["`optimize.search.excitation_power`", "log"]),
    (
        "optimize.search.power",
        [1, 2],
        ["`optimize.search.power`", "excitation_power, depletion_power"],
    ),
    (
        "microscope.modes.sted",
        {"dwell_time": 10},
        ["`optimize.search.dwell_time`", "pinned", "`microscope.modes.sted`"],
    ),
    ("microscope.modes.confocal", GONE, ["`microscope.modes`", "'confocal'"]),
    ("microscope.settings.dwell_time.unit", "px", ["`microscope.settings.dwell_time.unit`", "µs"]),
    (
        "microscope.settings.line_accumulations.range",
        [0.5, 16],
        ["`microscope.settings.line_accumulations`", "whole numbers"],
    ),
    ("microscope.settings.dwell_time.range", [-1, 100], ["dwell_time", "log", "below 0"]),
    ("analysis.score", False, ["`analysis.score`", "must be true"]),
    ("microscope.pixel_size_nm", 30, ["`microscope.virtual_sted`", "20 nm", "30"]),
]


def wrong_value(case: tuple[str, Any, list[str]]) -> str:
    return f"{case[0]}={'GONE' if case[1] is GONE else case[1]}"


@pytest.mark.parametrize("case", LIVE, ids=wrong_value)
def test_wrong_value(
    case: tuple[str, Any, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value, named = case
    file = faulty.write(tmp_path / "my.yaml", changed(faulty.config(), key, value))
    assert_refused(cli(capsys, "check", file), "my.yaml", *named)


@pytest.mark.slow
@pytest.mark.parametrize("case", TUNING, ids=wrong_value)
def test_wrong_value_for_optimize(
    case: tuple[str, Any, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, value, named = case
    right = yaml.safe_load(OPTIMIZE.read_text(encoding="utf-8"))
    file = faulty.write(tmp_path / "my.yaml", changed(right, key, value))
    assert_refused(cli(capsys, "check", file), "my.yaml", *named)


def test_the_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = OPTIMIZE.read_text(encoding="utf-8").splitlines()
    number = next(i for i, line in enumerate(text) if "bleaching_limit" in line)
    text[number] = "  bleaching_limit: often"
    file = tmp_path / "my.yaml"
    file.write_text("\n".join(text), encoding="utf-8")
    assert_refused(cli(capsys, "check", file), f"my.yaml, line {number + 1}:", "'often'")


def test_a_right_config_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that the cases above fail for what was changed in them, and for nothing else."""
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    code, out, err = cli(capsys, "check", file)
    assert (code, err) == (0, "")
    assert "ready to run" in out


def test_too_few_fields_for_a_timelapse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(plan="timelapse", timelapse={"fields": 5})
    file = faulty.write(tmp_path / "my.yaml", data)
    assert_refused(cli(capsys, "check", file), "`timelapse.fields`", "5", "4")


def test_a_choice_that_the_device_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = {"device": "Camera", "property": "PixelType", "kind": "choice", "start": "8bit"}
    data = {
        "plan": "live",
        "microscope": {
            "cfg": "demo",
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 10},
            "settings": {"depth": {**setting, "choices": ["8bit", "13bit"]}},
        },
    }
    file = faulty.write(tmp_path / "my.yaml", data)
    named = ["`microscope.settings.depth.choices`", "'13bit'", "16bit"]
    assert_refused(cli(capsys, "check", file), *named)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("broken.cfg", b"# a device that no library has\nDevice,Camera,NoSuchLibrary,DCam\n"),
        ("rubbish.cfg", b"lorem ipsum\ndolor\n"),
        ("binary.cfg", bytes(range(256)) * 8),
        ("empty.cfg", b""),
    ],
)
def test_broken_micro_manager_configuration(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    data = changed(faulty.config(), "microscope.cfg", name)
    data["microscope"]["python_devices"] = {}
    file = faulty.write(tmp_path / "my.yaml", data)
    assert_refused(cli(capsys, "check", file), "my.yaml", "microscope")


@pytest.mark.parametrize("content", [b"", b"no TIFF", bytes(range(256)) * 8])
def test_broken_movie(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "movie.tif").write_bytes(content)
    data = changed(faulty.config(), "microscope.replay", {"file": "movie.tif"})
    data["microscope"]["python_devices"] = {}
    file = faulty.write(tmp_path / "my.yaml", data)
    assert_refused(cli(capsys, "check", file), "`microscope.replay.file`", "movie.tif")


@pytest.mark.process
@pytest.mark.slow
def test_weights_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"not these")
    for name in ("mine.safetensors", "gone.safetensors"):
        data = faulty.config(analysis={"score": True, "weights": name})
        file = faulty.write(tmp_path / "my.yaml", data)
        result = cli(capsys, "run", file, "--out", tmp_path / f"run of {name}")
        assert_refused(result, "`analysis.weights`", name.split(".")[0], ".safetensors")


# ---------------------------------------------------------------------- files

# Ten lines that stand for ten to the ninth values.
LAUGHS = b"\n".join(
    [b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    + [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 9)]
)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ["empty", "`plan`", "`microscope`"]),
        (b"# nothing yet\n\n", ["empty"]),
        (bytes(range(256)) * 8, ["not a text file"]),
        ("plan: live\n".encode("utf-16"), ["not a text file"]),
        ("unit: µW\n".encode("latin-1"), ["not a text file"]),
        (b"plan: live\0\n", ["not valid YAML"]),
        (b"plan: [live\n", ["not valid YAML", "line"]),
        (b"plan: live: now\n", ["not valid YAML", "line 1"]),
        (b"plan: live\n\tseed: 1\n", ["not valid YAML", "line 2"]),
        (b"plan: live\nseed: 1\nseed: 2\n", ["line 3", "`seed`", "twice"]),
        (b"plan: live\nlive: {frames: 1, frames: 2}\n", ["line 2", "`frames`", "twice"]),
        (b"- plan\n- live\n", ["not a config", "`plan:`"]),
        (b"live\n", ["not a config", "`plan:`"]),
        (b"? [a, b]\n: 1\n", ["line 1", "a key must be"]),
        (b"plan: live\n---\nplan: live\n", ["line 2", "not valid YAML"]),
        (b"plan: *live\n", ["line 1", "not valid YAML", "'live'"]),
        (b"plan: !!python/object:os.system x\n", ["line 1", "not valid YAML"]),
        (b"seed: 2020-99-99\n", ["`plan`", "also wrong", "seed"]),
        (b"seed: 1:30\n", ["`plan`", "also wrong", "seed"]),
        (b"plan: live\nPower [mW]: 3\n", ["line 2", "`Power [mW]`", "unknown key"]),
        (b"plan: live\nint: 3\n", ["line 2", "`int`", "unknown key"]),
        (b"plan: live\n3: 3\n", ["my.yaml"]),
        (b"plan: &a [*a]\n", ["line 1", "not valid YAML", "alias"]),
        (b"plan: !!bool maybe\n", ["line 1", "not valid YAML", "'maybe'"]),
        (b"plan: !!timestamp 2020-01-01\n", ["line 1", "not valid YAML", "plain values"]),
        (b"seed: 1" + b"0" * 5000 + b"\n", ["line 1", "not valid YAML", "digits"]),
        (b"# " + b"x" * 3_000_000 + b"\n", ["larger than 2 MB"]),
        (b"{a: " * 2000 + b"1" + b"}" * 2000, ["not valid YAML", "nested deeper"]),
        (LAUGHS, ["not valid YAML", "stands for more than"]),
    ],
    ids=lambda part: repr(part)[:30] if isinstance(part, bytes) else "",
)
def test_file_that_is_no_config(
    content: bytes, named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    assert_refused(cli(capsys, "run", file, "--out", tmp_path / "run"), "my.yaml", *named)
    assert not (tmp_path / "run").exists(), "a wrong config left something behind"


@pytest.mark.parametrize("command", ["run", "check"])
def test_no_such_file(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "optimize.yaml").touch()
    gone = tmp_path / "optimise.yaml"
    assert_refused(cli(capsys, command, gone), "no such file", "did you mean", "optimize.yaml")
    assert_refused(cli(capsys, command, tmp_path), str(tmp_path), "folder")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("frames", ["--set frames", "key=value"]),
        ("=3", ["--set =3", "key=value"]),
        ("live.frames=[", ["--set live.frames=[", "not a YAML value"]),
        ("live.frames=2020-99-99", ["`live.frames`", "'2020-99-99'"]),
        ("live.frames=many", ["`live.frames`", "'many'", "--set live.frames=many"]),
        ("live.frame=3", ["`live.frame`", "did you mean `frames`"]),
        ("live..frames=3", ["`live.`", "frames, interval_s"]),
        ("plan.name=live", ["--set plan.name=live", "`plan`", "'live'"]),
        ("seed=-3", ["`seed`", "-3"]),
        (f"{LASER}.start=999", [f"`{LASER}.start`", "999", "0 … 300 mW"]),
    ],
)
def test_wrong_override(
    override: str, named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    assert_refused(cli(capsys, "check", file, "--set", override), *named)


def test_overrides_are_told_as_they_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    _, _, err = cli(capsys, "check", file, "--set", "seed=3", "--set", "live.frames=0")
    # The file has a line of that key, and there it is right.
    assert err.startswith(f"{file}: `live.frames`: found 0; ")
    assert err.splitlines()[-1] == "with --set seed=3 --set live.frames=0"
    _, _, err = cli(capsys, "check", file, "--set", "seed=3", "--set", "live.frame=0")
    assert err.startswith(f"{file}: `live.frame`: unknown key")
