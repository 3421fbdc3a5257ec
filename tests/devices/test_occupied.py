"""A microscope that is open is refused to others, and is free again when its process ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.bench import lit
from agent.config import RunConfig
from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import ROOT, cli

HOLD = """
import sys, time
from pathlib import Path
from agent.config import load
from devices.microscope import Microscope
config = load(Path(sys.argv[1])).microscope
with Microscope.open(config):
    print("open", flush=True)
    time.sleep(600)
"""


def assert_in_use(config: MicroscopeConfig, base: Path = Path()) -> None:
    with pytest.raises(BindingError, match="in use"), Microscope.open(config, base=base):
        pass


def scope(log: Path) -> MicroscopeConfig:
    return RunConfig.model_validate(lit.config(log)).microscope


@pytest.mark.process
@pytest.mark.slow
def test_a_second_session_is_refused_and_told_who_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither `check` nor `devices` touches a device of a running run."""
    file = faulty.write(tmp_path / "c.yaml", lit.config(tmp_path / "log"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        said = lit.commands(tmp_path / "log")
        for command in (["check", file], ["devices", file], ["run", file, "--out", tmp_path / "r"]):
            code, _, err = cli(capsys, *command)
            assert (code, len(err.splitlines())) == (2, 1), err
            assert f"in use by process {holder.pid}" in err
            where = rf"{file}, line \d+: `microscope\.python_devices\.\w+`: is in use"
            assert re.match(where, err), err
        assert lit.commands(tmp_path / "log") == said
        assert not (tmp_path / "r").exists()
    finally:
        holder.kill()
        holder.communicate()
    # Killed, it has left its lasers on: the next session makes them safe.
    code, _, err = cli(capsys, "check", file)
    assert code == 0, err
    assert lit.left_lit(tmp_path / "log") == {}


def test_it_is_let_go_whatever_went_wrong(tmp_path: Path) -> None:
    config = scope(tmp_path / "log")
    with pytest.raises(KeyError), Microscope.open(config):
        raise KeyError
    wrong = config.model_copy(update={"camera": "None"})
    with pytest.raises(BindingError, match="found 'None'"), Microscope.open(wrong):
        pass
    with Microscope.open(config):
        assert_in_use(config)
    with Microscope.open(config):
        pass


def test_other_devices_and_simulated_ones_are_another_microscope(tmp_path: Path) -> None:
    demo = MicroscopeConfig.model_validate(
        {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    )
    with ExitStack() as open_:
        for config in (scope(tmp_path / "a"), scope(tmp_path / "b"), demo, demo):
            open_.enter_context(Microscope.open(config))


def test_one_cfg_by_two_names_is_one_microscope(tmp_path: Path) -> None:
    text = "Device,Camera,DemoCamera,DCam\nProperty,Core,Initialize,1\n"
    (tmp_path / "a.cfg").write_text(text, encoding="utf-8")
    try:
        (tmp_path / "b.cfg").symlink_to(tmp_path / "a.cfg")
    except OSError:
        pytest.skip("no symbolic links here")

    def named(cfg: str) -> MicroscopeConfig:
        return MicroscopeConfig.model_validate(
            {"cfg": cfg, "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
        )

    with Microscope.open(named("a.cfg"), base=tmp_path):
        assert_in_use(named("b.cfg"), tmp_path)


def test_locks_of_a_shared_folder_are_open_to_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first leaves files that all others can lock, whatever their umask."""
    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path / "state"))
    before = os.umask(0o077)
    try:
        with Microscope.open(scope(tmp_path / "log")):
            pass
    finally:
        os.umask(before)
    files = [*(tmp_path / "state").glob("*.lock")]
    assert files and {file.stat().st_mode & 0o666 for file in files} == {0o666}


def test_it_is_let_go_where_there_is_no_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: object) -> None:
        raise RuntimeError("no core")

    config = scope(tmp_path / "log")
    with monkeypatch.context() as patch:
        patch.setattr("devices.opening.new_core", none)
        # What is kept of the error keeps its frames, and all that they hold.
        with pytest.raises(RuntimeError) as kept, Microscope.open(config):
            pass
    with Microscope.open(config):
        assert kept
