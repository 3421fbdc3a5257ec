"""Filters and interpolators of one's own, made in the process that they work in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.config.own_code import Part, find


def open_own(part: Part, name: str, folder: Path, section: Mapping[str, Any], device: str) -> Any:
    """Import one and make it; see `agent.config.own_code`.

    Parameters
    ----------
    part
        Which of them.
    name, folder
        As the config has it, and where its module is looked for first.
    section
        Plain data of its section.
    device
        `auto`, `cpu` or `cuda`.
    """
    own = find(part, name, folder)
    return own.made(own.section.model_validate(section), device)
