"""A field of a time-lapse of which as few frames are taken as the error bound allows.

Every frame that is taken is compared with what the frames beside it make of its time point, which
costs no light. Where frames are skipped, that is an audit of a gap twice as large; so of some gaps
a frame is taken that would have been skipped, at a time point drawn by lot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agent.optimizer.objectives.estimate import Estimate
from agent.plan import Frame, Rebuild, Rebuilt
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.error_model import ErrorModel, predicted
from agent.plans.adaptive.events import Change, Watch
from agent.plans.adaptive.gap import Gap, affordable, at_gap, audit_affordable, widest
from agent.plans.adaptive.motion import likeness, local_change, moved
from agent.plans.adaptive.schedule import REMEMBERED, Drift, Mark, Rules, Schedule, Seen

_ENOUGH_AUDITS = 0.9
"""Weighted number of audits before a gap is left."""
_PACES = 3
"""Latest predicted errors from which the pace of the sample is taken."""


class AdaptiveGaps(Schedule):
    """Takes as few frames as the error bound allows.

    Examples
    --------
    >>> from devices.shot import Field
    >>> from devices.affine import Affine
    >>> straight = Affine.square(pixel_um=0.02)
    >>> follower = DriftTracker(Field(0, 0.0, 0.0), straight, reach_um=1.0)
    >>> schedule = AdaptiveGaps(follower, Rules(points=10))
    >>> schedule.due(0), schedule.purpose(0)
    (True, 'time point 0')
    """

    def __init__(self, follower: DriftTracker, rules: Rules) -> None:
        super().__init__(follower, rules)
        self._watch, self._belief = Watch(), ErrorModel()
        self._audit: int | None = None
        self._gap = Gap(1, "learning")
        self._gaps = 0
        self._blind = False
        # Of the frame that came last, until it is decided on.
        self._change: Change | None = None
        self._event: str | None = None
        self._shift: Drift = (0.0, 0.0)
        self._before: Seen | None = None
        self._compared: Mark | None = None
        self._expected: list[float] = []
        self._alikes: dict[tuple[int, int], float] = {}
        self._disturbed = -1
        """Time point of the latest frame that showed an event."""
        self._predicted: list[tuple[float, int]] = []
        """(prediction, gap) for the middle of each of the latest rebuilt gaps."""
        self._rebuilt: list[float] = []

    def due(self, point: int) -> bool:
        """Whether a frame is to be taken at a time point."""
        return point in (self._next, self._audit)

    def hasten(self, point: int) -> None:
        """Have the next frame taken at a time point, which is no audit then."""
        super().hasten(point)
        self._audit = None

    def purpose(self, point: int) -> str:
        """What a frame is taken for, as the ledger keeps it."""
        audit = ", audit" if point == self._audit else ""
        return f"time point {point}{audit}"

    def see(self, frame: Frame, point: int) -> Sequence[Rebuild]:
        """Look for events; returns requests to rebuild and compare frames."""
        seen = Seen.of(frame, point, self._rules.detector)
        changed = self._changed
        before, self._shift = self._keep(seen)
        self._before, self._change, self._event = before, None, None
        if changed:
            self._begin_anew(point)
        self._expected, self._compared, self._alikes = [], None, {}
        if before is None:
            return ()
        self._change = self._look_back(before, seen)
        self._event = self._watch.see(self._change)
        if self._event:
            self._disturbed = point
            self._belief.doubt()
        requests = []
        points = tuple(range(before.point + 1, point))
        if points:
            requests.append(self._request(before, seen, self._shift, points=points))
        first = self._seen[0]
        if len(self._seen) == REMEMBERED and point - first.point <= 2 * self._rules.gap:
            shift = self._drift(first, seen)
            self._alikes[first.index, seen.index] = self._alike(first, seen, shift)
            audits = ((before.index, before.point),)
            requests.append(self._request(first, seen, shift, audits=audits))
        return requests

    def _begin_anew(self, point: int) -> None:
        """Frames look otherwise from here on: earlier changes say nothing about them."""
        self._event, self._disturbed = "settings", point
        self._watch, self._predicted = Watch(), []
        self._belief.doubt()

    def _look_back(self, before: Seen, seen: Seen) -> Change:
        still = moved(seen.pixels, -np.rint(self._shift).astype(int))
        alike = likeness(before.pixels, still, self._rules.detector)
        self._alikes[before.index, seen.index] = alike
        local = local_change(before.pixels, still, self._rules.detector)
        steps = seen.point - before.point
        return Change(steps, alike, local, before.look, seen.look)

    def _request(self, first: Seen, last: Seen, shift: Drift, **what: Any) -> Rebuild:
        ends = (first.index, first.point), (last.index, last.point)
        return Rebuild(self.field, *ends, drift_px=shift, **what)

    def learn(self, request: Rebuild, answer: Rebuilt) -> None:
        """Take in the answer to a request."""
        if answer.failed is not None:
            self._blind = True
            return
        self._blind = False
        alike = self._alikes[request.before[0], request.after[0]]
        start, steps = request.before[1], request.after[1] - request.before[1]
        points = [*request.points, *(point for _, point in request.audits)]
        told = [
            predicted(alike, unsure, (point - start) / steps)
            for point, unsure in zip(points, answer.uncertainty, strict=True)
        ]
        if steps <= max(self._gap.steps, 2):
            # A frame next to the middle of an odd gap is the nearest to it that there is.
            middle = max(told)
            self._predicted = [*self._predicted[1 - _PACES :], (middle, steps)]
        if request.points:
            kept = told[: len(request.points)]
            self._expected = [self._belief.expected(one) for one in kept]
            if self._event and self._change is not None:
                self._expected = [
                    math.hypot(error, self._change.missed((point - start) / steps))
                    for error, point in zip(self._expected, request.points, strict=True)
                ]
            self._rebuilt = [*self._rebuilt, *kept][-4 * self._rules.gap :]
        audited = told[len(request.points) :]
        for (index, point), one, error in zip(request.audits, audited, answer.errors, strict=True):
            if error is None:
                continue
            found = Estimate(*error)
            # What an event did to a frame says nothing of those before or after it.
            if not start < self._disturbed <= request.after[1]:
                self._belief.learn(one, found)
            self._compared = {
                "point": point,
                "kind": "audited" if point == self._audit else "measured",
                "frame": index,
                "gap": steps,
                "expected_error": self._belief.expected(one),
                "error": math.sqrt(max(found.value, 0.0)),
                "error_squared": found.value,
                "error_squared_sd": found.sd,
            }

    def decide(self, frames: int | None) -> Mapping[str, Any]:
        """Choose the next time point; returns the findings."""
        seen, before = self._seen[-1], self._before
        on_the_way = seen.point == self._audit and seen.point < self._next
        if not on_the_way or self._event:
            self._choose(seen.point, frames)
        skipped = seen.point - before.point - 1 if before else 0
        expected: list[float | None] = [*self._expected] or [None] * skipped
        marks = self._marks(before, seen, expected)
        if self._compared is not None:
            marks.insert(0, self._compared)
        running = self._belief.running(self._rebuilt or [0.1])
        return {
            "field": self.field,
            "point": seen.point,
            "frames": marks,
            "gap": self._next - seen.point,
            "why": self._gap.why,
            "expected_error": self._gap.expected,
            "audit_at": self._audit if self._audit and self._audit > seen.point else None,
            "running_error": None if running is None else [running.value, running.sd],
            "event": self._event,
            "pace": self._change.pace if self._change else None,
            "brightness": seen.look.brightness,
            "sharpness": seen.look.sharpness,
            "drift_px": [round(part, 3) for part in self._shift],
            "frames_affordable": frames,
        }

    def _choose(self, point: int, frames: int | None) -> None:
        rules, last = self._rules, self._gap
        self._audit = None
        if self._event:
            # One frame after the other, until predicted errors fall again.
            wanted = Gap(1, "event")
        elif self._blind:
            wanted = Gap(1, "blind")
        elif self._belief.count < _ENOUGH_AUDITS or not self._predicted:
            wanted = Gap(1, "learning")
        else:
            told = [at_gap(one, steps, 2) for one, steps in self._predicted]
            wanted = widest(
                self._belief,
                max(told[-1], sum(told) / len(told)),
                2,
                last=last.steps,
                most=rules.gap,
                bound=rules.bound,
                confidence=rules.confidence,
            )
        left = rules.points - 1 - point
        gap = affordable(wanted, left=left, frames=frames, most=rules.gap)
        self._gap = self._ahead(gap)
        self._next = point + self._gap.steps
        if self._gap.steps > 1 and self._gap.why != "budget":
            self._gaps += 1
            rng = np.random.default_rng((self.field, point))
            drawn = self._gaps % rules.audit_every == 1 % rules.audit_every
            has_light = audit_affordable(left=left, frames=frames, most=rules.gap)
            if drawn and (has_light or not rules.afforded):
                self._audit = point + int(rng.integers(1, self._gap.steps))
