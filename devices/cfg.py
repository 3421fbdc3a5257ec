"""Micro-Manager configuration files, in the encodings and styles that people have them in."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.adapters import how_to_find
from devices.errors import BindingError
from devices.presets import Part

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_WRAPPED = re.compile(r"^Error executing command '\w+' with arguments \[.*?\]: ")
_AT = re.compile(r" at line (\d+): ")
_INITIALIZES = re.compile(r"^\s*(#py )?Property,Core,Initialize,1\b", re.MULTILINE)


class _Asking:
    """A core that asks before each of its calls whether to go on."""

    def __init__(self, core: UniMMCore, go_on: Callable[[], None]) -> None:
        self._core, self._go_on = core, go_on

    def __getattr__(self, name: str) -> Any:
        self._go_on()
        return getattr(self._core, name)


def load_cfg(core: UniMMCore, file: Path, go_on: Callable[[], None]) -> None:
    """Load a `.cfg` into a core, as Micro-Manager's own loader would.

    Parameters
    ----------
    core, file
        An empty core, and the `.cfg`.
    go_on
        Called before each line is carried out; raises where loading is to end.

    Raises
    ------
    BindingError
        Micro-Manager refuses a line: names it, and the whole reason.
    """
    from pymmcore_plus.experimental.unicore.core._config import load_from_string

    try:
        text = _text(file)
    except OSError as error:
        raise BindingError(("cfg",), f"{file}: cannot be read: {error.strerror}") from error
    try:
        asking: Any = _Asking(core, go_on)
        load_from_string(asking, text, str(file))
    except Exception as error:
        why = _refusal(core, file, text, error)
        if "uninitialized device" in why:
            why += _what_initializes(core, text)
        # Devices that are loaded but did not come up could end the process.
        with suppress(Exception):
            core.unloadAllDevices()
        raise BindingError(("cfg",), why) from error
    core.events.systemConfigurationLoaded.emit()


def written_presets(file: Path) -> dict[tuple[str, str], tuple[Part, ...]]:
    """Presets of a `.cfg` by group and name, whether or not Micro-Manager can load it."""
    found: dict[tuple[str, str], tuple[Part, ...]] = {}
    with suppress(OSError):
        for line in _text(file).split("\n"):
            command, *words = line.strip().removeprefix("#py ").lstrip().split(",")
            if command == "ConfigGroup" and len(words) in (4, 5):
                group, preset, device, prop, value = (*words, "")[:5]
                part = Part(device, prop, value)
                found[group, preset] = (*found.get((group, preset), ()), part)
    return found


def _text(file: Path) -> str:
    """A .cfg's text; lines with commands that Micro-Manager does not have are left empty.

    It is UTF-8, with or without a byte order mark, or what Windows wrote before that.
    """
    raw = file.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", errors="replace")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    lines = re.split(r"\r\n|\r|\n", text)
    return "\n".join(line if _is_known(line.strip()) else "" for line in lines)


def _is_known(line: str) -> bool:
    """Whether a line is for Micro-Manager, which passes over commands that it does not have."""
    from pymmcore_plus import CFGCommand

    command = line.removeprefix("#py ").lstrip().partition(",")[0]
    return command in ("pyDevice", *(known.value for known in CFGCommand))


def _refusal(core: UniMMCore, file: Path, text: str, error: BaseException) -> str:
    """Which line was refused, and the reason that lies innermost."""
    at = _AT.search(str(error))
    said = "Micro-Manager cannot load"
    if at is None:  # its Startup preset, which is carried out when all lines are done
        return f"{said} {file}: {_in_a_line(error)}"
    line = text.split("\n")[int(at[1]) - 1].strip()
    inner: BaseException = error
    while inner.__cause__ is not None and isinstance(inner.__cause__, Exception):
        inner = inner.__cause__
    # A library that cannot be loaded is looked for as a Python module, too.
    outer = error.__cause__ if isinstance(inner, ImportError) else inner
    reason = _WRAPPED.sub("", _in_a_line(outer or inner))
    hint = f"; {how_to_find(core)}" if line.startswith("Device,") else ""
    return f"{said} {file}, line {at[1]}: {line}: {reason}{hint}"


def _what_initializes(core: UniMMCore, text: str) -> str:
    """Why devices of a .cfg did not come up."""
    from pymmcore_plus import DeviceInitializationState, DeviceType

    line = "`Property,Core,Initialize,1`"
    if not _INITIALIZES.search(text):
        return f"; the file lacks the line {line}, after its devices"
    late = [
        label
        for label in core.getLoadedDevices()
        if core.getDeviceType(label) != DeviceType.CoreDevice
        and core.getDeviceInitializationState(label) == DeviceInitializationState.Uninitialized
    ]
    return f"; {line} must come after all devices, and before it there is no {', '.join(late)}"


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines)[:600] or repr(error)
