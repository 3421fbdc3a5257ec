"""How a first config is written: names, numbers, comments and quotes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class _Names:
    """Names that are each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, name: str) -> str:
        """The name, with a number where it was given before."""
        found, number = name, 1
        while found in self._given:
            number += 1
            found = f"{name}_{number}"
        self._given.add(found)
        return found


def _number(value: float) -> str:
    """A number with all its digits, as a device may refuse one that was rounded up."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _in_a_comment(text: str) -> str:
    return " ".join(text.split())


def _identifier(*names: str) -> str:
    """Make a setting's name: lower case, words joined by underscores."""
    words = re.findall(r"\w+", " ".join(names).lower().replace("_", " "))
    # A name that is a number, or yes or no, would be no text in YAML.
    return "_".join(words if len(words) > 1 else ["setting", *words])


def _quoted(text: str) -> str:
    """Write a string as YAML; JSON's way of writing one is YAML's, too."""
    return json.dumps(text, ensure_ascii=not text.isprintable())
