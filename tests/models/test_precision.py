"""What trainings compute in, by what the device has units for."""

from __future__ import annotations

import pytest
import torch
import yaml

from agent.offline.training.common import config_of
from models.precision import trained_in


def half(asked: str) -> bool:
    with trained_in(asked, "cpu"):
        return torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("units", [(), ("_is_avx512_bf16_supported",), ("_is_amx_tile_supported",)])
def test_a_cpu_without_units_for_it_is_not_asked_for_bfloat16(
    monkeypatch: pytest.MonkeyPatch, units: tuple[str, ...]
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda has=name in units: has, raising=False)
    assert half("auto") is bool(units)
    assert half("bfloat16") and not half("single")


def test_no_shipped_recipe_asks_for_what_a_cpu_may_lack() -> None:
    names = {
        "restoration": ("default", "small"),
        "interpolation": ("flow", "zs", "dain", "finetune"),
    }
    for kind, recipes in names.items():
        for name in recipes:
            recipe = yaml.safe_load(config_of(kind, name).read_text(encoding="utf-8"))
            assert recipe["precision"] == "auto", name
