"""Numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from devices.config import SettingConfig

_NBSP = "\N{NO-BREAK SPACE}"
"""Between what must not be torn apart at a line's end."""
_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def number(value: Any, digits: int = 3) -> str:
    """Three digits that count and no exponent where one can do without; text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size <= 6:
        return _minus(f"{value:.{digits}g}")
    text = f"{value:.{max(0, digits - 1 - size)}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return _minus(text)


def joules(energy: float) -> str:
    """Light energy with a prefix: 331 µJ."""
    scale, prefix = prefix_of(energy)
    return f"{number(energy / scale)}{_NBSP}{prefix}J"


def prefix_of(value: float) -> tuple[float, str]:
    """The SI prefix a value is best written with, and its factor."""
    return next((pair for pair in _PREFIXES if abs(value) >= pair[0]), (1.0, ""))


def percent(fraction: float) -> str:
    """A share of something: 17.7 %, 0.003 %."""
    share = 100 * fraction
    digits = number(share, 1) if 0 < share < 0.1 else _minus(f"{share:.1f}")
    return f"{digits}{_NBSP}%"


def exact_percent(fraction: float) -> str:
    """A share with the digits that a person gave it: 20 %."""
    return f"{number(100 * fraction, 6)}{_NBSP}%"


def score(value: float) -> str:
    """A score, as `stedfast show` prints it."""
    return _minus(f"{value:.3f}")


def flagged(flags: Sequence[str]) -> str:
    """Why a score cannot be trusted: `, flagged: saturated`; nothing where it can."""
    return f", flagged: {', '.join(words(flag) for flag in flags)}" if flags else ""


def spread_of_scores(part: Mapping[str, Any]) -> str:
    """Mean ± sd (n) of scores, from the summary."""
    if not part["n"]:
        return "–"
    sd = f"{part['sd']:.3f}" if part["sd"] is not None else None
    return _spread(score(part["mean"]), sd, "", part["n"])


def spread_of_shares(part: Mapping[str, Any]) -> str:
    """Mean ± sd (n) of shares, in percent, from the summary."""
    if not part["n"]:
        return "–"
    sd = f"{part['sd'] * 100:.1f}" if part["sd"] is not None else None
    return _spread(_minus(f"{part['mean'] * 100:.1f}"), sd, f"{_NBSP}%", part["n"])


def spread_of(part: Mapping[str, Any], unit: str) -> str:
    """Mean ± sd (n) of other values, from the summary."""
    if not part["n"]:
        return "–"
    sd = number(part["sd"]) if part["sd"] is not None else None
    return _spread(number(part["mean"]), sd, f"{_NBSP}{unit}" if unit else "", part["n"])


def scored_by(objective: Mapping[str, Any]) -> str:
    """What an objective's scores mean: scored by width, 0 at 200 nm, 1 at 30 nm."""
    worst, best = (
        f"{number(objective[end])}{_NBSP}{objective['unit']}".rstrip() for end in ("worst", "best")
    )
    return f"Scored by {words(objective['name'])}: 0 at {worst}, 1 at {best}, and no more beyond."


def _spread(mean: str, sd: str | None, unit: str, n: int) -> str:
    around = f"{_NBSP}±{_NBSP}{sd}" if sd is not None else ""
    return f"{mean}{around}{unit} (n{_NBSP}={_NBSP}{n})"


def mode(name: str) -> str:
    """A mode as people write it.

    Examples
    --------
    >>> mode("sted"), mode("sted_red")
    ('STED', 'sted_red')
    """
    return "STED" if name == "sted" else name


def words(name: str) -> str:
    """A setting's name for a person."""
    return name.replace("_", " ")


def told(data: Mapping[str, Any]) -> str:
    """What a person told a plan, by its note: key and value.

    Examples
    --------
    >>> told({"key": "depletion_power", "value": 50.0})
    'depletion_power = 50.0'
    >>> told({"key": "roi", "value": {"sted": [16, 32, 128, 96], "confocal": []}})
    'roi of sted = 128 × 96 px from (16, 32), roi of confocal = the whole frame'
    """
    key, value = data["key"], data["value"]
    if key != "roi" or not isinstance(value, Mapping):
        return f"{key} = {value}"
    return ", ".join(f"roi of {mode} = {_region(roi)}" for mode, roi in value.items())


def _region(roi: Any) -> str:
    if not isinstance(roi, Sequence) or len(roi) != 4:
        return "the whole frame"
    x, y, width, height = roi
    return f"{width} × {height} px from ({x}, {y})"


def axis_label(name: str, setting: SettingConfig) -> str:
    """A setting's name with its unit, for an axis or a table's head."""
    return f"{words(name)} ({setting.unit})" if setting.unit else words(name)


def with_unit(value: Any, setting: SettingConfig) -> str:
    """A setting's value: 264 mW."""
    return f"{number(value)}{_NBSP}{setting.unit}".rstrip()


def settings_line(values: Mapping[str, Any], settings: Mapping[str, SettingConfig]) -> str:
    """All values in one line, which breaks only between settings."""
    parts = [
        f"{words(name)} {with_unit(value, settings[name]) if name in settings else number(value)}"
        for name, value in values.items()
    ]
    return ", ".join(part.replace(" ", _NBSP) for part in parts)


def duration(seconds: float) -> str:
    """A time span: 1 min 28 s."""
    if seconds < 60:
        return f"{number(seconds, 2)}{_NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours} h", f"{minutes:02d} min") if hours else (f"{minutes} min", f"{rest:02d} s")
    return " ".join(part.replace(" ", _NBSP) for part in parts)


def length(um: float) -> str:
    """A length on the sample: 500 nm, 2 µm."""
    return f"{number(um)}{_NBSP}µm" if um >= 1 else f"{number(um * 1e3)}{_NBSP}nm"


def moment(iso: str) -> str:
    """A moment of the ledger, which keeps UTC."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M:%S UTC")


def _minus(text: str) -> str:
    return text.replace("-", "−")


def purpose(shot: Mapping[str, Any]) -> str:
    """What a shot of the ledger is for, with its channel and plane where there are several."""
    said = [shot.get("purpose") or ""]
    if (plane := shot.get("plane")) is not None:
        said += [shot["mode"], f"plane {plane['index']} (z {number(shot.get('focus_um'))} µm)"]
    return ", ".join(filter(None, said))
