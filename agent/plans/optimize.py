"""`plan: optimize`: good settings for this sample, measured rather than hoped for."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

from agent.config import OptimizeConfig
from agent.objectives import bleaching
from agent.optimizer import Optimizer, Outcome
from agent.plan import AnalysisError, Frame, Note, Plan
from agent.trial import purpose as purpose_of
from devices.config import Value
from devices.shot import Field, Shot


def measure(
    field: Field, settings: Mapping[str, Value], purpose: str
) -> Generator[Shot | Note, Frame | None, Outcome]:
    """One STED frame between two confocals of a fresh field: its quality and its price."""
    before = yield Shot.confocal(field, purpose)
    image = yield Shot.sted(field, settings, purpose)
    after = yield Shot.confocal(field, purpose)
    assert before is not None and image is not None and after is not None
    quality = image.quality
    return Outcome(
        quality.value, bleaching(before.pixels, after.pixels), quality.sd, tuple(quality.flags)
    )


def optimize(
    config: OptimizeConfig,
    optimizer: Optimizer,
    start: Mapping[str, Value],
    fields: Sequence[Field],
    *,
    skip_failed: bool = False,
) -> Plan:
    """Try settings, recommend some, and compare them with the starting ones on fresh fields.

    Parameters
    ----------
    config
        How many trials, repeats of flagged ones, and retests.
    optimizer
        Says what to try and what to recommend.
    start
        The tuned settings' starting values.
    fields
        Enough for each trial, each repeat and each retest to have its own.
    skip_failed
        Give up a trial whose score failed, instead of ending the run.
    """
    fresh = iter(fields)
    left, doubted = config.repeat_flagged, 0
    for number in range(1, config.trials + 1):
        settings = optimizer.ask()
        repeat = 0
        try:
            outcome = yield from measure(next(fresh), settings, purpose_of(number))
            while outcome.doubtful and left:
                left, repeat = left - 1, repeat + 1
                flagged = {"settings": settings, "flags": list(outcome.flags), "trial": number}
                yield Note("flagged", flagged)
                outcome = yield from measure(next(fresh), settings, purpose_of(number, repeat))
        except AnalysisError as error:
            if not skip_failed:
                raise
            optimizer.tell_failed(settings)
            yield Note("trial", {"settings": settings, "objectives": None, "failed": str(error)})
            continue
        doubted += outcome.doubtful
        optimizer.tell(settings, outcome)
        yield Note("trial", {"settings": settings, "objectives": outcome.as_dict()})
    best = optimizer.recommend()
    yield Note("recommendation", {"settings": best, "trials": config.trials, "doubtful": doubted})
    yield from retest(config.retest_fields, {"start": start, "best": best}, fresh)


def retest(
    repeats: int, candidates: Mapping[str, Mapping[str, Value]], fresh: Iterator[Field]
) -> Plan:
    """Measure each candidate on fresh fields, by turns, so that drifts hit all alike."""
    for _ in range(repeats):
        for name, settings in candidates.items():
            field = next(fresh)
            outcome = yield from measure(field, settings, f"retest {name}")
            note = {
                "which": name,
                "settings": dict(settings),
                "field": field.index,
                "objectives": outcome.as_dict(),
            }
            yield Note("retest", note)
