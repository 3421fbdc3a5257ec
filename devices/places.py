"""Where the fields of view are, as a config says it: a grid, or a list of places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from devices import position, positions
from devices.position import FARTHEST_UM, LONGEST_NAME, MOST, MOST_STAGES, PositionsError
from devices.setting import Model

_ONE_UM = 0.4
"""Places that are no further from each other (µm) are one to an XY stage, like those above it."""
_Um = Annotated[float, Field(ge=-FARTHEST_UM, le=FARTHEST_UM)]


class Place(Model):
    """A field of view where you want it."""

    name: str = Field(
        "", max_length=LONGEST_NAME, description="what to call it; not twice the same"
    )
    x_um: _Um = Field(description="stage position of its centre (µm)")
    y_um: _Um = Field(description="stage position of its centre (µm)")
    z_um: _Um | None = Field(
        None, description="focus position (µm), of all places or of none; the focus stays if absent"
    )
    stages: dict[str, _Um] = Field(
        default_factory=dict,
        max_length=MOST_STAGES,
        description="positions of other stages of one axis (µm), by device label",
    )


class FieldsConfig(Model):
    """Fields of view: a grid on the stage, visited from its centre outwards, or a list of places.

    A list is written here or read from a file.
    """

    rows: int = Field(1, ge=1, le=1000, description="of a grid: fields along y")
    columns: int = Field(1, ge=1, le=1000, description="of a grid: fields along x")
    pitch_um: float = Field(10.0, gt=0, description="of a grid: distance between neighbours (µm)")
    centre_um: tuple[float, float] | None = Field(
        None,
        description="of a grid: where the first field is; where the stage is when a run starts if "
        "absent",
    )
    z_um: float | None = Field(
        None,
        description="focus that z-stacks are relative to (µm), but for places that have their own; "
        "where the focus is when a run starts if absent",
    )
    positions: Path | None = Field(
        None,
        description="instead of a grid: Micro-Manager's position list (.pos), or a useq sequence "
        "(YAML, JSON) whose positions and grids are taken. It is read once: a run's own config has "
        "its places",
    )
    places: tuple[Place, ...] | None = Field(
        None, min_length=1, max_length=MOST, description="instead of a grid: a list of places"
    )
    route: Literal["shortest", "listed"] = Field(
        "shortest",
        description="of a list: visited for little travel from where the stage is, or as listed; a "
        "run's own config has them in the order of visit",
    )
    xy_stage: str | None = Field(
        None, description="label that the XY stage must have; as the file of `positions` says"
    )
    source: str | None = Field(
        None, description="file that `places` were read from; written by stedfast"
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Take the places of the file, which from then on are the config's own."""
        if not isinstance(data, Mapping):
            return data
        file = data.get("positions")
        if not isinstance(file, str | Path):
            return data
        if data.get("places") is not None:
            raise ValueError("`positions`: and `places` are both there; accepted: one of them")
        try:
            found = positions.read_positions(Path(file))
        except PositionsError as error:
            raise ValueError(f"`positions`: {error}") from None
        rest = {key: value for key, value in data.items() if key != "positions"}
        places = [
            {key: value for key, value in place._asdict().items() if value is not None}
            for place in found.places
        ]
        return {**rest, "places": places, "xy_stage": found.xy_stage, "source": str(file)}

    @model_validator(mode="after")
    def _consistent(self) -> FieldsConfig:
        if self.places is None:
            return self
        if (self.rows, self.columns) != (1, 1) or self.centre_um is not None:
            raise ValueError(
                f"`{self.key}`: beside `rows`, `columns` or `centre_um`, which are a grid's; "
                "accepted: a list or a grid"
            )
        if problem := position.problem(self.places):
            raise ValueError(f"`places`: {problem}")
        return self

    @property
    def key(self) -> str:
        """The key that says where the places are."""
        return "positions" if self.source else "places"

    def at(self, number: int) -> tuple[str | int, ...]:
        """Where the config says one of the places, as keys of `microscope`."""
        return ("fields", "positions") if self.source else ("fields", "places", number)

    @property
    def count(self) -> int:
        """How many fields there are."""
        return self.rows * self.columns if self.places is None else len(self.places)

    @property
    def apart_um(self) -> float:
        """Distance between neighbours (µm): of a list the smallest, or `pitch_um`."""
        if self.places is None:
            return self.pitch_um
        # Imported late: most configs list no places.
        from scipy.spatial.distance import pdist

        apart = pdist([(place.x_um, place.y_um) for place in self.places])
        return float(min(apart[apart > _ONE_UM], default=self.pitch_um))

    def listed(self) -> tuple[Place, ...]:
        """All fields, in the order of visit; a grid without a centre is around (0, 0)."""
        if self.places is not None:
            return self.places
        x0, y0 = self.centre_um or (0.0, 0.0)
        offsets = [
            (
                (column - (self.columns - 1) / 2) * self.pitch_um,
                (row - (self.rows - 1) / 2) * self.pitch_um,
            )
            for row in range(self.rows)
            for column in range(self.columns)
        ]
        offsets.sort(key=lambda offset: (round(offset[0] ** 2 + offset[1] ** 2, 6), offset))
        return tuple(Place.model_construct(x_um=x0 + x, y_um=y0 + y) for x, y in offsets)

    def placed(
        self,
        xy_um: tuple[float, float] | None,
        z_um: float | None = None,
        *,
        revisited: int = 0,
    ) -> FieldsConfig:
        """The same from where the stages are: a grid has a centre, a list its order, both a focus.

        Parameters
        ----------
        xy_um, z_um
            Where stage and focus are (µm); None where there is none.
        revisited
            How many of the first fields are gone round again and again: their order is one for
            that, and the others come after them.
        """
        # To a nanometre, which goes to the ledger and back; adding 0 turns -0.0 into 0.0.
        where: dict[str, object] = {}
        if self.z_um is None and z_um is not None:
            where["z_um"] = round(z_um, 3) + 0.0
        if xy_um is not None and self.places is not None and self.route == "shortest":
            where |= {"places": _on_the_way(self.places, xy_um, revisited), "route": "listed"}
        elif xy_um is not None and self.places is None and self.centre_um is None:
            where["centre_um"] = (round(xy_um[0], 3) + 0.0, round(xy_um[1], 3) + 0.0)
        return self.model_copy(update=where)


def _on_the_way(
    places: tuple[Place, ...], start: tuple[float, float], revisited: int
) -> tuple[Place, ...]:
    """Places in the order of visit: the first so many to go round, then the others."""
    from devices.route import shortest  # imported late: numpy is not at once there

    ordered: list[Place] = []
    for part, back in ((places[:revisited], True), (places[revisited:], False)):
        points = [(place.x_um, place.y_um) for place in part]
        ordered += [part[number] for number in shortest(points, start, back=back)]
        start = (ordered[-1].x_um, ordered[-1].y_um) if ordered else start
    return tuple(ordered)
