"""Examples in docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("agent", "devices", "models")
    for file in (ROOT / room).rglob("*.py")
    if ">>> " in file.read_text("utf-8")
)
SLOW = {"agent.optimizer.baselines", "models.restoration.cost"}
"""They import what takes long."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODULES],
)
def test_examples_do_what_they_say(name: str) -> None:
    found = doctest.testmod(import_module(name), verbose=False)
    assert found.attempted > 0, "no docstring has the example that is in the source"
    assert found.failed == 0
