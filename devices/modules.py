"""Python modules of devices: those that are installed, and those that lie beside a config."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

_TAKEN: set[str] = set()
"""Names of modules that were taken from beside a config."""


def module_named(name: str, folder: Path) -> ModuleType:
    """Import a module, first of all from `folder`.

    Raises
    ------
    ImportError
        There is no such module, or its name is that of another one that is in use.
    """
    top = name.partition(".")[0]
    file = next(
        (at for at in (folder / f"{top}.py", folder / top / "__init__.py") if at.is_file()), None
    )
    if file is None:
        return importlib.import_module(name)
    _make_way(top, file)
    place, kept = str(folder.absolute()), sys.dont_write_bytecode
    sys.path.insert(0, place)
    # Compiled code would pass for that of another source of the same second and size, although
    # the ledger has the source's hash: none is left.
    sys.dont_write_bytecode = True
    try:
        if name not in sys.modules:
            importlib.invalidate_caches()
        module = importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = kept
        sys.path.remove(place)
    # What the module imports later may lie beside it, too, and then hides nothing.
    if place not in sys.path:
        sys.path.append(place)
    _TAKEN.add(top)
    return module


def _make_way(top: str, file: Path) -> None:
    """Forget a module of this name from beside another config; refuse to replace any other."""
    loaded = sys.modules.get(top)
    if loaded is None:
        return
    origin = getattr(loaded, "__file__", None)
    if origin is not None and Path(origin).absolute() == file.absolute():
        return
    if top not in _TAKEN:
        raise ImportError(f"{file} has the name of {origin or top}, which is in use; rename it")
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
