"""What may stand in a ledger: the fields of each kind of row, with types and bounds.

A ledger may come from anybody, and everything that reads a run trusts what `checked` lets pass.
Fields that this version does not know stay as they are, and so do kinds of rows and topics of
notes: a later version, and plans of one's own, may write them.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

LARGEST = 16 * 2**20
"""Bytes of a row; the largest that a run writes, what a model believes, has some 100,000."""
_DEEPEST = 100
"""Lists and objects within each other."""
_MOST = 2**53
"""Bound of whole numbers."""
_FARTHEST = 1e100
"""Bound of what is reckoned with: sums, differences and squares of it are finite."""


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a moment without a time zone")
    return text


Count = Annotated[int, Field(ge=0, lt=_MOST)]
Whole = Annotated[int, Field(gt=-_MOST, lt=_MOST)]
Number = float | Whole
Finite = Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST, allow_inf_nan=False)] | Whole
Scalar = float | Whole | str | bool | None
Moment = Annotated[str, AfterValidator(_moment)]
Words = list[str]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Place = Annotated[list[Count], Field(min_length=2, max_length=2)]
Settings = dict[str, float | Whole | str | bool]

_row = with_config(ConfigDict(extra="allow", strict=True))


# ---------------------------------------------------------------------- rows by kind


@_row
class _Run(TypedDict):
    plan: str
    session: NotRequired[Count]
    simulated: bool
    planned: Count | None
    versions: NotRequired[dict[str, Any]]
    weights: NotRequired[dict[str, Any]]
    plan_of: NotRequired[str | None]


@_row
class _Field(TypedDict):
    index: Count
    x_um: Finite
    y_um: Finite
    z_um: Finite | None


@_row
class _Shot(TypedDict):
    mode: str
    asked: dict[str, Scalar]
    field: _Field | None
    at_s: Finite | None
    purpose: str
    settings: dict[str, Scalar]
    dose_J: dict[str, Finite]


@_row
class _Frame(TypedDict):
    shape: Annotated[list[Count], Field(max_length=8)]
    dtype: str
    crc32: Count
    time_s: Finite
    schedule_s: NotRequired[Finite]
    settings: NotRequired[dict[str, Scalar]]
    dose_J: NotRequired[dict[str, Finite]]
    lit_s: NotRequired[Finite]
    expected_s: NotRequired[Finite]


@_row
class _Void(TypedDict):
    settings: NotRequired[dict[str, Scalar]]
    dose_J: NotRequired[dict[str, Finite]]
    lit_s: NotRequired[Finite]
    expected_s: NotRequired[Finite]


@_row
class _Score(TypedDict):
    value: Number
    sd: NotRequired[Number]
    flags: NotRequired[Words]
    tiles: NotRequired[Count]


@_row
class _Filtered(TypedDict):
    uncertainty: Number
    device: str
    ms: NotRequired[Number]


@_row
class _Rebuilt(TypedDict):
    number: Count
    field: Count
    before: Place
    after: Place
    points: list[Count]
    audits: list[Annotated[list[Any], Field(max_length=8)]]
    uncertainty: list[Number]
    errors: list[Pair | None]
    failed: str | None


@_row
class _Tuned(TypedDict):
    kept: bool
    judged: Count
    before: Pair
    after: Pair
    sha256: str | None
    file: NotRequired[str | None]
    seconds: Number


@_row
class _Note(TypedDict):
    topic: str
    data: dict[str, Any]


@_row
class _Position(TypedDict):
    bytes: Count
    crc32: Count


@_row
class _Instruction(TypedDict):
    key: str
    value: Any


@_row
class _Stamp(TypedDict):
    id: NotRequired[str]
    by: NotRequired[str]
    at: NotRequired[str]
    keys: Words
    refused: NotRequired[str]


@_row
class _Told(TypedDict):
    listen: Count
    instructions: list[_Instruction]
    read: _Position
    stamps: NotRequired[list[_Stamp]]


@_row
class _Command(TypedDict):
    told: dict[str, Any]
    read: _Position
    id: NotRequired[str]
    by: NotRequired[str]
    at: NotRequired[str]
    refused: NotRequired[str]


@_row
class _ReadBack(TypedDict):
    expected: Any
    value: Any
    ok: bool


@_row
class _SafeState(TypedDict):
    reason: str
    at: Moment
    ok: bool
    readback: dict[str, _ReadBack]


@_row
class _Late(TypedDict):
    due: Count
    at_s: Finite
    by_s: Finite
    policy: str
    points: Count
    frames: Count


@_row
class _Cut(TypedDict):
    first: Count
    why: str
    set_aside: NotRequired[list[Count]]


@_row
class _Pause(TypedDict):
    paused: bool
    safe_state: NotRequired[_SafeState]
    lasted_s: NotRequired[Number]


@_row
class _Fault(TypedDict):
    what: str
    policy: str
    part: NotRequired[str | None]


@_row
class _End(TypedDict):
    status: str
    reason: str


# ---------------------------------------------------------------------- notes by topic


@_row
class _Objectives(TypedDict):
    score: Finite
    bleaching: Finite
    score_sd: NotRequired[Number | None]
    flags: NotRequired[Words]
    bleaching_sd: NotRequired[Number | None]


@_row
class _Trial(TypedDict):
    settings: Settings
    objectives: _Objectives | None


@_row
class _Retest(TypedDict):
    which: str
    settings: Settings
    field: Count
    objectives: _Objectives


@_row
class _Recommendation(TypedDict):
    settings: Settings


@_row
class _Flagged(TypedDict):
    trial: NotRequired[Count]


@_row
class _Heeded(TypedDict):
    key: str
    value: Any
    trial: NotRequired[Count]
    frame: NotRequired[Count]
    trials: NotRequired[Count]
    refused: NotRequired[str]


@_row
class _Enough(TypedDict):
    trials: NotRequired[Count]


@_row
class _Mark(TypedDict):
    point: Count
    kind: str
    frame: Count | None
    expected_error: Number | None
    error: NotRequired[Number]
    error_squared_sd: NotRequired[Number]
    gap: NotRequired[Count]


@_row
class _Lapse(TypedDict):
    field: Count
    point: Count
    frames: list[_Mark]
    gap: Count
    why: str
    running_error: NotRequired[Pair | None]
    event: NotRequired[str | None]


@_row
class _Reoptimize(TypedDict):
    point: Count
    settings: Settings
    planned: Whole


@_row
class _Reoptimized(TypedDict):
    point: Count
    trials: Count
    before: Settings
    settings: Settings
    changed: bool
    planned: Whole


@_row
class _Predicted(TypedDict):
    settings: NotRequired[Settings]
    score: Finite
    score_sd: Finite
    bleaching: Finite
    allowed: NotRequired[Finite]


@_row
class _Effect(TypedDict):
    values: Annotated[list[Finite | str], Field(min_length=1)]
    score: list[Finite]
    score_sd: list[Finite]
    bleaching: list[Finite]
    allowed: NotRequired[list[Finite]]
    average_score: NotRequired[list[Finite] | None]
    average_bleaching: NotRequired[list[Finite] | None]


@_row
class _Share(TypedDict):
    first: Finite
    total: Finite


@_row
class _Belief(TypedDict):
    at: NotRequired[Settings]
    predicted: NotRequired[_Predicted]
    effects: NotRequired[dict[str, _Effect]]
    importance: NotRequired[dict[str, dict[str, _Share]]]
    front: NotRequired[list[_Predicted]]
    why: NotRequired[Words]


_KINDS: dict[str, TypeAdapter[Any]] = {
    "run": TypeAdapter(_Run),
    "shot": TypeAdapter(_Shot),
    "void": TypeAdapter(_Void),
    "frame": TypeAdapter(_Frame),
    "score": TypeAdapter(_Score),
    "filtered": TypeAdapter(_Filtered),
    "rebuilt": TypeAdapter(_Rebuilt),
    "tuned": TypeAdapter(_Tuned),
    "note": TypeAdapter(_Note),
    "told": TypeAdapter(_Told),
    "command": TypeAdapter(_Command),
    "late": TypeAdapter(_Late),
    "cut": TypeAdapter(_Cut),
    "pause": TypeAdapter(_Pause),
    "fault": TypeAdapter(_Fault),
    "safe_state": TypeAdapter(_SafeState),
    "end": TypeAdapter(_End),
}
_OTHER: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
_OF_A_FRAME = frozenset({"shot", "void", "frame", "score", "filtered", "cut"})
_TOPICS: dict[str, TypeAdapter[Any]] = {
    "trial": TypeAdapter(_Trial),
    "retest": TypeAdapter(_Retest),
    "recommendation": TypeAdapter(_Recommendation),
    "flagged": TypeAdapter(_Flagged),
    "told": TypeAdapter(_Heeded),
    "enough": TypeAdapter(_Enough),
    "belief": TypeAdapter(_Belief),
    "lapse": TypeAdapter(_Lapse),
    "reoptimize": TypeAdapter(_Reoptimize),
    "reoptimize trial": TypeAdapter(_Trial),
    "reoptimized": TypeAdapter(_Reoptimized),
}


def checked(at: Any, kind: Any, frame: Any, text: Any) -> dict[str, Any]:
    """The data of a row.

    Parameters
    ----------
    at, kind, frame, text
        The row's columns, as they were found.

    Raises
    ------
    ValueError
        The row is none that a run writes; says what is wrong.
    """
    for name, value in (("at", at), ("kind", kind), ("data", text)):
        if type(value) is not str:
            raise ValueError(f"`{name}`: {_short(value)} is no text")
    try:
        _moment(at)
    except ValueError:
        raise ValueError(f"`at`: {_short(at)} is no moment with a time zone") from None
    if (
        not (type(frame) is int and 0 <= frame < _MOST)
        if frame is not None
        else kind in _OF_A_FRAME
    ):
        raise ValueError(f"`frame`: {_short(frame)} is no number of a frame")
    try:
        data: dict[str, Any] = _parsed(_KINDS.get(kind, _OTHER), text)
        if kind == "note" and (topic := _TOPICS.get(data["topic"])) is not None:
            topic.validator.validate_python(data["data"])
    except ValidationError as error:
        raise ValueError(_said(error)) from None
    return data


def _parsed(adapter: TypeAdapter[Any], text: str) -> Any:
    try:
        # Parses and checks at once, in a third of the time that `json.loads` takes alone.
        return adapter.validator.validate_json(text)
    except ValidationError as error:
        # Half of a surrogate pair, as Python writes the name of a file that is no text.
        if error.errors()[0]["type"] != "json_invalid" or "\\ud" not in text:
            raise
        if max(text.count("["), text.count("{")) > _DEEPEST:
            raise
        try:
            return adapter.validator.validate_python(json.loads(text))
        except ValueError:
            raise error from None


def _said(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return "its data are no JSON"
    names = [
        str(key)
        for key in first["loc"]
        # Pydantic puts the branch of a union into the path.
        if not (isinstance(key, str) and (key in _BRANCHES or "[" in key))
    ]
    where = f"`{'.'.join(names)}`: " if names else ""
    if first["type"] == "missing":
        return f"{where}missing"
    if first["type"] in _BOUNDS:
        return f"{where}{_short(first['input'])}: out of bounds"
    accepted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{where}{_short(first['input'])}: {accepted}"


_BRANCHES = frozenset(
    {"float", "int", "str", "bool", "none", "constrained-float", "constrained-int"}
)


_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
