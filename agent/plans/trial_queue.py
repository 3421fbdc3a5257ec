"""What a person's suggestions and instructions make of a search."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.config.plans import OptimizeConfig
from agent.optimizer.protocol import Optimizer
from agent.plan import FREE, KEYS, Instruction, Note
from devices.config import Value

Settings = dict[str, Value]
_POOR = 2
"""Trials in a row that promise too little, before the search ends."""


class Steering:
    """Which settings come next, between a person and the optimizer.

    Parameters
    ----------
    config
        How many trials there are to be, and what to begin with.
    optimizer
        Asked where the person suggests nothing.
    start
        The tuned settings' starting values.

    Examples
    --------
    >>> from agent.optimizer.baselines import RandomSearch
    >>> from agent.optimizer.space import Space
    >>> engine = RandomSearch(Space({}, {}), bleaching_limit=0.2, seed=1)
    >>> steering = Steering(OptimizeConfig(begin_with=[{"power": 5}]), engine, {"power": 1})
    >>> steering.ask()
    ({'power': 5}, {'suggested_by': 'begin_with'})
    """

    def __init__(
        self, config: OptimizeConfig, optimizer: Optimizer, start: Mapping[str, Value]
    ) -> None:
        self.trials = config.trials
        """How many there are to be."""
        self.accepted: tuple[int, Settings] | None = None
        """Number and settings of the trial that a person accepted; None without one."""
        self._optimizer = optimizer
        self._start = dict(start)
        self._search = config.search
        self._spans: dict[str, Sequence[Value]] = {}
        self._begin_with = deque(config.begin_with)
        self._told: deque[Mapping[str, Value]] = deque()
        self._asked: list[Settings] = []
        self._least_gain = config.least_gain
        self._promised: list[float] = []

    @property
    def done(self) -> int:
        """How many trials were begun."""
        return len(self._asked)

    @property
    def enough(self) -> float | None:
        """What the last trials promised at most, if that was too little for another one."""
        last = self._promised[-_POOR:]
        if self._told or len(last) < _POOR or max(last) >= self._least_gain:
            return None
        return max(last)

    @property
    def untried(self) -> list[Settings]:
        """Suggestions that there was no trial for."""
        return [dict(settings) for settings in (*self._told, *self._begin_with)]

    def ask(self) -> tuple[Settings, dict[str, str]]:
        """Settings of the next trial, and what its note says of where they come from.

        What a person tells the run is tried before what the config begins with, and both before
        what the optimizer thinks best.
        """
        if self._told:
            settings, origin = self._completed(self._told.popleft()), {"suggested_by": "told"}
        elif self._begin_with:
            settings = self._filled(self._begin_with.popleft(), self._start)
            origin = {"suggested_by": "begin_with"}
        else:
            settings, origin = self._optimizer.ask(), {}
            if (gain := self._optimizer.expected_gain()) is not None:
                self._promised.append(gain)
        self._asked.append(settings)
        return settings, origin

    def heed(self, instructions: Sequence[Instruction]) -> Iterator[Note]:
        """Obey instructions; yields a note of each."""
        for instruction in instructions:
            key, value = instruction.key, instruction.value
            written = value if key in KEYS else _as_written(value)
            data: dict[str, Any] = {"key": key, "value": written, "trial": self.done + 1}
            try:
                data |= self._obey(key, value)
            except ValueError as error:  # not every engine can do all of it
                data["refused"] = str(error)
            yield Note("told", data)

    def _obey(self, key: str, value: Any) -> dict[str, Any]:
        """Obey one instruction; returns additions to its note."""
        if key == "try":
            self._told.append(value)
        elif key == "prefer":
            self._optimizer.prefer(value)
        elif key == "pick":
            settings = self._asked[value - 1]
            self._optimizer.pick(settings)
            return {"settings": settings}
        elif key == "accept":
            self.trials, self.accepted = self.done, (value, self._asked[value - 1])
            return {"settings": self._asked[value - 1], "trials": self.trials}
        elif key in ("trials", "finish"):
            self.accepted = None
            # Trials done by now stay done.
            self.trials = self.done if key == "finish" else max(value, self.done)
            return {"trials": self.trials}
        else:
            spans = {name: span for name, span in self._spans.items() if name != key}
            if value != FREE:
                spans[key] = tuple(value.get("between") or value["among"])
            self._optimizer.restrict(spans)
            self._spans = spans
        return {}

    def _completed(self, suggested: Mapping[str, Value]) -> Settings:
        """The suggestion, with settings that it leaves out as they are recommended by now."""
        if self._start.keys() <= suggested.keys():
            return self._filled(suggested, {})
        try:
            return self._filled(suggested, self._optimizer.recommend())
        except ValueError:  # there is nothing to recommend yet
            return self._filled(suggested, self._start)

    def _filled(self, suggested: Mapping[str, Value], others: Mapping[str, Value]) -> Settings:
        """The suggestion as it is, and the other settings within the searched ranges."""
        spans: dict[str, Sequence[Value]] = {**self._search, **self._spans}
        return {
            name: suggested[name]
            if name in suggested
            else _nearest(others.get(name, start), spans.get(name))
            for name, start in self._start.items()
        }


def _nearest(value: Value, span: Sequence[Value] | None) -> Value:
    """The value, or what a range or a list of choices has in its place."""
    if span is None or value in span:
        return value
    if isinstance(value, str) or len(span) != 2 or any(isinstance(end, str) for end in span):
        return span[0]
    low, high = span
    return low if float(value) < float(low) else high if float(value) > float(high) else value


def _as_written(value: Any) -> Any:
    """Where a tuned setting is searched, as a person would write it."""
    if value == FREE:
        return value
    span = value.get("between") or value["among"]
    return span[0] if len(set(span)) == 1 else list(span)
