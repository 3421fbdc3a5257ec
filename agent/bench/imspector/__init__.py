"""An Abberior microscope through a double of Imspector: what runs find, how they end, their pace.

There is no Imspector here: the double stands for its server, and has the behaviour of real systems
as far as others have told of it. specpy's own stacks, signals and flags are the real ones.
"""

from __future__ import annotations

from agent.bench.measurement import Measurement
from agent.config.reading import UserError
from devices.extras import install

_FIRST_SEED = 7101
_SEEDS, _QUICK_SEEDS = 3, 2
_STORMS, _QUICK_STORMS = 20, 2


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Three seeds of two plans in both ways, 20 storms, and the pace; `seeds`: at least two.

    Raises
    ------
    UserError
        specpy is not installed, or there are too few seeds.
    """
    if seeds is not None and seeds < 2:
        raise UserError(f"--seeds {seeds}: at least 2, as their spread is the noise")
    try:
        from agent.bench.imspector import pace, results, storms
    except ModuleNotFoundError as error:
        if error.name != "specpy":
            raise
        raise UserError(f"specpy is not installed: {install('imspector')}") from None
    used = [_FIRST_SEED + i for i in range(seeds or (_QUICK_SEEDS if quick else _SEEDS))]
    # Memory first: a process does not give back what it once had.
    parts = {
        "pace": pace.measure(quick=quick),
        "results": results.measure(used, quick=quick),
        "storms": storms.measure(_QUICK_STORMS if quick else _STORMS),
    }
    return Measurement(
        columns=("part", "what", "found"),
        rows=[(name, *row) for name, part in parts.items() for row in part.rows],
        checks=[check for part in parts.values() for check in part.checks],
        raw={name: part.raw for name, part in parts.items()},
        seeds=used,
    )
