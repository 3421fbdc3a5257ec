"""YAML as configs and command lines have it: one reader, and the writer that goes with it.

Numbers are those of YAML 1.2: `1e2` is a hundred and `010` ten, while `1:30` and `2020-01-01` are
texts. Values are plain ones (texts, numbers, true and false, nothing, lists, mappings). What is
written reads back as the same. Size, depth and what aliases add up to are bounded: ten lines of
aliases of aliases could otherwise stand for billions of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePath
from typing import Any, ClassVar

import yaml

MAX_CHARACTERS = 500_000
MAX_VALUES = 50_000
MAX_DEPTH = 40
_MOST_OPENED, _LONGEST_LINE = 300, 300
"""Brackets of a text, and characters of a line, up to which it is read by the parser in C."""
_OTHERWISE = frozenset("\t\ufeff?")
"""What the two parsers do not read alike everywhere."""
_TAG = "tag:yaml.org,2002:"
_NO_PLAIN_VALUES = [f"{_TAG}{name}" for name in ("timestamp", "binary", "omap", "pairs", "set")]
_NUMBERS = {
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}


class YamlError(ValueError):
    """A text that is no YAML, or none that is read here.

    Parameters
    ----------
    message
        What is wrong, in a line.
    line
        Where, from 1, if that is known.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read(text: str) -> Any:
    """The plain value that a text stands for.

    Raises
    ------
    YamlError
        It stands for none.
    """
    return _read(text)[0]


def read_with_nodes(text: str) -> tuple[Any, yaml.Node | None]:
    """The same, with the nodes that know in which line each key stands.

    A config is read several times in a run; the second time takes a hundredth of the first.
    """
    data, node = _remembered(text)
    return _unshared(data), node


def write(data: Any, *, block: bool = False) -> str:
    """YAML of plain data (tuples are lists, and paths texts), which reads back as the same.

    Parameters
    ----------
    data
        What to write.
    block
        Give each key a line of its own, also where a mapping is short.
    """
    flow = False if block else None
    if _QuickDumper is not None:
        written = _written(data, _QuickDumper, flow)
        # The two break and escape what stands between these in ways of their own.
        if '"' not in written:
            return written
    return _written(data, _Dumper, flow)


def _written(data: Any, kind: Any, flow: bool | None) -> str:
    written: str = yaml.dump(
        data, Dumper=kind, sort_keys=False, allow_unicode=True, default_flow_style=flow
    )
    return written


def _read(text: str) -> tuple[Any, yaml.Node | None]:
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"longer than {MAX_CHARACTERS:,} characters")
    try:
        if _QuickLoader is not None and _is_usual(text):
            try:
                return _read_with(_QuickLoader, text)
            except (yaml.YAMLError, UnicodeError):
                pass  # the other one's words are those that people know
        return _read_with(_Loader, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(str(error.problem), mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0]) from None
    except RecursionError:
        raise YamlError(f"nested deeper than {MAX_DEPTH} levels") from None


def _is_usual(text: str) -> bool:
    """Whether the parser in C reads a text as the other one does.

    It knows no limit to nesting, at which it would overflow, and takes tabs, byte order marks and
    question marks where the other one refuses them.
    """
    opened = text.count("[") + text.count("{")
    longest = max(map(len, text.splitlines()), default=0)
    return opened <= _MOST_OPENED and longest <= _LONGEST_LINE and not _OTHERWISE & set(text)


def _read_with(kind: Callable[[str], Any], text: str) -> tuple[Any, yaml.Node | None]:
    loader = kind(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, None
        _weigh(node, {})
        return _unshared(loader.construct_document(node)), node
    finally:
        loader.dispose()


_remembered = lru_cache(maxsize=8)(_read)
_BEING_WEIGHED = (-1, 0)


def _weigh(node: yaml.Node, known: dict[int, tuple[int, int]], depth: int = 1) -> tuple[int, int]:
    """How many values a node stands for with its aliases written out, and how deep it is."""
    if (found := known.get(id(node))) is not None:
        if found == _BEING_WEIGHED:
            raise YamlError("an alias stands within what it is an alias of", _line_of(node))
    else:
        known[id(node)] = _BEING_WEIGHED
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        values, deep = 1, 0
        for part in parts:
            more, below = _weigh(part, known, depth + 1)
            values, deep = values + more, max(deep, below)
        found = known[id(node)] = values, deep + 1
    if found[0] > MAX_VALUES:
        raise YamlError(f"stands for more than {MAX_VALUES:,} values", _line_of(node))
    if depth + found[1] - 1 > MAX_DEPTH:
        raise YamlError(f"nested deeper than {MAX_DEPTH} levels", _line_of(node))
    return found


def _unshared(data: Any) -> Any:
    """The same, with a copy of its own wherever an alias stood."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(value) for value in data] if isinstance(data, list) else data


def _line_of(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


class _Plain(yaml.constructor.SafeConstructor, yaml.resolver.Resolver):
    """Refuses a key written twice, of which YAML would silently drop one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        seen = set()
        for key, _ in pairs:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key must be a single word", key)
            if key.value in seen:
                raise _refused(f"key `{key.value}` stands here twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """A number, also where a tag says that a text is one."""
        text = node.value
        if _NUMBERS["int"].fullmatch(text):
            # Python itself reads no whole number of more digits, as that takes long.
            if len(text) > 4000:
                raise _refused("a number of more than 4,000 digits", node)
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if _NUMBERS["float"].fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        raise _refused(f"{text[:40]!r} is not a number", node)

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """`true` and `yes`, and their opposites."""
        if (truth := self.bool_values.get(node.value.lower())) is None:
            raise _refused(f"{node.value[:40]!r} is neither true nor false", node)
        return truth

    def refuse_tag(self, node: yaml.Node) -> Any:
        """A value with a tag of its own is no plain value."""
        raise _refused(f"tag {node.tag!r}: only plain values are read", node)

    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        **yaml.constructor.SafeConstructor.yaml_constructors,
        f"{_TAG}int": construct_number,
        f"{_TAG}float": construct_number,
        f"{_TAG}bool": construct_truth,
        **dict.fromkeys(_NO_PLAIN_VALUES, refuse_tag),
        None: refuse_tag,
    }


class _Loader(_Plain, yaml.SafeLoader):
    """In Python, with the words for what is wrong."""


try:

    class _InC(_Plain, yaml.CSafeLoader):
        """A tenth of the time."""

    _QuickLoader: Callable[[str], Any] | None = _InC
except AttributeError:  # PyYAML was built without libyaml
    _QuickLoader = None


class _PlainText(yaml.representer.SafeRepresenter, yaml.resolver.Resolver):
    """Knows the same numbers, so that texts that look like one are quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """A text; quoted where PyYAML would fold characters that it takes for line ends."""
        style = '"' if re.search("[\r\x85\u2028\u2029]", text) else None
        node: yaml.ScalarNode = self.represent_scalar(f"{_TAG}str", text, style)
        return node


class _Dumper(_PlainText, yaml.SafeDumper):
    """In Python."""


try:

    class _DumperInC(_PlainText, yaml.CSafeDumper):
        """A tenth of the time."""

    _QuickDumper: type[_PlainText] | None = _DumperInC
except AttributeError:  # PyYAML was built without libyaml
    _QuickDumper = None


def _refused(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _resolve_numbers(kind: type[_Plain] | type[_PlainText]) -> None:
    """Let plain words be the numbers of YAML 1.2, and neither dates nor `=`."""
    old = {f"{_TAG}{name}" for name in ("int", "float", "timestamp", "value")}
    kind.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in old]
        for first, found in kind.yaml_implicit_resolvers.items()
    }
    for name, pattern in _NUMBERS.items():
        whole = re.compile(f"(?:{pattern.pattern})$")
        kind.add_implicit_resolver(f"{_TAG}{name}", whole, list("-+.0123456789"))


_resolve_numbers(_Plain)
_resolve_numbers(_PlainText)
_PlainText.add_representer(str, _PlainText.represent_text)
_PlainText.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_text(str(path)))
