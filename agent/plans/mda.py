"""`plan: mda`: the frames of a useq sequence.

Searches of its `autofocus_plan` shift the heights of what follows at the same position, as
pymmcore-plus does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby

from agent.config.mda import MdaConfig
from agent.plan import FOCUS, Note, Plan
from agent.plans.time_points import undecided
from devices.autofocus import Autofocus, Focused
from devices.config import MicroscopeConfig, StageLimits
from devices.shot import Shot


def mda(config: MdaConfig, scope: MicroscopeConfig) -> Plan:
    """Take the frames one after the other; looks at none of them, so waits for nothing.

    Where a search finds no focus, the heights stay as they were, and frames say so.

    Parameters
    ----------
    config
        The sequence, and the modes of its channels.
    scope
        The microscope's config.
    """
    higher: dict[int | None, float] = {}
    lost: set[int | None] = set()
    heights = _heights(config, scope) if config.autofocuses() else {}
    searches = groupby(config.steps(scope), key=lambda one: isinstance(one[1], Autofocus))
    for searching, steps in searches:
        if not searching:  # until the next search, all heights are known
            yield from undecided(
                _shifted(step, higher.get(place, 0.0), lost=place in lost)
                for place, step in steps
                if isinstance(step, Shot)
            )
            continue
        for place, step in steps:
            assert isinstance(step, Autofocus)
            by_um = higher.get(place, 0.0)
            if step.start_um is not None:
                step = replace(step, start_um=round(step.start_um + by_um, 3))
            found = yield step
            assert isinstance(found, Focused)
            why = found.why
            if found.z_um is not None and found.from_um is not None:
                shift = by_um + found.z_um - found.from_um
                why = _no_room(heights.get(place, ()), shift, scope.stage_limits)
                if not why:
                    higher[place] = shift
            (lost.add if why else lost.discard)(place)
            yield _note(step, found, why, scope)


def _shifted(shot: Shot, by_um: float, *, lost: bool) -> Shot:
    """A shot at the height that its position has by now."""
    if shot.plane is not None:
        plane = replace(shot.plane, z_um=round(shot.plane.z_um + by_um, 3)) if by_um else shot.plane
        shot = replace(shot, plane=plane)
    elif shot.field is not None and shot.field.z_um is not None and by_um:
        shot = replace(shot, field=replace(shot.field, z_um=round(shot.field.z_um + by_um, 3)))
    if lost:
        words = [shot.purpose, "focus not found"]
        shot = replace(shot, purpose=", ".join(word for word in words if word))
    return shot


def _heights(config: MdaConfig, scope: MicroscopeConfig) -> Mapping[int | None, set[float]]:
    """Where the frames of each position are, before any search (µm)."""
    found: dict[int | None, set[float]] = {}
    for place, step in config.steps(scope):
        if not isinstance(step, Shot):
            continue
        z_um = step.field.z_um if step.field else None
        if step.plane is not None:
            z_um = step.plane.z_um
            z_um += 0.0 if step.plane.absolute else scope.fields.z_um or 0.0
        if z_um is not None:
            found.setdefault(place, set()).add(z_um)
    return found


def _no_room(heights: set[float] | tuple[()], shift: float, limits: StageLimits) -> str:
    """Why the frames of a position cannot be so much higher; nothing where they can."""
    for z_um in sorted(heights):
        if why := limits.refusal(None, None, z_um + shift):
            return f"the frames would follow it to where {why}"
    return ""


def _note(search: Autofocus, found: Focused, why: str, scope: MicroscopeConfig) -> Note:
    begun = search.begins_um
    if begun is None:
        begun = scope.fields.z_um or 0.0 if found.from_um is None else found.from_um
    return Note(
        FOCUS,
        {
            "field": search.field.index if search.field else 0,
            "point": search.point or 0,
            "expected_um": round(begun, 3),
            "z_um": round(begun if why or found.z_um is None else found.z_um, 3),
            "found": not why,
            "why": why,
            "planes_um": [],
            "sharpness": [],
            "planned": 0,
            "device": "the autofocus device",
        },
    )
