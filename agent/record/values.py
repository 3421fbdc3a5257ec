"""Values that may stand in a row of a ledger, with their bounds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, with_config

MOST = 2**53
"""Bound of whole numbers."""
_FARTHEST = 1e100
"""Bound of numbers in a ledger: their sums, differences and squares are finite."""


def moment(text: str) -> str:
    """A moment in time, ISO 8601; ValueError if it is none, or has no time zone."""
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a moment without a time zone")
    return text


Count = Annotated[int, Field(ge=0, lt=MOST)]
Whole = Annotated[int, Field(gt=-MOST, lt=MOST)]
Number = float | Whole
Finite = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST, allow_inf_nan=False)] | Whole
Scalar = float | Whole | str | bool | None
Moment = Annotated[str, AfterValidator(moment)]
Words = list[str]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Place = Annotated[list[Count], Field(min_length=2, max_length=2)]
Settings = dict[str, float | Whole | str | bool]

row = with_config(ConfigDict(extra="allow", strict=True))
"""Of a kind of row, or a part of it: fields beside those that are named stay as they are."""
