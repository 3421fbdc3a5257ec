"""The results, as one JSON and one table."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from models.accelerator import Accelerator
from models.cuda import Cuda
from models.gpu_check.checks import Section


def about(accelerator: Accelerator) -> dict[str, Any]:
    """The machine."""
    found: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": accelerator.name,
    }
    if isinstance(accelerator, Cuda):
        properties = torch.cuda.get_device_properties(accelerator.place)
        found |= {
            "card": properties.name,
            "capability": list(torch.cuda.get_device_capability(accelerator.place)),
            "memory_gb": properties.total_memory / 1e9,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]  # torch's
        }
    return found


def as_dict(told: dict[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """The JSON.

    Examples
    --------
    >>> as_dict({"device": "cuda:0"}, [Section("scores", left_out=["large frames"])])["holds"]
    False
    """
    return {
        **told,
        "holds": all(section.holds for section in sections),
        "sections": [section.as_dict() for section in sections],
    }


def table(told: dict[str, Any], sections: Sequence[Section]) -> str:
    """Every check in a line, then every figure."""
    lines = [f"{told.get('card', told['device'])}, torch {told['torch']}"]
    for section in sections:
        lines += ["", f"{section.name} ({section.seconds:.0f} s)"]
        for check in section.checks:
            held = "holds" if check.holds else "FAILS"
            bound = f"{check.relation} {check.bound:g} {check.unit}".rstrip()
            lines.append(f"  {held}  {check.name:<66} {check.value:>10.4g}  {bound}")
        for name, figure in section.figures.items():
            lines.append(f"         {name:<66} {_short(figure)}")
        lines += [f"  FAILS  {what}: left out, no time" for what in section.left_out]
    failed = sum(not check.holds for section in sections for check in section.checks)
    failed += sum(len(section.left_out) for section in sections)
    lines += ["", "All checks hold." if not failed else f"{failed} do not hold."]
    return "\n".join(lines)


def _short(figure: Any) -> str:
    if isinstance(figure, dict):
        return ", ".join(f"{name} {_short(value)}" for name, value in figure.items())
    return f"{figure:.4g}" if isinstance(figure, float) else str(figure)
