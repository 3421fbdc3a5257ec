"""A model card that asks for more than its weights are: refused before any memory is taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.interpolation import weights as interpolation
from models.quality.scorer import SHIPPED, read_weights
from models.restoration import weights as restoration

KINDS: dict[str, tuple[Path, Callable[[Path], Any]]] = {
    "quality": (SHIPPED, read_weights),
    "interpolation": (interpolation.FOLDER / "flow.safetensors", interpolation.read_interpolator),
    "restoration": (restoration.FOLDER / "actin-small.safetensors", restoration.read_restoration),
}


def enlarged(value: Any) -> Any:
    """The same with all widths of layers a hundred thousand times as large."""
    if isinstance(value, dict):
        return {key: enlarged(one) for key, one in value.items()}
    if isinstance(value, list):
        return [enlarged(one) for one in value]
    return value * 100_000 if isinstance(value, int) and value >= 8 else value


@pytest.mark.parametrize("kind", KINDS)
def test_more_memory_than_there_is_is_not_asked_for(kind: str, tmp_path: Path) -> None:
    shipped, read = KINDS[kind]
    for ending in (".safetensors", ".json"):
        shutil.copy(shipped.with_suffix(ending), tmp_path / f"w{ending}")
    file = tmp_path / "w.json"
    card = json.loads(file.read_text())
    widths = {"hidden": 512} if kind == "quality" else {}  # its card leaves them to the code
    card["architecture"] = enlarged(card["architecture"] | widths)
    assert card["architecture"] != json.loads(file.read_text())["architecture"]
    file.write_text(json.dumps(card))
    with pytest.raises(ValueError, match="not the weights of") as refused:
        read(tmp_path / "w.safetensors")
    assert "alloc" not in str(refused.value).partition("not the weights of")[2]
