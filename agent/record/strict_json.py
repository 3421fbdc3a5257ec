"""JSON as its standard has it, which knows no NaN: browsers and scripts refuse a text with one."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(data: Any, indent: int | None = None) -> str:
    """A text; what is no number, or an infinite one, is null in it.

    Parameters
    ----------
    data
        Plain data.
    indent
        Spaces of each level; all in one line if absent.

    Examples
    --------
    >>> dumps({"score": float("nan"), "sd": [0.5, float("inf")]})
    '{"score": null, "sd": [0.5, null]}'
    """
    try:
        return json.dumps(data, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    return [_finite(one) for one in data] if isinstance(data, list | tuple) else data
