"""One structure with two labels: fields for networks that keep what both labels share.

`label_fields` defines the content of a field, `label_population` the ranges that the sets are drawn
from. Unpaired images, as for a cycle-consistent GAN, are `label_a` and `label_b` of different
fields.

Folder layout: `<channel>/<name>.tif`, same names in each channel, and `fields.csv`. Channels:

- `label_a`, `label_b`: an exposure of each label; uint16, counts.
- `label_a_again`: another exposure of the same molecules of label A.
- `label_a_low`: one with a tenth of the light. With `label_a` it is a semi-synthetic pair as for
  content-aware restoration.
- `mean_a`: what `label_a` and `label_a_again` scatter about; float32, counts.
- `empty_a`: one of label A's off-target signal and background, without the structure.
- `clean`: mean image of the structure as label A would show it with every site bound; float32,
  counts of label A, neither background nor offset.
- `off_target_a`: mean image of label A's off-target signal in this field; likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import tifffile

from agent.config.reading import UserError
from agent.offline.simulate.data_set import simulate_set
from agent.offline.simulate.label_binding import MeasuredLabel
from agent.offline.simulate.label_fields import LabelledField, draw_field
from agent.offline.simulate.label_population import LABEL_SETS, SOURCES, LabelSet, SimulatedLabel
from agent.offline.simulate.off_target import PIXEL_NM
from devices.refusals import unknown
from devices.sources import Structure

FIELDS = "fields.csv"
CHANNELS = (
    "label_a",
    "label_a_again",
    "label_a_low",
    "label_b",
    "mean_a",
    "clean",
    "off_target_a",
    "empty_a",
)
COLUMNS = [field.name for field in fields(LabelledField)] + [
    f"{label}_{field.name}"
    for label in "ab"
    for part in (SimulatedLabel, MeasuredLabel)
    for field in fields(part)
]


def parse_set(structure: str, name: str) -> tuple[Structure, LabelSet]:
    """The structure and set of these names.

    Raises
    ------
    UserError
        There is no such set, or none of this structure.
    """
    if name not in LABEL_SETS:
        raise UserError(f"--set {name}: {unknown(name, LABEL_SETS, 'set')}")
    for of in SOURCES:
        if of == (structure, name):
            return of
    known = ", ".join(kind for kind, of in SOURCES if of == name)
    raise UserError(f"--structure {structure}: no {name} set of it; accepted: {known}")


def _make(
    folder: Path, structure: Structure, name: LabelSet, seed: int, index: int
) -> dict[str, Any]:
    images, row = draw_field(structure, name, seed, index)
    for channel, image in images.items():
        (folder / channel).mkdir(exist_ok=True)
        tifffile.imwrite(
            folder / channel / f"{row['name']}.tif",
            image,
            resolution=(1e7 / PIXEL_NM, 1e7 / PIXEL_NM),
            resolutionunit="CENTIMETER",
        )
    return row


def _complete(folder: Path, name: str) -> bool:
    return all((folder / channel / f"{name}.tif").exists() for channel in CHANNELS)


def simulate_labels(
    folder: Path,
    structure: Structure,
    name: LabelSet,
    number: int,
    seed: int,
    workers: int | None = None,
) -> Iterator[int]:
    """Make `number` fields in `folder`, continuing where an earlier call stopped.

    Parameters
    ----------
    folder
        Gets a folder for each channel and `fields.csv` (see `LabelledField`, `Label` and
        `Measured`).
    structure, name
        The labelled structure, and which set: `training` (with a share for validation) or `test`.
    number
        How many fields the finished set has.
    seed
        Of the whole set.
    workers
        Processes; by default one a core.

    Yields
    ------
    int
        How many fields are done, after each.

    Raises
    ------
    UserError
        The folder holds fields of another structure, set or seed.
    """
    yield from simulate_set(
        folder / FIELDS,
        COLUMNS,
        number,
        partial(_make, folder, structure, name, seed),
        complete=lambda row: _complete(folder, row["name"]),
        asked={"structure": structure, "set": name, "seed": str(seed)},
        workers=workers,
    )
