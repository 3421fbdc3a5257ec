"""The dose gate: light energy on the sample, counted before it is spent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from agent.config import DoseConfig
from agent.store.recording import Recording


class BudgetReached(Exception):
    """The next shot would exceed a light budget; it was not taken."""


class DoseGate:
    """Sums light energy by laser, in all and by field, and says no in time.

    Parameters
    ----------
    config
        Budgets (J on the sample).
    """

    def __init__(self, config: DoseConfig) -> None:
        self._config = config
        self.total: dict[str, float] = defaultdict(float)
        self.by_field: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    @classmethod
    def of(cls, config: DoseConfig, recording: Recording) -> DoseGate:
        """The gate of a run that is under way: with its light, lost shots included."""
        gate = cls(config)
        for shot in [*(taken.shot for taken in recording.taken.values()), *recording.lost]:
            gate.count(shot["dose_J"], shot["field"]["index"] if shot["field"] else None)
        return gate

    def admit(self, dose: Mapping[str, float], field: int | None) -> None:
        """Ask before a shot; it is not counted yet.

        Raises
        ------
        BudgetReached
            A budget would be exceeded.
        """
        here = self.by_field[field] if field is not None else {}
        for laser, joules in dose.items():
            _check("dose.budget_J", laser, self.total[laser] + joules, self._config.budget_J)
            if field is not None:
                spent = here.get(laser, 0.0) + joules
                _check(f"dose.per_field_J (field {field})", laser, spent, self._config.per_field_J)

    def count(self, dose: Mapping[str, float], field: int | None, sign: int = 1) -> None:
        """Count a shot's light, or with `sign` -1 take one back that was never taken."""
        for laser, joules in dose.items():
            self.total[laser] += sign * joules
            if field is not None:
                self.by_field[field][laser] += sign * joules

    @property
    def budget_fraction(self) -> float | None:
        """Spent share of the budget that is nearest its end; None without a budget."""
        shares = [self.total[k] / budget for k, budget in self._config.budget_J.items()]
        return max(shares, default=None)


def _check(key: str, laser: str, spent: float, budgets: Mapping[str, float]) -> None:
    budget = budgets.get(laser)
    if budget is not None and spent > budget:
        raise BudgetReached(
            f"{key}.{laser}: the next frame would make it {spent:.3g} J of {budget:.3g} J"
        )
