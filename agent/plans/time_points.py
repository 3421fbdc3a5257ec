"""The frames of one time point: fields, channels and planes in the config's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from types import MappingProxyType

from agent.config.time_points import TimePointsConfig
from agent.plan import Block
from devices.config import Value
from devices.shot import Field, Shot


def point_shots(
    config: TimePointsConfig,
    fields: Sequence[Field | None],
    point: int,
    settings: Mapping[str, Mapping[str, Value]],
    at_s: float | None,
    purpose: str = "",
    rois: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> Iterator[Shot]:
    """The shots of a time point.

    Parameters
    ----------
    config
        Its channels and planes, and in which order they are taken.
    fields
        Fields of view; None is where the stage is.
    point
        Number of the time point, from 0.
    settings
        Those of each channel, by its mode; the starting ones where it is not there.
    at_s
        When it is due (s); None: at once.
    purpose
        Of all of them, in words.
    rois
        Regions of interest by mode, where a person told others than the config's.

    Examples
    --------
    >>> from agent.config.plans import LiveConfig
    >>> config = LiveConfig(channels=["red", "green"], z={"range": 2, "step": 2})
    >>> [(shot.mode, shot.plane.z_um) for shot in point_shots(config, [None], 0, {}, None)]
    [('red', -1.0), ('red', 1.0), ('green', -1.0), ('green', 1.0)]
    """
    channels, planes = config.modes(), config.planes()
    sizes = {"p": len(fields), "c": len(channels), "z": len(planes)}
    for numbers in product(*(range(sizes[axis]) for axis in config.axis_order)):
        at = dict(zip(config.axis_order, numbers, strict=True))
        mode = channels[at["c"]]
        yield Shot(
            mode,
            dict(settings.get(mode, {})),
            fields[at["p"]],
            at_s=at_s,
            purpose=purpose,
            point=point,
            plane=planes[at["z"]],
            roi=rois.get(mode),
        )


def runs(shots: Iterable[Shot]) -> Iterator[tuple[Shot, ...]]:
    """Shots that follow one another without a move or a wait: those of one field and one time."""
    for _, together in groupby(shots, key=lambda shot: (shot.field, shot.at_s)):
        yield tuple(together)


def undecided(shots: Iterable[Shot]) -> Iterator[Block | Shot]:
    """Shots that depend on no frame, each run of them announced by its `Block`.

    Examples
    --------
    >>> [type(step).__name__ for step in undecided([Shot("red"), Shot("green")])]
    ['Block', 'Shot', 'Shot']
    """
    for together in runs(shots):
        if len(together) > 1:
            yield Block(together)
        yield from (shot for shot in together)  # a tuple takes no answers
