"""Fields of view on the stage."""

from __future__ import annotations

from devices.places import FieldsConfig
from devices.shot import Field


def grid(config: FieldsConfig) -> list[Field]:
    """The config's fields of view in the order of visit: of a grid from its centre outwards.

    Where the config has no centre a grid is around (0, 0); a run's has one, and its list is in
    order, from `MicroscopeConfig.placed`.

    Examples
    --------
    >>> [(field.x_um, field.y_um) for field in grid(FieldsConfig(rows=1, columns=2, pitch_um=10))]
    [(-5.0, 0.0), (5.0, 0.0)]
    >>> config = FieldsConfig(places=[{"name": "A", "x_um": 3, "y_um": 4, "z_um": 1}])
    >>> grid(config)[0]
    Field(index=0, x_um=3.0, y_um=4.0, z_um=1.0, name='A', stages=())
    """
    return [
        Field(
            number,
            place.x_um,
            place.y_um,
            place.z_um,
            place.name,
            tuple(sorted(place.stages.items())),
        )
        for number, place in enumerate(config.listed())
    ]
