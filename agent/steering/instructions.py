"""What a person may tell the plan of a run while it works, checked against the run's config.

    depletion_power: 120          fix a tuned setting
    depletion_power: [50, 120]    narrow it; for `kind: choice`, a list of choices
    depletion_power: free         search all of `optimize.search` again
    try: {excitation_power: 3}    settings to try next
    prefer: {quality: 1, bleaching: 0.5}
    pick: 7                       the trade-off that trial 7 stands for is the one to recommend
    trials: 30                    another number of trials
    accept: 7                     the settings of trial 7 are the ones to recommend: end the search
    finish: true                  end the search, recommend what is expected to be best

A tuned setting that bears the name of one of the other keys cannot be told. `plan: live` takes
settings only: a value for the frames to come, or `free` for the starting value. So does a plan of
one's own whose section says which (`agent.config.PlanSection.adjustable`). `plan: timelapse` that
takes every time point can be told one more field: `place: [x, y]` or `place: [x, y, z]`, in µm.
Both can be told which part of the camera's frames they take: `roi`, see `agent.steering.roi`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import FREE, KEYS, PLACE, ROI, Instruction
from agent.steering.roi import ReadsRegions, regions
from agent.steering.search_state import SearchState
from devices.config import SettingConfig, Value
from devices.position import FARTHEST_UM
from devices.refusals import refused, shortened, unknown

OBJECTIVES = ("quality", "bleaching")


def check(
    config: RunConfig,
    told: Mapping[str, Any],
    standing: SearchState,
    camera: ReadsRegions | None = None,
) -> tuple[Instruction, ...]:
    """The instructions that a person's keys and values are.

    A tuned setting's value becomes `free`, `{"between": [low, high]}` or `{"among": [choice, …]}`,
    so that a plan need not know what kind of setting it is.

    Parameters
    ----------
    config, told
        The run's, and what a person wrote.
    standing
        Where its search stands.
    camera
        What has to take regions of interest; None: not known.

    Raises
    ------
    UserError
        One of them cannot be applied: names key, value and what is accepted.
    """
    if standing.over:
        what = "search" if config.section.searches() else "run"
        raise UserError(f"{_listed(told)}: too late, the {what} is over")
    if not told:
        raise UserError(f"nothing is told; accepted: {', '.join(_accepted(config))}")
    if not config.section.searches():
        return tuple(
            Instruction(key, _live(config, key, value, camera)) for key, value in told.items()
        )
    checks = {
        "try": lambda value: _suggestion(config, value),
        "prefer": _weights,
        "pick": lambda value: _picked(value, standing),
        "trials": lambda value: _number_of_trials(config, value),
        "accept": lambda value: _accepted_trial(value, standing),
        "finish": _finish,
    }
    instructions = []
    for key, value in told.items():
        if key in checks:
            instructions.append(Instruction(key, checks[key](value)))
        elif key in config.tuned():
            instructions.append(Instruction(key, _span(config, key, value)))
        elif key == PLACE:
            _place(config, value)
        elif key == ROI:
            regions(config, value, camera)
        else:
            _unknown(str(key), _accepted(config))
    _fits_the_trials(instructions, standing)
    return tuple(instructions)


def _fits_the_trials(instructions: Sequence[Instruction], standing: SearchState) -> None:
    """Refuse what would end the search without a result, or leave no trial for a suggestion."""
    told = {instruction.key: instruction.value for instruction in instructions}
    ahead = SearchState(standing.trials, standing.gave)
    ahead.expect(instructions)
    done = len(standing.gave)
    if ahead.trials <= done and not any(standing.gave):
        key = "finish" if "finish" in told else "trials"
        if key in told:
            raise UserError(
                f"`{key}`: {shortened(told[key])}: too early, none of {done} trials gave a result; "
                "accepted: once one has"
            )
    if "try" in told and ahead.trials <= done:
        found = shortened(told["try"])
        raise UserError(f"`try`: {found}: all {ahead.trials} trials are done; tell it `trials` too")


def _accepted(config: RunConfig) -> list[str]:
    keys = KEYS if config.section.searches() else ()
    roi = [] if config.refuses_roi() else [ROI]
    return [*config.adjustable(), *keys, *([PLACE] if place_axes(config) else []), *roi]


def _live(config: RunConfig, name: str, value: object, camera: ReadsRegions | None) -> Any:
    """What a setting is from now on, where nothing is searched."""
    if name not in config.adjustable():
        if name == PLACE:
            return _place(config, value, camera)
        if name == ROI:
            return regions(config, value, camera)
        _unknown(str(name), _accepted(config))
    setting, edges = config.microscope.settings[name], _edges(config, name)
    if value == FREE:
        return FREE
    if setting.choices is not None:
        found, accepted = _choice(setting, edges, value), f"one of {list(edges)}"
    else:
        found, accepted = _number(setting, edges, value), _within(setting, edges)
    return _refuse(name, value, f"{accepted}, or {FREE}") if found is None else found


def place_axes(config: RunConfig) -> tuple[str, ...]:
    """The coordinates of a place that may be added to a run; none where none may be."""
    places = config.microscope.fields.places or ()
    if config.refuses_places() or any(place.stages for place in places):
        return ()
    # One without a focus would be taken at that of the field before it.
    return ("x", "y", "z") if any(place.z_um is not None for place in places) else ("x", "y")


def _place(
    config: RunConfig, value: object, camera: ReadsRegions | None = None
) -> dict[str, float | None]:
    """Where a field is that is added, within the limits of the stages with all its planes."""
    if camera is not None and not camera.has_stage:
        raise UserError(f"`{PLACE}`: the microscope has no XY stage")
    if why := config.refuses_places():
        raise UserError(f"`{PLACE}`: is `plan: {config.plan}`, {why}")
    scope = config.microscope
    if not place_axes(config):
        raise UserError(f"`{PLACE}`: the places of this run are of other stages as well")
    axes = place_axes(config)
    accepted = f"[{', '.join(axes)}]"
    accepted += ", as its other places have a focus (µm)" if "z" in axes else " (µm)"
    if not isinstance(value, list | tuple) or len(value) != len(axes):
        _refuse(PLACE, value, accepted)
    if not all(_finite(one) and abs(one) <= FARTHEST_UM for one in value):
        _refuse(PLACE, value, f"{accepted}, each a number within ±{FARTHEST_UM:g}")
    x, y, z = (*map(float, value), None)[:3]
    planes = config.section.planes() if z is not None else (None,)
    for plane in planes:
        height = z if plane is None or plane.absolute or z is None else z + plane.z_um
        if beyond := scope.stage_limits.refusal(x, y, height):
            raise UserError(f"`{PLACE}`: {shortened(value)}: {beyond}")
    return {"x_um": x, "y_um": y, "z_um": z}


def _span(config: RunConfig, name: str, value: object) -> Any:
    """Where a tuned setting is to be searched from now on."""
    setting, edges = config.microscope.settings[name], _edges(config, name)
    if setting.choices is not None:
        accepted = f"one of {list(edges)}, a list of some of them, or {FREE}"
        asked = value if isinstance(value, list) else [value]
        known = [_choice(setting, edges, one) for one in asked]
        if known and None not in known and len(set(known)) == len(known):
            return {"among": known}
        return FREE if value == FREE else _refuse(name, value, accepted)
    if value == FREE:
        return FREE
    accepted = f"{_within(setting, edges)}, [low, high] in there, or {FREE}"
    if not isinstance(value, list):
        found = _number(setting, edges, value)
        return _refuse(name, value, accepted) if found is None else {"between": [found, found]}
    numbers = [one for one in (_number(setting, edges, part) for part in value) if one is not None]
    if len(value) != 2 or len(numbers) != 2 or float(numbers[0]) >= float(numbers[1]):
        _refuse(name, value, accepted)
    return {"between": numbers}


def _suggestion(config: RunConfig, value: object) -> dict[str, Value]:
    if not isinstance(value, dict) or not value:
        _refuse("try", value, f"settings with values, of {', '.join(config.tuned())}")
    settings = {}
    for name, one in value.items():
        if name not in config.tuned():
            _unknown(f"try.{name}", [f"try.{known}" for known in config.tuned()])
        setting, edges = config.microscope.settings[name], _edges(config, name)
        if setting.choices is not None:
            found, accepted = _choice(setting, edges, one), f"one of {list(edges)}"
        else:
            found, accepted = _number(setting, edges, one), _within(setting, edges)
        settings[name] = _refuse(f"try.{name}", one, accepted) if found is None else found
    return settings


def _weights(value: object) -> dict[str, float]:
    known = ", ".join(OBJECTIVES)
    if not isinstance(value, dict) or not value:
        _refuse("prefer", value, f"weights of {known}, like {{quality: 1, bleaching: 0.5}}")
    for name, weight in value.items():
        if name not in OBJECTIVES:
            _unknown(f"prefer.{name}", [f"prefer.{objective}" for objective in OBJECTIVES])
        if not _finite(weight) or weight < 0:
            _refuse(f"prefer.{name}", weight, "a number that is not below 0")
    if not any(value.values()):
        _refuse("prefer", value, "at least one weight above 0")
    return {name: float(weight) for name, weight in value.items()}


def _picked(value: object, standing: SearchState) -> int:
    with_result = [number for number, gave in enumerate(standing.gave, 1) if gave]
    if isinstance(value, bool) or not isinstance(value, int) or value not in with_result:
        numbers = ", ".join(map(str, with_result)) or "none yet"
        _refuse("pick", value, f"the number of a trial that gave a result: {numbers}")
    return value


def _accepted_trial(value: object, standing: SearchState) -> int:
    done = len(standing.gave)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= done:
        accepted = f"the number of a trial that is done: 1 … {done}" if done else "once one is done"
        _refuse("accept", value, accepted)
    return value


def _number_of_trials(config: RunConfig, value: object) -> int:
    fields, asked = config.microscope.fields, config.optimize
    most = fields.count - asked.repeat_flagged - 2 * asked.retest_fields
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        _refuse("trials", value, f"1 … {most}, as there are fields for no more")
    return value


def _finish(value: object) -> bool:
    return True if value is True else _refuse("finish", value, "true")


# ---------------------------------------------------------------------- single values


def _edges(config: RunConfig, name: str) -> tuple[Value, ...]:
    """Range or choices that the config lets a setting have."""
    return config.edges(name)


def _number(setting: SettingConfig, edges: Sequence[Value], value: object) -> Value | None:
    """The value as the device takes it; None if it may not be sent."""
    if not _finite(value) or setting.refusal(value) is not None:
        return None
    assert isinstance(value, int | float)
    return setting.plain(value) if float(edges[0]) <= value <= float(edges[1]) else None


def _choice(setting: SettingConfig, edges: Sequence[Value], value: object) -> Value | None:
    """The choice as the config writes it; None if it is not among `edges`."""
    # True equals 1 in Python, and 1.0 does; only the one of the config may be sent.
    if isinstance(value, bool) or not isinstance(value, float | int | str) or value not in edges:
        return None
    return next((choice for choice in setting.choices or () if choice == value), None)


def _finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _within(setting: SettingConfig, edges: Sequence[Value]) -> str:
    low, high = float(edges[0]), float(edges[1])
    kind = "a whole number" if setting.kind == "integer" else "a number"
    return f"{kind} within {low:g} … {high:g}" + (f" {setting.unit}" if setting.unit else "")


# ---------------------------------------------------------------------- errors


def _refuse(key: str, value: object, accepted: str) -> NoReturn:
    raise UserError(f"`{key}`: {refused(value, accepted)}")


def _unknown(key: str, known: Sequence[str]) -> NoReturn:
    raise UserError(f"`{shortened(key, quoted=False)}`: {unknown(key, known)}")


def _listed(told: Mapping[str, Any]) -> str:
    return shortened(", ".join(f"`{key}`" for key in told), quoted=False)
