"""What stedfast writes into a run's folder is the config that the run was given."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from agent.bench.fuzz.drawn import TEXTS, configs
from agent.bench.fuzz.mutations import changed_lines
from agent.config import RunConfig, load, plain_yaml
from agent.config.data import as_data
from agent.config.reading import UserError
from agent.record.folder import CONFIG, write_config
from tests import faulty
from tests.faulty import cli

CONFIGS = faulty.ROOT / "configs"


def reread(folder: Path, config: RunConfig) -> RunConfig:
    write_config(folder, config, {"versions": {"stedfast": "0"}})
    return load(folder / CONFIG).model_copy(update={"provenance": config.provenance})


@pytest.mark.slow
def test_every_drawn_config_reads_back_as_itself(tmp_path: Path) -> None:
    kinds = set()
    for at, (data, _) in enumerate(islice(configs(16), 40)):
        file = tmp_path / f"{at}.yaml"
        file.write_text(plain_yaml.write(data), encoding="utf-8")
        config = load(file)
        assert reread(tmp_path, config) == config, data
        kinds.add(config.plan)
    assert kinds == {"live", "mda", "optimize", "timelapse"}


@pytest.mark.parametrize("trials", [1, 3, 7, 8])
def test_a_search_of_few_trials_can_be_read(trials: int, tmp_path: Path) -> None:
    config = load(CONFIGS / "optimize.yaml", [f"optimize.trials={trials}"])
    assert reread(tmp_path, config) == config


def test_a_run_of_an_earlier_version_with_more_initial_trials_than_trials(tmp_path: Path) -> None:
    config = load(CONFIGS / "optimize.yaml", ["optimize.trials=4", "optimize.initial=8"])
    assert reread(tmp_path, config).optimize.initial == 8


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_written_as_that_text(text: str) -> None:
    data = {"text": text, f"k{text}": [text], "nested": {"a": None, "b": (text, 1.0)}}
    found = plain_yaml.read(plain_yaml.write(data))
    assert found == {**data, "nested": {"a": None, "b": [text, 1.0]}}


def outcome(kind: Any, text: str) -> Any:
    try:
        return repr(plain_yaml._read_with(kind, text)[0])
    except (yaml.YAMLError, plain_yaml.YamlError, UnicodeError) as error:
        return error


@pytest.mark.skipif(plain_yaml._QuickLoader is None, reason="PyYAML has no parser in C here")
@pytest.mark.parametrize("name", ["live", "optimize", "timelapse", "quality/default"])
def test_what_the_parser_in_c_reads_is_what_the_other_one_reads(name: str) -> None:
    text, rng = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"), np.random.default_rng(5)
    same = 0
    for _ in range(60):
        changed = changed_lines(text, rng)
        quick = outcome(plain_yaml._QuickLoader, changed) if plain_yaml._is_usual(changed) else None
        if isinstance(quick, str):
            same += 1
            assert quick == outcome(plain_yaml._Loader, changed), changed
    assert same > 3


@pytest.mark.slow
@pytest.mark.parametrize("deep", ["[" * 3000, "- " * 3000, "? " * 3000, "{a: " * 3000])
def test_what_is_nested_too_deep_for_a_parser_in_c_is_refused(deep: str) -> None:
    with pytest.raises(plain_yaml.YamlError):
        plain_yaml.read(f"a: {deep}")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e2", 100.0), ("3E-1", 0.3), ("010", 10), ("0x1F", 31), ("1:30", "1:30"), ("-.5", -0.5)],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    found = plain_yaml.read(text)
    assert (found, type(found)) == (value, type(value))


def test_a_setting_is_told_and_started_in_exponents(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    text = (CONFIGS / "optimize.yaml").read_text("utf-8").replace("start: 30", "start: 3e1")
    file.write_text(text, encoding="utf-8")
    config = load(file, ["optimize.begin_with=[{depletion_power: 1e2}]"])
    assert config.microscope.settings["depletion_power"].start == 30.0
    assert config.optimize.begin_with == ({"depletion_power": 100.0},)


def test_both_letters_for_micro_are_one_unit(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    text = (CONFIGS / "optimize.yaml").read_text("utf-8")
    file.write_text(text.replace("\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}"), encoding="utf-8")
    assert load(file) == load(CONFIGS / "optimize.yaml")


def test_an_alias_is_a_copy(tmp_path: Path) -> None:
    data = as_data(load(faulty.write(tmp_path / "a.yaml", faulty.config())))
    data["microscope"]["modes"] = "HERE"
    text = plain_yaml.write(data).replace("modes: HERE", "modes: {sted: &same {}, two: *same}")
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    modes = load(file, ["microscope.modes.two.excitation_power=3"]).microscope.modes
    assert modes == {"sted": {}, "two": {"excitation_power": 3}}


@dataclass(frozen=True)
class Typed:
    """A path as it may be given, and where it is looked for."""

    override: str
    found: str


@pytest.mark.parametrize(
    "typed",
    [
        Typed("microscope.cfg=scope.cfg", "here/scope.cfg"),
        Typed("microscope.cfg=demo", "demo"),
        Typed("optimize.prior=[one, /two]", "here/one"),
        Typed("analysis.weights=w.safetensors", "here/w.safetensors"),
        Typed("filter.model=mine.safetensors", "here/mine.safetensors"),
        Typed("filter={model: mine.safetensors}", "here/mine.safetensors"),
        Typed("filter={model: actin}", "model: actin"),
        Typed("microscope.replay={file: movie.tif}", "here/movie.tif"),
    ],
    ids=lambda typed: typed.override,
)
def test_a_path_typed_on_the_command_line_starts_where_the_person_stands(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = faulty.config(analysis={"score": True, "weights": "beside.safetensors"})
    (tmp_path / "configs").mkdir()
    (tmp_path / "here").mkdir()
    file = faulty.write(tmp_path / "configs" / "my.yaml", data)
    monkeypatch.chdir(tmp_path / "here")
    config = load(file, [typed.override])
    written = plain_yaml.write(as_data(config))
    assert typed.found.replace("here", str(tmp_path / "here")) in written
    if "weights" not in typed.override:
        assert config.analysis.weights == tmp_path / "configs" / "beside.safetensors"


def test_a_path_that_is_no_text_is_still_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config(optimize={"prior": [3]}))
    with pytest.raises(UserError, match=r"optimize\.prior"):
        load(file)
    assert cli(capsys, "check", file)[0] == 2
