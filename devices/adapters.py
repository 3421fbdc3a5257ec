"""Where Micro-Manager's device adapters are looked for.

An installed Micro-Manager comes before the adapters for tests, which know two dozen simulated
devices and nothing real; these are for `cfg: demo`, and where there is nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

VARIABLE = "MICROMANAGER_PATH"


def adapters_for(cfg: str | None) -> Path | None:
    """Folder of the adapters that a config's `cfg` needs; None if there is none, or no need."""
    if cfg is None:
        return None
    tests = _of_tests()
    if cfg == "demo" and tests is not None:
        return tests
    installed = _installed()
    return installed or tests


def how_to_find(core: UniMMCore) -> str:
    """Where adapters were looked for, and how to have others."""
    places = ", ".join(map(str, core.getDeviceAdapterSearchPaths())) or "nowhere"
    tests = _of_tests()
    what = " (adapters for tests only)" if tests is not None and str(tests) == places else ""
    return (
        f"adapters are looked for in {places}{what}; set {VARIABLE} to the folder of your "
        "Micro-Manager, or install one that fits with `mmcore install`"
    )


def _installed() -> Path | None:
    """The Micro-Manager that a person chose or installed, if it fits this core."""
    from pymmcore_plus._discovery import discover_mm

    tests = _of_tests()
    if (chosen := os.environ.get(VARIABLE)) and Path(chosen).is_dir():
        return Path(chosen)
    for found in discover_mm():
        if found.div_compatible and (tests is None or found.path != tests.resolve()):
            return Path(found.path)
    return None


def _of_tests() -> Path | None:
    """The adapters of mm-test-adapters, if that package is installed."""
    try:
        import mm_test_adapters
    except ImportError:
        return None
    folder = Path(mm_test_adapters.device_adapter_path())
    return folder if folder.is_dir() else None
