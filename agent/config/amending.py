"""One value of a person's own config is written anew; their comments and order stay."""

from __future__ import annotations

from typing import Any

import yaml

from agent.config import plain_yaml
from agent.config.plain_yaml import YamlError


def amended(text: str, section: str, key: str, value: Any, *, after: str) -> str:
    r"""A config's text with one key of one of its sections set.

    Parameters
    ----------
    text
        YAML.
    section
        A key of the config whose value has keys itself.
    key, value
        What is to be set in it: plain data.
    after
        A key of that section, with a value of one line, below which a new one is put.

    Raises
    ------
    YamlError
        It cannot be set by changing one place of the text.

    Examples
    --------
    >>> print(amended("a:  # mine\n  b: 1\n  d: 2\n", "a", "c", [1, 2], after="b"))
    a:  # mine
      b: 1
      c: [1, 2]
      d: 2
    <BLANKLINE>
    """
    data, root = plain_yaml.read_with_nodes(text)
    wanted = {**data, section: {**data[section], key: value}}
    found = _amended(text, _pair(_pair(root, section)[1], key), root, section, key, value, after)
    if plain_yaml.read(found) != wanted:
        raise YamlError("it is written in a way that is left to you")
    return found


def _amended(
    text: str,
    there: tuple[yaml.Node | None, yaml.Node | None],
    root: yaml.Node | None,
    section: str,
    key: str,
    value: Any,
    after: str,
) -> str:
    written = " ".join(plain_yaml.write({key: value}).removeprefix(f"{key}:").split())
    old = there[1]
    if old is not None:
        last = old
        while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
            # The end of a block is where the next token begins, behind comments.
            last = last.value[-1] if isinstance(last, yaml.SequenceNode) else last.value[-1][1]
        # Where there is no value, its place is right behind the colon.
        apart = " " if old.start_mark.index == last.end_mark.index else ""
        return _spliced(text, old.start_mark.index, last.end_mark.index, apart + written)
    inside = _pair(root, section)[1]
    beside_key, beside = _pair(inside, after)
    if inside is None or beside_key is None or beside is None:
        raise YamlError(f"there is no `{section}.{after}` to put it below")
    if isinstance(inside, yaml.MappingNode) and inside.flow_style:
        at = beside.end_mark.index
        return _spliced(text, at, at, f", {key}: {written}")
    end = text.find("\n", beside.end_mark.index)
    end_of_line = "\r\n" if text[:end].endswith("\r") else "\n"
    line = f"{' ' * beside_key.start_mark.column}{key}: {written}{end_of_line}"
    if end < 0:
        return f"{text}{end_of_line}{line}"
    return _spliced(text, end + 1, end + 1, line)


def _pair(node: yaml.Node | None, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """A mapping's key and its value, as nodes."""
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if name.value == key:
            return name, value
    return None, None


def _spliced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]
