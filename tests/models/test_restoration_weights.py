"""Weight files of restoration networks: what is read back, and what is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.quality.scorer import SHIPPED, read_weights
from models.restoration import RestorationNet, Restorer, read_restoration, weights
from models.restoration.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")


def members(count: int = 2, **architecture: Any) -> list[RestorationNet]:
    torch.manual_seed(3)
    return [
        RestorationNet(**{"depth": 1, "kernel": 3, "first": 4, **architecture})
        for _ in range(count)
    ]


def card_of(network: RestorationNet) -> dict[str, Any]:
    return {
        "architecture": network.architecture,
        "normalization": {"low": 1.0, "high": 99.0},
        "calibration": 1.5,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    networks = members()
    return save(tmp_path / "v1.2", networks, card_of(networks[0]))


def sealed(file: Path, **changes: Any) -> None:
    """Make the card fit the file again, changed like this."""
    card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8")) | changes
    card["weights_sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")


def test_what_is_saved_is_read_back(file: Path) -> None:
    assert file.name == "v1.2.safetensors"
    assert sorted(path.name for path in file.parent.iterdir()) == ["v1.2.json", file.name]
    loaded = read_restoration(file)
    assert loaded.card["members"] == len(loaded.members) == 2
    assert (loaded.normalization.low, loaded.normalization.high) == (1, 99)
    assert loaded.calibration == 1.5
    assert loaded.card["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    for found, saved in zip(loaded.members, members(), strict=True):
        assert not found.training
        for name, value in saved.state_dict().items():
            assert torch.equal(found.state_dict()[name], value), name


def test_nothing_incomplete_is_saved(tmp_path: Path) -> None:
    network = members(1)[0]
    with pytest.raises(ValueError, match="accepted: one or more networks"):
        save(tmp_path / "w", [], card_of(network))
    with pytest.raises(ValueError, match="card without normalization, calibration"):
        save(tmp_path / "w", [network], {"architecture": network.architecture})
    assert not list(tmp_path.iterdir())


def test_a_name_is_of_weights_that_come_along(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    save(tmp_path / "actin", (networks := members()), card_of(networks[0]))
    assert read_restoration("actin").path == tmp_path / "actin.safetensors"
    known = r"'aktin'; accepted: actin, v1\.2, a \.safetensors file, .*; did you mean 'actin'"
    with pytest.raises(ValueError, match=known):
        read_restoration("aktin")


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_file_is_named(file: Path, suffix: str) -> None:
    gone = file.with_suffix(suffix)
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=rf"v1\.2\{suffix}: no such file"):
        read_restoration(file)


@pytest.mark.parametrize("sealing", [False, True])
def test_truncated_weights_are_refused(file: Path, sealing: bool) -> None:
    file.write_bytes(file.read_bytes()[:-100])
    if sealing:
        sealed(file)
    says = "not the weights of a restoration network" if sealing else "its card says"
    with pytest.raises(ValueError, match=says):
        read_restoration(file)


def test_a_changed_bit_is_noticed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-7] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"sha256 is .*accepted: weights and card of one"):
        read_restoration(file)


class Trap:
    """What a pickle may do to the person who opens it."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_pickle_is_refused_unopened(file: Path, tmp_path: Path, suffix: str) -> None:
    sprung = tmp_path / "sprung"
    trap = file.with_suffix(suffix)
    trap.write_bytes(pickle.dumps(Trap(sprung)))
    sealed(trap)
    says = "not the weights" if suffix == ".safetensors" else r"weights must end in \.safetensors"
    with pytest.raises(ValueError, match=says):
        Restorer(trap)
    assert not sprung.exists()


def test_weights_that_are_no_numbers_are_refused(file: Path) -> None:
    tensors = load_file(file)
    tensors["members.1.head.bias"][0] = torch.nan
    save_file(tensors, file)
    sealed(file)
    with pytest.raises(ValueError, match=r"members\.1\.head\.bias has values that are not finite"):
        read_restoration(file)


def test_weights_of_other_networks_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="not the weights of a restoration network"):
        read_restoration(SHIPPED)
    with pytest.raises(ValueError, match="not the weights of a quality network"):
        read_weights(file)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": {"depth": 1, "kernel": 3, "first": 8}}, "loading state_dict"),
        ({"architecture": {"kernels": 3}}, "kernels"),
        ({"architecture": None}, "not the weights of"),
        ({"members": 3}, "loading state_dict"),
        ({"members": 1}, r"members\.1\..* is of no member"),
        ({"members": 0}, "its card says 0 members"),
        ({"calibration": 0}, "calibration 0"),
        ({"calibration": None}, "not the weights of"),
        ({"normalization": {"low": 99, "high": 1}}, "percentiles"),
    ],
)
def test_a_card_of_another_network_is_refused(
    file: Path, changes: dict[str, Any], says: str
) -> None:
    sealed(file, **changes)
    with pytest.raises(ValueError, match=says):
        read_restoration(file)


def test_a_card_without_a_key_is_refused(file: Path) -> None:
    card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    del card["calibration"]
    file.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ValueError, match="its card has no 'calibration'"):
        read_restoration(file)
