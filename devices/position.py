"""A place as a file has it, and what is wrong with a list of places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from devices.refusals import refused, shortened

if TYPE_CHECKING:
    pass


FARTHEST_UM = 1e6
"""No stage goes further from its origin (µm)."""


LONGEST_NAME = 100
"""Characters of a place's name."""


MOST = 1000
"""Places of a list: a config that holds them can still be read."""


MOST_STAGES = 6
"""Stages of one axis of a place, beside the focus."""


KINDS = "a position list of Micro-Manager 1.4 or 2, or a useq sequence"


class PositionsError(ValueError):
    """A file that says no places; the message names the file, the place and what is accepted."""


class Position(NamedTuple):
    """A place as a file has it.

    Parameters
    ----------
    name
        Its label; empty if it has none.
    x_um, y_um
        Of the XY stage (µm).
    z_um
        Of the focus (µm), where the file does not say of which stage.
    stages
        Of stages of one axis (µm), by label.
    """

    name: str
    x_um: float
    y_um: float
    z_um: float | None = None
    stages: Mapping[str, float] = {}


class Listed(Protocol):
    """A place of a list, wherever that comes from."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def x_um(self) -> float:
        """Of the XY stage (µm)."""
        ...

    @property
    def y_um(self) -> float:
        """Of the XY stage (µm)."""
        ...

    @property
    def z_um(self) -> float | None:
        """Of the focus (µm)."""
        ...

    @property
    def stages(self) -> Mapping[str, float]:
        """Of other stages (µm), by label."""
        ...


class Positions(NamedTuple):
    """What a file says: its places, and the label of the XY stage they are of if it says that."""

    places: list[Position]
    xy_stage: str | None = None


def called(number: int, name: str) -> str:
    """A place for a message: by its name, or by its number, from 1."""
    return f"place {shortened(name)}" if name else f"place {number + 1}"


def problem(places: Sequence[Listed]) -> str | None:
    """What is wrong with a list of places as a whole; None if nothing is."""
    first = places[0]
    names: dict[str, int] = {}
    taken: dict[tuple[Any, ...], int] = {}
    for number, place in enumerate(places):
        word = called(number, place.name)
        if place.name and names.setdefault(place.name, number) != number:
            return (
                f"{word} is there twice, as number {names[place.name] + 1} and {number + 1}; "
                "accepted: a name of its own for each"
            )
        where = (place.x_um, place.y_um, place.z_um, *sorted(place.stages.items()))
        if (same := taken.setdefault(where, number)) != number:
            return (
                f"{word} is where {called(same, places[same].name)} is, "
                f"({place.x_um:g}, {place.y_um:g}) µm; accepted: each place once"
            )
        for what in sorted(_axes(place) ^ _axes(first)):
            lacks, has = (number, 0) if what in _axes(first) else (0, number)
            return (
                f"{called(lacks, places[lacks].name)} has no position of {what}, which "
                f"{called(has, places[has].name)} has; accepted: one for all places, or for none"
            )
    return None


def _axes(place: Listed) -> set[str]:
    """Which stages a place is of, beside the XY stage."""
    labels = {f"stage {label!r}" for label in place.stages}
    return labels if place.z_um is None else {"the focus", *labels}


def name_of(value: object, where: str, key: str) -> str:
    """What a place is called; `where` and `key` say of what, for errors."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        accepted = f"a text of {LONGEST_NAME} characters at most"
        raise PositionsError(f"{where}: `{key}`: {refused(value, accepted)}")
    return value


def number_of(value: object, where: str) -> float:
    """A position (µm)."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and abs(number) <= FARTHEST_UM:  # which NaN is not
        return float(number)
    accepted = f"a number of µm from {-FARTHEST_UM:g} to {FARTHEST_UM:g}"
    raise PositionsError(f"{where}: {refused(value, accepted)}")
