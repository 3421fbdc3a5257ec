"""Fields of view on the stage."""

from __future__ import annotations

from devices.config import FieldsConfig
from devices.shot import Field


def grid(config: FieldsConfig) -> list[Field]:
    """The config's fields of view, from the centre outwards.

    Where the config has no centre they are around (0, 0); a run's has one, from
    `MicroscopeConfig.placed`.

    Examples
    --------
    >>> [(field.x_um, field.y_um) for field in grid(FieldsConfig(rows=1, columns=2, pitch_um=10))]
    [(-5.0, 0.0), (5.0, 0.0)]
    """
    x0, y0 = config.centre_um or (0.0, 0.0)
    places = [
        (
            (column - (config.columns - 1) / 2) * config.pitch_um,
            (row - (config.rows - 1) / 2) * config.pitch_um,
        )
        for row in range(config.rows)
        for column in range(config.columns)
    ]
    places.sort(key=lambda place: (round(place[0] ** 2 + place[1] ** 2, 6), place))
    return [Field(i, x0 + x, y0 + y) for i, (x, y) in enumerate(places)]
