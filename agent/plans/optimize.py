"""`plan: optimize`: good settings for this sample, measured rather than hoped for."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.config.plans import OptimizeConfig
from agent.config.rules import HEEDING, LATEST, SPARING
from agent.optimizer.explain import explain
from agent.optimizer.objectives.bleaching import bleaching
from agent.optimizer.objectives.judged import Judge, by_quality
from agent.optimizer.objectives.resolution import resolution_nm
from agent.optimizer.objectives.saturation import saturated_share
from agent.optimizer.objectives.signal import signal_to_noise
from agent.optimizer.outcome import Outcome
from agent.optimizer.protocol import Optimizer
from agent.plan import (
    STACK,
    AnalysisError,
    Answer,
    Block,
    Frame,
    Listen,
    Note,
    Plan,
    Step,
    purpose,
)
from agent.plans.trial_queue import Steering
from devices.config import MicroscopeConfig, Value
from devices.shot import Field, Shot

Three = tuple[Frame, Frame, Frame]
"""Before, image and after."""


def measure(
    shot: Shot, scope: MicroscopeConfig, judge: Judge = by_quality, reference: str = "confocal"
) -> Generator[Step, Answer, Outcome]:
    """A shot between two references of its field: the frame's score and its price.

    Parameters
    ----------
    shot
        The one to score.
    scope
        The microscope's config.
    judge
        Scores the frame.
    reference
        Mode of the references.

    Examples
    --------
    Its caller takes what it asks for, and sends it the frames:

    >>> import numpy as np
    >>> from models.quality.score import Score
    >>> exposure, modes = {"camera_ms": 1}, {"sted": {}, "confocal": {}}
    >>> scope = MicroscopeConfig(cfg="demo", pixel_size_nm=20, exposure=exposure, modes=modes)
    >>> pixels = np.random.default_rng(0).poisson(9, (64, 64))
    >>> work, asked = measure(Shot("sted"), scope), []
    >>> shot = next(work)
    >>> try:
    ...     while True:
    ...         asked.append(shot.mode)
    ...         shot = work.send(Frame(0, shot, {}, pixels, 0.0, lambda: Score(0.8, sd=0.1)))
    ... except StopIteration as end:
    ...     outcome = end.value
    >>> asked, outcome.score, outcome.bleaching
    (['confocal', 'sted', 'confocal'], 0.8, 0.0)
    """
    return _outcome((yield from _taken(shot, reference)), scope, judge)


def _taken(shot: Shot, reference: str) -> Generator[Step, Answer, Three]:
    """The frames of a trial or a retest, in their order."""
    beside = replace(shot, mode=reference, settings={})
    before = yield beside
    image = yield shot
    after = yield beside
    assert isinstance(before, Frame) and isinstance(image, Frame) and isinstance(after, Frame)
    return before, image, after


def _outcome(frames: Three, scope: MicroscopeConfig, judge: Judge) -> Outcome:
    before, image, after = frames
    judged, lost = judge(before, image, after), bleaching(before.pixels, after.pixels)
    pixels, taken_at = image.pixels, dict(image.settings)
    dose = scope.dose_j(taken_at, pixels.size) if image.dose_J is None else image.dose_J
    return Outcome(
        judged.score,
        lost.value,
        judged.sd,
        judged.flags,
        lost.sd,
        saturation=saturated_share(pixels),
        snr=signal_to_noise(pixels),
        resolution_nm=resolution_nm(pixels, image.pixel_size_nm or scope.pixel_size_nm),
        time_s=scope.exposure_s(taken_at, pixels.size),
        dose_J=dose,
        measured=judged.measured,
    )


def optimize(
    config: OptimizeConfig,
    optimizer: Optimizer,
    start: Mapping[str, Value],
    fields: Sequence[Field],
    scope: MicroscopeConfig,
    *,
    judge: Judge = by_quality,
    skip_failed: bool = False,
    rules: int = LATEST,
) -> Plan:
    """Try settings, recommend some, and compare them with the starting ones on fresh fields.

    Before each trial, and once more before the search ends, it listens to what a person says.

    Parameters
    ----------
    config
        How many trials, repeats of flagged ones, and retests; and what to begin with.
    optimizer
        Says what to try and what to recommend.
    start
        The tuned settings' starting values.
    fields
        Enough for each trial, each repeat and each retest to have its own.
    scope
        The microscope's config: how long a frame takes, and what light it costs.
    judge
        Scores a trial.
    skip_failed
        Give up a trial whose score failed, instead of ending the run.
    rules
        See `agent.config.rules`.
    """
    fresh = iter(fields)
    left, doubted, usable = config.repeat_flagged, 0, 0
    steering = Steering(config, optimizer, start)
    while True:
        told = yield Listen()
        assert isinstance(told, tuple)
        yield from steering.heed(told)
        if steering.done >= steering.trials:
            break
        if (gain := steering.enough) is not None:
            yield Note("enough", {"trials": steering.done, "expected_gain": gain})
            break
        settings, origin = steering.ask()
        number, repeat = steering.done, 0
        try:
            shot = Shot(config.mode, settings, purpose=purpose(number), trial=number)
            first = replace(shot, field=next(fresh))
            outcome = yield from measure(first, scope, judge, config.reference)
            while outcome.doubtful and left:
                left, repeat = left - 1, repeat + 1
                flagged = {"settings": settings, "flags": list(outcome.flags), "trial": number}
                yield Note("flagged", flagged)
                again = replace(shot, field=next(fresh), purpose=purpose(number, repeat))
                outcome = yield from measure(again, scope, judge, config.reference)
        except AnalysisError as error:
            if not skip_failed:
                raise
            optimizer.tell_failed(settings)
            failed = {"settings": settings, "objectives": None, "failed": str(error)}
            yield Note("trial", failed | origin)
            continue
        doubted += outcome.doubtful
        usable += outcome.usable or (rules >= HEEDING and outcome.heeded)
        optimizer.tell(settings, outcome)
        yield Note("trial", {"settings": settings, "objectives": outcome.as_dict()} | origin)
    if steering.untried:
        yield Note("untried", {"settings": steering.untried})
    found: dict[str, Any] = {"trials": steering.done, "doubtful": doubted}
    if steering.accepted is not None:
        found["accepted"], best = steering.accepted
    elif rules >= SPARING and not usable:
        best = dict(start)
    else:
        best = optimizer.recommend()
    if rules >= SPARING:
        found["usable"] = usable
        if best == dict(start):
            # A comparison with itself would be light for nothing.
            found |= {"same_as_start": True, "planned": -config.retest_frames()}
    yield Note("recommendation", {"settings": best, **found})
    learned = usable or rules < SPARING
    if learned and (belief := explain(optimizer, best)) is not None:
        yield Note("belief", belief)
    if "same_as_start" in found:
        return
    candidates = {"start": start, "best": best}
    yield from retest(config, candidates, fresh, scope, judge, rules)


def retest(
    config: OptimizeConfig,
    candidates: Mapping[str, Mapping[str, Value]],
    fresh: Iterator[Field],
    scope: MicroscopeConfig,
    judge: Judge = by_quality,
    rules: int = LATEST,
) -> Plan:
    """Measure each candidate on fresh fields, by turns, so that drifts hit all alike.

    Where the config asks for a stack, it follows the last reference: what bleached is that of one
    frame, as in the trials.
    """
    for _ in range(config.retest_fields):
        for name, settings in candidates.items():
            field = next(fresh)
            purpose = f"retest {name}"
            shot = Shot(config.mode, dict(settings), field, purpose=purpose, retest=name)
            frames = yield from _taken(shot, config.reference)
            outcome = _outcome(frames, scope, judge)
            note = {
                "which": name,
                "settings": dict(settings),
                "field": field.index,
                "objectives": outcome.as_dict(),
            }
            if rules >= HEEDING and outcome.heeded:
                note["heeded"] = True
            yield Note("retest", note)
            if config.z is not None:
                about = {"which": name, "field": field.index}
                planes = yield from _stack(config, shot, frames, judge)
                yield Note(STACK, about | {"planes": planes})


def _stack(
    config: OptimizeConfig, shot: Shot, frames: Three, judge: Judge
) -> Generator[Step, Answer, list[dict[str, Any]]]:
    """A stack at a retest's settings: height, score and flags of each plane, from the lowest."""
    before, _, after = frames
    planes = config.stack()
    shots = tuple(replace(shot, plane=p, purpose=f"{shot.purpose}, stack") for p in planes)
    if len(shots) > 1:
        yield Block(shots)
    taken = []
    for one in shots:
        image = yield one
        assert isinstance(image, Frame)
        taken.append(image)
    found = []
    for plane, image in sorted(zip(planes, taken, strict=True), key=lambda one: one[0].index):
        row: dict[str, Any] = {"z_um": plane.z_um, "frame": image.index}
        try:
            judged = judge(before, image, after)
        except AnalysisError as error:
            # The comparison is made by now: a plane without a score costs nothing but its point.
            found.append(row | {"score": None, "failed": str(error)})
            continue
        score = {"score": judged.score, "score_sd": judged.sd, "flags": list(judged.flags)}
        found.append(row | score)
    return found
