"""`stedfast bench gpu`: the checks of `python -m models.gpu_check`, as a benchmark."""

from __future__ import annotations

from agent.bench.measurement import Check, Measurement
from models.cuda import accelerator_of
from models.emulated import Emulated
from models.gpu_check.__main__ import check
from models.gpu_check.report import as_dict

_MINUTES = 8.0


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Do all checks on the first GPU; over an emulated one, without times, where there is none.

    Parameters
    ----------
    quick
        The checks' logic only.
    seeds
        There is nothing to repeat.
    """
    gpu = accelerator_of("auto")
    told, sections = check(gpu or Emulated(tries=False), _MINUTES, quick=quick or gpu is None)
    checks = [
        Check(
            f"{section.name}: {one.name}",
            one.value,
            "<=" if one.relation == "<=" else ">=",
            one.bound,
            one.unit,
        )
        for section in sections
        for one in section.checks
    ]
    checks += [
        Check(f"{section.name}: {what}, in the time there was", 0, ">=", 1)
        for section in sections
        for what in section.left_out
    ]
    rows = [
        (section.name, name, _words(figure))
        for section in sections
        for name, figure in section.figures.items()
    ]
    where = str(told.get("card", "emulated: no GPU here"))
    return Measurement(("", where, ""), rows, checks, as_dict(told, sections))


def _words(figure: object) -> str:
    if isinstance(figure, dict):
        return ", ".join(f"{name} {_words(value)}" for name, value in figure.items())
    return f"{figure:.4g}" if isinstance(figure, float) else str(figure)
