"""The dose gate: light energy on the sample, counted before it is spent, and put right after.

A shot is announced with the light that it should take. The true amount is known once it is over,
from the time that the light was on: a camera that is slow takes more. The excess of earlier frames
is expected of the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from agent.config.schema import DoseConfig
from agent.record.recording import Recording

ROUNDING = 1e-9
"""Relative: a budget of exactly what a run takes is enough."""
_MORE, _MORE_S = 0.2, 0.1
_LESS, _LESS_S = 0.5, 1.0
"""Share of the time expected, and s, beyond which a difference in all is told of."""


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
        self._late_s = 0.0
        self.expected_s = 0.0
        """Time (s) that the settings say light was to be on the sample in all measured shots."""
        self.lit_s = 0.0
        """Time (s) that it was."""
        self.total: dict[str, float] = defaultdict(float)
        self.by_field: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))

    @classmethod
    def of(cls, config: DoseConfig, recording: Recording) -> DoseGate:
        """The gate of a run that is under way: with its light, lost shots included."""
        gate = cls(config)
        for shot in [*(taken.shot for taken in recording.taken.values()), *recording.lost]:
            gate.count(shot["dose_J"], shot["field"]["index"] if shot["field"] else None)
        for taken in recording.taken.values():
            gate.learn(taken.frame)
        return gate

    def likely(self, dose: Mapping[str, float], exposure_s: float) -> dict[str, float]:
        """What a shot will take (J), by laser, if it is as slow as the last one.

        Parameters
        ----------
        dose, exposure_s
            What its settings say.
        """
        factor = 1 + self._late_s / exposure_s if exposure_s > 0 else 1.0
        return {laser: joules * factor for laser, joules in dose.items()}

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take in how long light was on in a shot; earlier versions' rows do not say.

        Parameters
        ----------
        row
            A frame's in the ledger, or that of a shot without one.
        """
        if "lit_s" in row and "expected_s" in row:
            self.expected_s += row["expected_s"]
            self.lit_s += row["lit_s"]
            self._late_s = max(0.0, row["lit_s"] - row["expected_s"])

    def mismatch(self) -> str | None:
        """A sentence if light was on for another time than expected."""
        more, less = self.lit_s - self.expected_s, self.expected_s - self.lit_s
        found = f"light was on the sample for {self.lit_s:.3g} s, {self.expected_s:.3g} expected"
        if more > max(_MORE * self.expected_s, _MORE_S):
            return f"{found}: slow camera, shutter or lasers; the measured light counts"
        if less > max(_LESS * self.expected_s, _LESS_S):
            return f"{found}: is `microscope.exposure` right? The expected light counts"
        return None

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
    if budget is not None and spent > budget * (1 + ROUNDING):
        raise BudgetReached(
            f"{key}.{laser}: the next frame would make it {spent:.3g} J of {budget:.3g} J"
        )
