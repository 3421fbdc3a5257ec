"""Run folders from another person: nothing that their config names is loaded unasked."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from agent.config import load
from agent.record.folder import read_config
from agent.run import Session, trust
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import checked

# Whoever imports this leaves a trace.
EVIL = "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of Python devices."""
    config, file, folder = checked(tmp_path, live={"frames": 4})
    assert Session(config, file, folder).run().status == "completed"
    return folder


def test_a_run_that_was_begun_here_is_gone_on_with(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = cli(capsys, "resume", run)
    assert code == 0 and "complete already" in err, err


@pytest.mark.slow
def test_what_a_strangers_config_names_is_loaded_only_when_it_is_trusted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    came = tmp_path / "came"
    shutil.copytree(run, came)
    (came / "evil.py").write_text(EVIL, encoding="utf-8")
    text = (came / "config.yaml").read_text(encoding="utf-8")
    named = next(iter(read_config(run).microscope.python_devices.values())).class_
    text = text.replace(named, "evil:Laser")
    (came / "config.yaml").write_text(f"{text}\n", encoding="utf-8")
    for command in ("replay", "show", "report"):
        code, _, err = cli(capsys, command, came)
        assert code == 0, err
    code, _, err = cli(capsys, "resume", came)
    assert code == 2 and "evil:Laser" in err and "--trust" in err
    assert not (came / "imported").exists() and "evil" not in sys.modules

    code, _, err = cli(capsys, "resume", came, "--trust")
    assert code == 0, err
    code, _, err = cli(capsys, "resume", came)
    assert code == 0, f"asked twice: {err}"


def test_another_users_signature_is_none(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(run)
    trust.check_trusted(run, config, trust=False)
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="--trust"):
        trust.check_trusted(run, config, trust=False)
    # A user without a place for a key is asked each time.
    shutil.rmtree(tmp_path / "other")
    (tmp_path / "other").write_text("no folder", encoding="utf-8")
    with pytest.raises(ValueError, match="--trust"):
        trust.check_trusted(run, config, trust=False)


def test_a_config_without_code_needs_no_trust(tmp_path: Path) -> None:
    data = faulty.config(live={"frames": 1})
    data["microscope"] = {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 1}}
    config = load(faulty.write(tmp_path / "config.yaml", data))
    trust.check_trusted(tmp_path, config, trust=False)
