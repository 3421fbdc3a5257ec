"""A short search for better settings between time points of a time-lapse, on fresh fields."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from math import hypot
from typing import Any

from agent.config.plans import ReoptimizeConfig
from agent.config.rules import HEEDING, LATEST, SPARING
from agent.optimizer.objectives.judged import Judge, by_quality
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.protocol import Optimizer
from agent.optimizer.stedfast import Affordable
from agent.plan import (
    FRAMES_EACH,
    REOPTIMIZE,
    REOPTIMIZED,
    TRIED,
    AnalysisError,
    Answer,
    Frame,
    Note,
    Step,
    light_j,
    searching,
)
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.optimize import measure
from agent.plans.search_trigger import SearchTrigger
from devices.config import MicroscopeConfig, Value
from devices.shot import Field, Shot
from models.quality.score import comparable, doubtful


class Reoptimizing:
    """Knows the settings of a time-lapse, and looks for better ones when that is due.

    Nothing is tried, and nothing used from then on, that leaves too little light for the rest of
    the time-lapse.

    Parameters
    ----------
    config
        Trials of a search, and when there is one.
    when
        Says so.
    light
        What the time-lapse has spent, and may.
    engine
        Makes what a search asks, from its number and what it can afford.
    start
        The tuned settings' starting values.
    fields
        Fresh ones, for each trial its own.
    scope
        The microscope's config.
    rest
        From a time point, how many frames of each field are still to come at least.
    judge
        Scores a trial.
    skip_failed
        Give up a trial whose score failed, instead of ending the run.
    mode, reference
        Those of a trial's frame, which is the time-lapse's own, and of its references.
    modes, planes
        Of each field and time point: the channels, and how many planes each has.
    rules
        See `agent.config.rules`.
    """

    def __init__(
        self,
        config: ReoptimizeConfig,
        when: SearchTrigger,
        light: LightBudget,
        *,
        engine: Callable[[int, Affordable], Optimizer],
        start: Mapping[str, Value],
        fields: Sequence[Field],
        scope: MicroscopeConfig,
        rest: Callable[[int], int],
        judge: Judge = by_quality,
        skip_failed: bool = False,
        mode: str = "sted",
        reference: str = "confocal",
        modes: Sequence[str] = ("sted",),
        planes: int = 1,
        rules: int = LATEST,
    ) -> None:
        self.settings: Settings = {}
        """What frames are taken at; empty as long as that is the starting settings."""
        self._config, self._when, self._light = config, when, light
        self._engine, self._start, self._fresh = engine, dict(start), iter(fields)
        self._scope, self._rest, self._skip_failed = scope, rest, skip_failed
        self._mode, self._reference = mode, reference
        self._modes, self._planes = modes, planes
        self._judge, self._pixels, self._sparing = judge, 0, rules >= SPARING
        self._heeding = rules >= HEEDING

    def see(self, frame: Frame) -> None:
        """Take in a frame of the time-lapse; waits for its score only if that may matter."""
        self._pixels = frame.pixels.size
        if self._config.when_score_falls_by is None or frame.shot.field is None:
            return
        try:
            quality = frame.quality
        except AnalysisError:
            if not self._skip_failed:
                raise
            return
        if not doubtful(quality.flags) or (self._heeding and comparable(quality.flags)):
            self._when.see(frame.shot.field.index, quality.value)

    def due(self, point: int) -> bool:
        """Whether a search is due after a time point."""
        return self._when.due(point) is not None

    def search(self, point: int) -> Generator[Step, Answer, bool]:
        """Try settings, and use better ones from then on; whether they are others now.

        The first trial is at the settings in use and the last one at those recommended by then,
        which are used if their own frame says that they are better.
        """
        trials, number = self._config.trials, self._when.done + 1
        used, rest = {**self._start, **self.settings}, self._rest(point)
        here: dict[str, Any] = {"search": number, "point": point}
        begun = {"why": self._when.due(point), "settings": used, "planned": FRAMES_EACH * trials}
        yield Note(REOPTIMIZE, here | begun)

        def affordable(settings: Mapping[str, Value], tried: object = ()) -> bool:
            return self._light.allows(self._trial(settings), self._each(settings), rest)

        optimizer = self._engine(number, affordable)
        before: Outcome | None = None
        better: Settings | None = None
        done = 0
        while done < trials:
            last = done == trials - 1
            settings = self._next(optimizer, used, last) if done else used
            if settings is None or not affordable(settings):
                break
            done += 1
            self._light.spend_elsewhere(self._trial(settings))
            note: dict[str, Any] = {**here, "trial": done, "settings": settings}
            shot = Shot(
                self._mode,
                settings,
                next(self._fresh),
                purpose=searching(number, done),
                trial=done,
                search=number,
            )
            try:
                outcome = yield from measure(shot, self._scope, self._judge, self._reference)
            except AnalysisError as error:
                if not self._skip_failed:
                    raise
                optimizer.tell_failed(settings)
                yield Note(TRIED, note | {"objectives": None, "failed": str(error)})
                continue
            optimizer.tell(settings, outcome)
            yield Note(TRIED, note | {"objectives": outcome.as_dict()})
            if done == 1:
                before = outcome
            elif last and before is not None and self._is_better(outcome, before):
                better = settings
        self.settings = better or self.settings
        self._when.searched(point)
        found = {"trials": done, "before": used, "settings": better or used}
        found |= {"changed": better is not None, "planned": FRAMES_EACH * (done - trials)}
        yield Note(REOPTIMIZED, here | found)
        return better is not None

    def _next(self, optimizer: Optimizer, used: Settings, last: bool) -> Settings | None:
        """The next settings to try; None where there is nothing left to find out."""
        if not last:
            return optimizer.ask()
        try:
            best = optimizer.recommend()
        except ValueError:  # no trial gave anything
            return None
        return None if best == used else best

    def _is_better(self, found: Outcome, before: Outcome) -> bool:
        limit = self._config.bleaching_limit
        if not self._counts(found) or found.bleaching > limit:
            return False
        if not self._counts(before) or before.bleaching > limit:
            return True
        noise = hypot(found.score_sd, before.score_sd) if self._sparing else 0.0
        return found.score - before.score > noise

    def _trial(self, settings: Mapping[str, Value]) -> Mapping[str, float]:
        """Light of a trial (J), by laser."""
        return light_j(self._scope, settings, self._pixels, self._mode, self._reference)

    def _counts(self, found: Outcome) -> bool:
        return not found.doubtful or (self._heeding and found.heeded)

    def _each(self, settings: Mapping[str, Value]) -> Mapping[str, float]:
        """Light of a field's time point with these settings of its tuned mode (J), by laser."""
        scope, start = self._scope, self._scope.start()
        joules = dict.fromkeys(scope.lasers, 0.0)
        for mode in self._modes:
            tuned = settings if mode == self._mode else {}
            frame = scope.dose_j({**start, **tuned, **scope.modes[mode]}, self._pixels)
            joules = {laser: joules[laser] + self._planes * frame[laser] for laser in joules}
        return joules
