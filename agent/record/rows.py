"""What may stand in a ledger: the fields of each kind of row, with types and bounds.

A ledger may come from anybody, and everything that reads a run trusts what `checked` lets pass.
Fields that this version does not know stay as they are, and so do kinds of rows and topics of
notes: a later version, and plans of one's own, may write them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from agent.config.explaining import wanted
from agent.record.layout import IMAGES
from agent.record.notes import TOPICS
from agent.record.values import (
    MOST,
    Count,
    Finite,
    Moment,
    Number,
    Pair,
    Place,
    Scalar,
    Words,
    moment,
    row,
)
from devices.refusals import refused, shortened

LARGEST = 16 * 2**20
"""Bytes of a row; the largest that a run writes, what a model believes, has some 100,000."""
MOST_CAMERAS = 64
"""Frames of a shot."""
_DEEPEST = 100
"""Lists and objects within each other."""


# ---------------------------------------------------------------------- rows by kind


@row
class _Loose(TypedDict):
    device: str
    property: str
    value: str | None


@row
class _Code(TypedDict):
    name: str
    version: str
    sha256: str


_Properties = dict[str, dict[str, str]]


@row
class _State(TypedDict):
    properties: _Properties
    groups: NotRequired[dict[str, str]]
    pixel_size: NotRequired[str]


@row
class _Run(TypedDict):
    plan: str
    session: NotRequired[Count]
    simulated: bool
    planned: Count | None
    versions: NotRequired[dict[str, Any]]
    weights: NotRequired[dict[str, Any]]
    plan_of: NotRequired[str | None]
    loose: NotRequired[list[_Loose]]
    whole: NotRequired[dict[str, tuple[Count, Count]]]
    state: NotRequired[_State]
    code: NotRequired[dict[str, _Code]]
    awake: NotRequired[str | None]


@row
class _Field(TypedDict):
    index: Count
    x_um: Finite
    y_um: Finite
    z_um: Finite | None
    name: NotRequired[str]
    stages: NotRequired[dict[str, Finite]]


@row
class _Plane(TypedDict):
    index: Count
    z_um: Finite
    absolute: bool


@row
class _Stored(TypedDict):
    image: Annotated[str, Field(pattern=IMAGES)]
    at: Annotated[list[Count], Field(min_length=1, max_length=3)]


@row
class _Camera(TypedDict):
    index: Count
    name: str
    of: Annotated[int, Field(ge=2, le=MOST_CAMERAS)]
    seen: bool


@row
class _Shot(TypedDict):
    mode: str
    asked: dict[str, Scalar]
    field: _Field | None
    at_s: Finite | None
    purpose: str
    trial: NotRequired[Count | None]
    retest: NotRequired[str | None]
    search: NotRequired[Count | None]
    point: NotRequired[Count | None]
    plane: NotRequired[_Plane | None]
    locked: NotRequired[bool]
    roi: NotRequired[Annotated[list[Count], Field(max_length=4)] | None]
    camera: NotRequired[_Camera]
    focus_um: NotRequired[Finite | None]
    stored: NotRequired[_Stored]
    settings: dict[str, Scalar]
    dose_J: dict[str, Finite]


@row
class _Held(TypedDict):
    z_um: Finite | None
    why: str


@row
class _Sequence(TypedDict):
    first: Count
    frames: Count
    elapsed_ms: NotRequired[Finite]


@row
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
    pixel_size_nm: NotRequired[Finite]
    held: NotRequired[_Held]
    changed: NotRequired[_Properties]
    sequence: NotRequired[_Sequence]


@row
class _Void(TypedDict):
    settings: NotRequired[dict[str, Scalar]]
    dose_J: NotRequired[dict[str, Finite]]
    lit_s: NotRequired[Finite]
    expected_s: NotRequired[Finite]
    pixel_size_nm: NotRequired[Finite]


@row
class _Score(TypedDict):
    value: Number
    sd: NotRequired[Number]
    flags: NotRequired[Words]
    tiles: NotRequired[Count]


@row
class _Filtered(TypedDict):
    uncertainty: Number
    device: str
    ms: NotRequired[Number]


@row
class _Autofocus(TypedDict):
    number: Count
    field: _Field | None
    using: str
    offset: Finite | None
    offset_device: str | None
    tries: Count
    timeout_s: Finite
    farthest_um: Finite | None
    point: Count | None
    at_s: NotRequired[Finite | None]
    start_um: NotRequired[Finite | None]
    z_um: Finite | None
    from_um: Finite | None
    why: str


@row
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


@row
class _Tuned(TypedDict):
    kept: bool
    judged: Count
    before: Pair
    after: Pair
    sha256: str | None
    file: NotRequired[str | None]
    seconds: Number


@row
class _Note(TypedDict):
    topic: str
    data: dict[str, Any]


@row
class _Position(TypedDict):
    bytes: Count
    crc32: Count


@row
class _Instruction(TypedDict):
    key: str
    value: Any


@row
class _Stamp(TypedDict):
    id: NotRequired[str]
    by: NotRequired[str]
    at: NotRequired[str]
    keys: Words
    refused: NotRequired[str]


@row
class _Told(TypedDict):
    listen: Count
    instructions: list[_Instruction]
    read: _Position
    stamps: NotRequired[list[_Stamp]]


@row
class _Command(TypedDict):
    told: dict[str, Any]
    read: _Position
    id: NotRequired[str]
    by: NotRequired[str]
    at: NotRequired[str]
    refused: NotRequired[str]


@row
class _ReadBack(TypedDict):
    expected: Any
    value: Any
    ok: bool


@row
class _SafeState(TypedDict):
    reason: str
    at: Moment
    ok: bool
    readback: dict[str, _ReadBack]


@row
class _Late(TypedDict):
    due: Count
    at_s: Finite
    by_s: Finite
    policy: str
    points: Count
    frames: Count


@row
class _Cut(TypedDict):
    first: Count
    why: str
    set_aside: NotRequired[list[Count]]


@row
class _Pause(TypedDict):
    paused: bool
    safe_state: NotRequired[_SafeState]
    lasted_s: NotRequired[Number]


@row
class _Clock(TypedDict):
    event: str
    by_s: Finite
    what: str


@row
class _Fault(TypedDict):
    what: str
    policy: str
    part: NotRequired[str | None]


@row
class _End(TypedDict):
    status: str
    reason: str


_KINDS: dict[str, TypeAdapter[Any]] = {
    "run": TypeAdapter(_Run),
    "shot": TypeAdapter(_Shot),
    "void": TypeAdapter(_Void),
    "frame": TypeAdapter(_Frame),
    "score": TypeAdapter(_Score),
    "filtered": TypeAdapter(_Filtered),
    "autofocus": TypeAdapter(_Autofocus),
    "rebuilt": TypeAdapter(_Rebuilt),
    "tuned": TypeAdapter(_Tuned),
    "note": TypeAdapter(_Note),
    "told": TypeAdapter(_Told),
    "command": TypeAdapter(_Command),
    "late": TypeAdapter(_Late),
    "cut": TypeAdapter(_Cut),
    "pause": TypeAdapter(_Pause),
    "clock": TypeAdapter(_Clock),
    "fault": TypeAdapter(_Fault),
    "safe_state": TypeAdapter(_SafeState),
    "end": TypeAdapter(_End),
}
_OTHER: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
_OF_A_FRAME = frozenset({"shot", "void", "frame", "score", "filtered", "cut"})


def checked(at: Any, kind: Any, frame: Any, text: Any) -> dict[str, Any]:
    """The data of a row.

    Parameters
    ----------
    at, kind, frame, text
        The row's columns, as they were found.

    Raises
    ------
    ValueError
        The row is none that a run writes; says why.
    """
    for name, value in (("at", at), ("kind", kind), ("data", text)):
        if type(value) is not str:
            raise ValueError(f"`{name}`: {refused(value, 'a text')}")
    try:
        moment(at)
    except ValueError:
        raise ValueError(f"`at`: {refused(at, 'a moment with a time zone')}") from None
    if not (type(frame) is int and 0 <= frame < MOST) if frame is not None else kind in _OF_A_FRAME:
        raise ValueError(f"`frame`: {refused(frame, 'the number of a frame')}")
    try:
        data: dict[str, Any] = _parsed(_KINDS.get(kind, _OTHER), text)
        if kind == "note" and (topic := TOPICS.get(data["topic"])) is not None:
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
        return f"{where}found {shortened(first['input'])}: out of bounds"
    if first["type"] == "value_error":
        return f"{where}found {shortened(first['input'])}: {first['ctx']['error']}"
    return f"{where}{refused(first['input'], wanted(first['msg']))}"


_BRANCHES = frozenset(
    {"float", "int", "str", "bool", "none", "constrained-float", "constrained-int"}
)


_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
