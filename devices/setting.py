"""One imaging setting: which values a device takes, and whether it has the one that was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    model_validator,
)


def _not_yes_or_no(value: object) -> object:
    # YAML reads yes, no, on and off as true and false, and Python takes those for 1 and 0.
    if isinstance(value, bool):
        raise ValueError(f"{value} is no value of a device; a number or a text in quotes is")
    return value


def _one_micro(unit: str) -> str:
    # The Greek letter, as keyboards type it, and the sign for micro look alike.
    return unit.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")


Unit = Annotated[str, AfterValidator(_one_micro)]
Value = Annotated[float | int | str, BeforeValidator(_not_yes_or_no)]
Strictly = Annotated[float, Strict()]
Power = Annotated[float, Field(ge=0)]

_WATTS = {"W": 1.0, "mW": 1e-3, "µW": 1e-6, "uW": 1e-6, "nW": 1e-9}
"""Units of power (W)."""
_RELATIVE = 0.01
"""Share of what was asked for that a value read back may differ by."""
_OF_RANGE = 1e-3
"""What may lie between a value sent and the one read back: steps and rounding of a device."""


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError(f"must be [low, high] with low < high, got {list(value)}")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
Span = Annotated[tuple[Strictly, Strictly], AfterValidator(_ascending)]
"""A range where choices may stand as well, which can be numbers written as texts."""


class Model(BaseModel):
    """Base of every part of the config: frozen, no unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SettingConfig(Model):
    """One imaging setting, bound to a device property or to a config group."""

    device: str = Field("", description="Micro-Manager device label")
    property: str = Field("", description="property of that device")
    group: str | None = Field(
        None, min_length=1, description="config group, in place of both: its presets are `choices`"
    )
    unit: Unit = Field("", description="unit of the values, as the device takes them")
    kind: Literal["real", "integer", "choice"] = Field(
        "real",
        description="a number and a whole number need `range`, a choice needs `choices`; "
        "a group is a choice",
    )
    range: Range | None = Field(None, description="lowest and highest value ever sent")
    choices: tuple[Value, ...] | None = Field(None, min_length=1, description="kind: choice")
    scale: Literal["linear", "log"] = Field("linear", description="how it is tuned")
    start: Value = Field(description="value a run starts from")
    safe: Value | None = Field(None, description="value of the safe state; needed for lasers")
    laser: str | None = Field(None, description="light source whose power this setting is")
    watts_per_unit: float | None = Field(
        None, gt=0, description="power on the sample (W) of one unit; from `unit` if that is W, mW…"
    )
    watts: dict[Value, Power | dict[str, Power]] | None = Field(
        None,
        description="kind: choice, and a laser: power on the sample (W) at each choice; without "
        "`laser`, `{LASER: POWER}` at each",
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        description="largest difference between the value sent and the one read back; "
        "1% of it or 0.1% of the range if absent",
    )

    @model_validator(mode="before")
    @classmethod
    def _a_group_is_a_choice(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("group") is not None:
            return {"kind": "choice", **data}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> SettingConfig:
        self._check_bound()
        if self.kind == "choice":
            if self.choices is None:
                raise ValueError("kind: choice needs `choices`")
            if self.range is not None:
                raise ValueError("kind: choice takes `choices`, not `range`")
        else:
            if self.range is None:
                raise ValueError(f"kind: {self.kind} needs `range`")
            if self.choices is not None:
                raise ValueError(f"kind: {self.kind} takes `range`, not `choices`")
            if self.kind == "integer" and any(edge != int(edge) for edge in self.range):
                raise ValueError(f"kind: integer needs whole numbers as range, got {self.range}")
        if self.tolerance is not None and self.kind == "choice":
            raise ValueError("`tolerance` is for numbers; a choice is there or not")
        if self.scale == "log" and (self.range is None or self.range[0] < 0):
            raise ValueError("scale: log needs a `range` that is not below 0")
        for key in ("start", "safe"):
            value = getattr(self, key)
            if key == "safe" and self.group is not None:
                continue  # a preset without light need not be one that frames are taken with
            if value is not None and (why := self.refusal(value)):
                raise ValueError(f"`{key}`: {why}")
        if self.laser is not None:
            if self.safe is None:
                raise ValueError("a laser's power needs a `safe` value")
            if self.kind == "choice":
                self._check_watts(self.choices or ())
            elif self.watts_per_unit is None and self.unit not in _WATTS:
                raise ValueError(
                    "a laser's power needs a number and its unit: one of "
                    f"{', '.join(_WATTS)}, or `watts_per_unit`"
                )
        elif self.watts is not None and self.kind == "choice":
            if self.safe is None:
                raise ValueError("`watts` needs a `safe` value, one without light")
            self._check_watts(self.choices or ())
        if self.watts is not None:
            if self.kind != "choice":
                raise ValueError("`watts` is for the choices of a `laser`")
            if any(isinstance(at, dict) == (self.laser is not None) for at in self.watts.values()):
                raise ValueError(
                    "`watts` has a number (W) at each choice, of the one `laser`; or "
                    "{LASER: POWER} at each, without `laser`"
                )
        return self

    def _check_bound(self) -> None:
        """Check that it is bound to one thing; `ValueError` if not."""
        if self.group is None:
            if not (self.device and self.property):
                raise ValueError("needs `device` and `property`, or a `group`")
        elif self.device or self.property:
            raise ValueError("takes `device` and `property`, or a `group`, not both")
        elif self.kind != "choice":
            raise ValueError("a `group` is a `kind: choice`: one of its presets")

    def _check_watts(self, choices: Sequence[Value]) -> None:
        """Check that the power is known at each choice; `ValueError` if not."""
        given = self.watts or {}
        if lacking := [choice for choice in choices if choice not in given]:
            raise ValueError(
                "a laser with choices needs `watts`, the power on the sample (W) at each: "
                f"without {', '.join(map(repr, lacking))}"
            )
        if extra := [choice for choice in given if choice not in (*choices, self.safe)]:
            raise ValueError(f"`watts`: {extra[0]!r} is not one of {list(choices)}")

    def address(self) -> tuple[str, str]:
        """Device and property, as an event names them; no device, and the group, of a group."""
        return (self.device, self.property) if self.group is None else ("", self.group)

    def presets(self) -> tuple[Value, ...]:
        """Presets of its group that are ever set: its choices, and the safe one."""
        safe = () if self.safe is None or self.safe in (self.choices or ()) else (self.safe,)
        return (*(self.choices or ()), *safe)

    def where(self) -> str:
        """What it is bound to, for messages: `Camera.Gain`, `group Channel`."""
        return f"{self.device}.{self.property}" if self.group is None else f"group {self.group}"

    def refusal(self, value: object) -> str | None:
        """Why `value` may not be sent to the device; None if it may."""
        if self.choices is not None:
            return (
                None if value in self.choices else f"{value!r} is not one of {list(self.choices)}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        if self.kind == "integer" and value != int(value):
            return f"{value} is not a whole number"
        assert self.range is not None
        low, high = self.range
        if not low <= value <= high:
            unit = f" {self.unit}" if self.unit else ""
            return f"{value} is outside {low:g} … {high:g}{unit}"
        return None

    def plain(self, value: Value) -> Value:
        """The value as the plain Python number or string that the device gets."""
        if self.kind == "choice":
            return value
        return round(float(value)) if self.kind == "integer" else float(value)

    def strays(self, asked: Value, has: Value) -> str | None:
        """How the value that a device has differs from the one sent; None if it is close enough."""
        if self.kind == "choice" or not isinstance(has, int | float):
            return None if asked == has else f"is {has!r}, not {asked!r} as it was set to"
        allowed = self.tolerance
        if allowed is None:
            allowed = 0.0
            if self.kind == "real" and self.range is not None:
                low, high = self.range
                allowed = max(_RELATIVE * abs(float(asked)), _OF_RANGE * (high - low))
        if abs(has - float(asked)) <= allowed:
            return None
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"is {has:g}{unit}, not {float(asked):g} as it was set to, "
            f"and `tolerance` is {allowed:.3g}"
        )

    def understands(self, value: Value) -> bool:
        """Whether a value that a device gave back is one that its config can make sense of."""
        if self.choices is not None:
            return value in self.choices
        return isinstance(value, int | float)

    def lasers(self) -> tuple[str, ...]:
        """Light sources whose power it sets."""
        if self.laser is not None:
            return (self.laser,)
        by_choice = (at for at in (self.watts or {}).values() if isinstance(at, dict))
        return tuple(dict.fromkeys(laser for at in by_choice for laser in at))

    def powers_w(self, value: Value) -> dict[str, float]:
        """Power on the sample (W) at a value, by laser; the highest of each at an unknown one."""
        if self.laser is None:
            return {laser: self._power_of(laser, value) for laser in self.lasers()}
        return {self.laser: self.power_w(value)}

    def power_w(self, value: Value) -> float:
        """Power on the sample (W) at this value of the setting of one laser."""
        if self.watts is not None:
            return self._power_of("", value)
        if not self.understands(value) and self.range is not None:
            value = self.range[1]
        return float(value) * (self.watts_per_unit or _WATTS[self.unit])

    def _power_of(self, laser: str, value: Value) -> float:
        """Of one laser at a choice, or at the choice where it has most."""
        powers = {
            choice: at.get(laser, 0.0) if isinstance(at, dict) else at
            for choice, at in (self.watts or {}).items()
        }
        return powers.get(value, max(powers.values()))
