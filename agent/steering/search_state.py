"""What a search has got to, as far as it matters for what it may be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.config import RunConfig
from agent.plan import Instruction


@dataclass(slots=True)
class SearchState:
    """Where a search stands, learned from what its plan notes.

    Attributes
    ----------
    trials
        How many there will be.
    gave
        For each trial that is done, whether it gave a result.
    over
        The settings are recommended already.
    """

    trials: int
    gave: list[bool] = field(default_factory=list)
    over: bool = False

    @classmethod
    def after(cls, config: RunConfig, notes: Iterable[Mapping[str, Any]]) -> SearchState:
        """Where the search of a config stands after these notes of its plan."""
        standing = cls(config.optimize.trials)
        for note in notes:
            standing.learn(note)
        return standing

    def learn(self, note: Mapping[str, Any]) -> None:
        """Take in a note, {topic, data}."""
        if note["topic"] == "trial":
            self.gave.append(note["data"]["objectives"] is not None)
        elif note["topic"] == "told":
            self.trials = note["data"].get("trials", self.trials)
        elif note["topic"] == "recommendation":
            self.over = True

    def expect(self, instructions: Iterable[Instruction]) -> None:
        """Count on what the plan will note of instructions that it gets now."""
        for instruction in instructions:
            if instruction.key == "trials":
                self.trials = max(instruction.value, len(self.gave))
            elif instruction.key in ("accept", "finish"):
                self.trials = len(self.gave)
