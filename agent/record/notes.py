"""What the notes of this package's plans hold, by topic; any other topic is free."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from agent.plan import STACK
from agent.record.values import Count, Finite, Number, Pair, Settings, Whole, Words, row


@row
class _Objectives(TypedDict):
    score: Finite
    bleaching: Finite
    score_sd: NotRequired[Number | None]
    flags: NotRequired[Words]
    bleaching_sd: NotRequired[Number | None]
    measured: NotRequired[dict[str, Finite]]


@row
class _Trial(TypedDict):
    settings: Settings
    objectives: _Objectives | None


@row
class _Retest(TypedDict):
    which: str
    settings: Settings
    field: Count
    objectives: _Objectives


@row
class _Scored(TypedDict):
    z_um: Finite
    frame: Count
    score: Finite | None
    score_sd: NotRequired[Number | None]
    flags: NotRequired[Words]
    failed: NotRequired[str]


@row
class _Stack(TypedDict):
    which: str
    field: Count
    planes: list[_Scored]


@row
class _Recommendation(TypedDict):
    settings: Settings
    usable: NotRequired[Count]
    accepted: NotRequired[Count]
    same_as_start: NotRequired[bool]
    planned: NotRequired[Whole]


@row
class _Flagged(TypedDict):
    trial: NotRequired[Count]


@row
class _Heeded(TypedDict):
    key: str
    value: Any
    trial: NotRequired[Count]
    frame: NotRequired[Count]
    point: NotRequired[Count]
    trials: NotRequired[Count]
    refused: NotRequired[str]


@row
class _Enough(TypedDict):
    trials: NotRequired[Count]


@row
class _Mark(TypedDict):
    point: Count
    kind: str
    frame: Count | None
    expected_error: Number | None
    error: NotRequired[Number]
    error_squared_sd: NotRequired[Number]
    gap: NotRequired[Count]


@row
class _MarkBeside(TypedDict):
    channel: Count
    plane: Count
    point: Count
    kind: str
    frame: Count | None


@row
class _Lapse(TypedDict):
    field: Count
    point: Count
    frames: list[_Mark]
    beside: NotRequired[list[_MarkBeside]]
    gap: Count
    why: str
    running_error: NotRequired[Pair | None]
    event: NotRequired[str | None]


@row
class _Focus(TypedDict):
    field: Count
    point: Count
    z_um: Finite
    found: bool
    why: str
    planes_um: list[Finite]
    sharpness: list[Number]
    planned: Whole
    device: NotRequired[str]


@row
class _Place(TypedDict):
    field: Count
    point: Count
    x_um: Finite
    y_um: Finite
    z_um: Number | None
    planned: Whole


@row
class _Calibration(TypedDict):
    affine: NotRequired[Annotated[list[Finite], Field(min_length=6, max_length=6)]]
    residual_px: NotRequired[Number]
    refused: NotRequired[str]


@row
class _Reoptimize(TypedDict):
    point: Count
    settings: Settings
    planned: Whole


@row
class _Reoptimized(TypedDict):
    point: Count
    trials: Count
    before: Settings
    settings: Settings
    changed: bool
    planned: Whole


@row
class _Predicted(TypedDict):
    settings: NotRequired[Settings]
    score: Finite
    score_sd: Finite
    bleaching: Finite
    allowed: NotRequired[Finite]


@row
class _Effect(TypedDict):
    values: Annotated[list[Finite | str], Field(min_length=1)]
    score: list[Finite]
    score_sd: list[Finite]
    bleaching: list[Finite]
    allowed: NotRequired[list[Finite]]
    average_score: NotRequired[list[Finite] | None]
    average_bleaching: NotRequired[list[Finite] | None]


@row
class _Share(TypedDict):
    first: Finite
    total: Finite


@row
class _Belief(TypedDict):
    at: NotRequired[Settings]
    predicted: NotRequired[_Predicted]
    effects: NotRequired[dict[str, _Effect]]
    importance: NotRequired[dict[str, dict[str, _Share]]]
    front: NotRequired[list[_Predicted]]
    why: NotRequired[Words]


TOPICS: dict[str, TypeAdapter[Any]] = {
    "trial": TypeAdapter(_Trial),
    "retest": TypeAdapter(_Retest),
    STACK: TypeAdapter(_Stack),
    "recommendation": TypeAdapter(_Recommendation),
    "flagged": TypeAdapter(_Flagged),
    "told": TypeAdapter(_Heeded),
    "enough": TypeAdapter(_Enough),
    "belief": TypeAdapter(_Belief),
    "lapse": TypeAdapter(_Lapse),
    "refocus": TypeAdapter(_Focus),
    "place": TypeAdapter(_Place),
    "stage calibration": TypeAdapter(_Calibration),
    "reoptimize": TypeAdapter(_Reoptimize),
    "reoptimize trial": TypeAdapter(_Trial),
    "reoptimized": TypeAdapter(_Reoptimized),
}
