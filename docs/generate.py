"""Writes the pages of the reference that are derived from the code.

    python docs/generate.py

`docs/reference/commands.md` lists the commands as their parser has them, `config.md` and
`training.md` the keys of the configs as the models have them. A test compares the pages with the
code; after a change of a help text, a key or a limit, run the command above.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel

from agent.cli import app
from agent.config import RunConfig
from agent.offline.training.interpolation import InterpolationTraining
from agent.offline.training.quality import QualityTraining
from agent.offline.training.restoration import RestorationTraining
from models.interpolation.recipe import Recipe as InterpolationRecipe
from models.quality.recipe import Recipe as QualityRecipe
from models.restoration.recipe import Recipe as RestorationRecipe

REFERENCE = Path(__file__).parent / "reference"
_GENERATED = "<!-- Written by `python docs/generate.py` from the code; changes here are lost. -->\n"


# ---------------------------------------------------------------------- commands


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its name in words, in the order of the help."""

    def walk(command: Any, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for word, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*name, word))
        if not hasattr(command, "commands"):
            yield name, command

    return walk(typer.main.get_command(app), ("stedfast",))


def commands_page() -> str:
    """`reference/commands.md`."""
    parts = [
        "# Commands\n",
        _GENERATED,
        "`stedfast --help` lists the commands, `--help` after a command describes it."
        " `stedfast --version` prints the version.\n",
        "Where a run folder is asked for, `last` is the newest one in `./runs`."
        " Paths on a command line start in the current folder, those in a config in the"
        " config's folder. [Exit codes](exit-codes.md) have a page of their own.\n",
    ]
    for name, command in commands():
        usage = " ".join([*name, "[OPTIONS]", *map(_argument, _of(command, "argument"))])
        parts += [f"## {' '.join(name)}\n", f"```text\n{usage}\n```\n", _flowing(command.help)]
        rows = [(f"`{_argument(p)}`", p.help or "") for p in _of(command, "argument")]
        rows += [(_option(p), _about(p)) for p in _of(command, "option")]
        parts.append(_table(("argument or option", "does"), rows))
    return "\n".join(parts)


def _of(command: Any, kind: str) -> list[Any]:
    return [p for p in command.params if p.param_type_name == kind and not p.hidden]


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    if parameter.nargs == -1 and not name.endswith("…"):
        name += "…"
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    kind = parameter.metavar or _KINDS[parameter.bare_type()]
    return f"{names} `{kind}`"


_KINDS = {"int": "N", "float": "X", "Path": "PATH", "str": "TEXT"}


def _about(parameter: Any) -> str:
    about = [parameter.help or ""]
    if not parameter.is_flag and parameter.default not in (None, ()):
        about.append(f"default `{parameter.default}`")
    elif parameter.secondary_opts:
        names = parameter.opts if parameter.default else parameter.secondary_opts
        about.append(f"default `{names[0]}`")
    if parameter.min is not None:
        about.append(f"at least {parameter.min}")
    if parameter.multiple and "repeat" not in about[0]:
        about.append("may be repeated")
    return "; ".join(filter(None, about))


# ---------------------------------------------------------------------- configs


class Key:
    """One key of a config, as its model's JSON schema has it.

    Parameters
    ----------
    path
        Keys from the outermost; NAME stands for a name that the config chooses.
    schema
        Of its value.
    required
        Whether it must be there.
    description
        What it means.
    """

    def __init__(
        self, path: tuple[str, ...], schema: dict[str, Any], required: bool, description: str
    ) -> None:
        self.path, self.schema, self.required = path, schema, required
        self.description = description


def keys(model: type[BaseModel]) -> Iterator[tuple[tuple[str, ...], str, list[Key]]]:
    """Sections of a config in order: path, what the section is, and its keys."""
    root = model.model_json_schema()
    definitions = root.get("$defs", {})

    def section(
        path: tuple[str, ...], schema: dict[str, Any]
    ) -> Iterator[tuple[tuple[str, ...], str, list[Key]]]:
        found, inner = [], []
        for name, value in schema["properties"].items():
            here = (*path, name)
            target, place = _section_of(value, here)
            about = value.get("description", "")
            if target is not None:
                described = definitions[target]
                inner.append((place, described))
                about = about or _first_sentence(described["description"])
            found.append(Key(here, value, name in schema.get("required", ()), about))
        yield path, schema.get("description", ""), found
        for place, described in inner:
            yield from section(place, described)

    return section((), root)


def _section_of(value: dict[str, Any], path: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Name of the model that a value is made of, and the path of its keys."""
    for one in (value, *value.get("anyOf", ())):
        if "$ref" in one:
            return one["$ref"].rpartition("/")[2], path
        if "$ref" in (named := _as_dict(one.get("additionalProperties"))):
            return named["$ref"].rpartition("/")[2], (*path, "NAME")
        if "$ref" in (listed := _as_dict(one.get("items"))):
            return listed["$ref"].rpartition("/")[2], (*path, "N")
    return None, path


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _section(path: tuple[str, ...], about: str, found: list[Key], top: str) -> str:
    title = f"## {top}\n" if not path else f"## {'.'.join(path)}\n"
    rows = [
        (
            f"`{key.path[-1]}`",
            _accepted(key.schema, key.path),
            _unit(key),
            "**required**" if key.required else _default(key.schema),
            key.description,
        )
        for key in found
    ]
    table = _table(("key", "accepted", "unit", "default", "meaning"), rows)
    return "\n".join([title, *([_flowing(about)] if about else []), table])


_UNITS = {
    "_nm_per_s": "nm/s",
    "_um": "µm",
    "_nm": "nm",
    "_ms": "ms",
    "_s": "s",
    "_J": "J",
    "_hz": "1/s",
    "_px": "px",
}


def _unit(key: Key) -> str:
    """The unit that a key's name ends with."""
    return next((unit for end, unit in _UNITS.items() if key.path[-1].endswith(end)), "")


def _accepted(schema: dict[str, Any], path: tuple[str, ...]) -> str:
    """Type and limits of the value at a path."""
    if "anyOf" in schema:
        one = [_accepted(part, path) for part in schema["anyOf"] if part.get("type") != "null"]
        if set(one) == {"a number", "a whole number", "a text"}:
            return "a number or a text"
        return " or ".join(dict.fromkeys(one))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        title = ".".join(path)
        return f"[{title}](#{re.sub(r'[^a-zA-Z_]', '', title).lower()})"
    kind = schema.get("type")
    if kind == "object":
        inner = _as_dict(schema.get("additionalProperties"))
        return (
            f"`{{NAME: …}}`, each {_accepted(inner, (*path, 'NAME'))}" if inner else "`{NAME: …}`"
        )
    if kind == "array":
        if "prefixItems" in schema:
            low = _accepted(schema["prefixItems"][0], path)
            return f"`[low, high]`, each {low}" if len(schema["prefixItems"]) == 2 else "a list"
        return (
            f"a list, each {_accepted(schema['items'], (*path, 'N'))}"
            if "items" in schema
            else "a list"
        )
    name = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "`true`, `false`",
        "string": "a path" if schema.get("format") == "path" else "a text",
    }.get(str(kind), "anything")
    return name + _limits(schema)


def _limits(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    parts = []
    if low is not None and high is not None:
        return f", {_number(low)} to {_number(high)}"
    if low is not None:
        parts.append(f"{low:g} or more")
    if above is not None:
        parts.append(f"above {above:g}")
    if high is not None:
        parts.append(f"{_number(high)} or less")
    if below is not None:
        parts.append(f"below {below:g}")
    return ", " + ", ".join(parts) if parts else ""


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return "empty" if schema.get("type") in ("object", "array") else "its defaults"
    value = schema["default"]
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ({}, [], ""):
        return "empty"
    if isinstance(value, dict) and "$ref" in schema:
        return "its defaults"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def config_page() -> str:
    """`reference/config.md`."""
    parts = [
        "# Config\n",
        _GENERATED,
        "A run is described by one YAML file. It is checked before any device is opened: an"
        " unknown key, a value outside its limits or keys that contradict each other are"
        " refused with file, line, key, value and what is accepted."
        " [Which keys have to agree](config-rules.md) is listed with examples."
        " `stedfast check CONFIG` makes the same checks and opens the microscope without light.\n",
        "Only `plan` and `microscope` are required. NAME stands for a name of your choice, N"
        " for the place in a list. Numbers are those of YAML 1.2: `1e2` is a number, `010` is"
        " ten, `1:30` is a text. Both letters for micro are accepted. Relative paths start in"
        " the config's folder. `--set key.path=value` replaces a value on the command line;"
        " a path there starts in the current folder.\n",
    ]
    parts += [_section(*one, "The whole config") for one in keys(RunConfig)]
    return "\n".join(parts)


TRAININGS = (
    ("quality", QualityTraining, QualityRecipe),
    ("restoration", RestorationTraining, RestorationRecipe),
    ("interpolation", InterpolationTraining, InterpolationRecipe),
)


def training_page() -> str:
    """`reference/training.md`."""
    parts = [
        "# Training configs\n",
        _GENERATED,
        "`stedfast train` reads one of these; `configs/quality/`,"
        " `configs/restoration/` and `configs/interpolation/` have those of the shipped weights"
        " and those for your own data. `--set key=value` replaces a value.\n",
    ]
    for kind, model, recipe in TRAININGS:
        meanings = parameters(recipe)
        for path, _, found in keys(model):
            for key in found:
                key.description = key.description or meanings.get(key.path[-1], "")
            parts.append(_section(path, "", found, f"stedfast train {kind}"))
    return "\n".join(parts)


def parameters(documented: type) -> dict[str, str]:
    """Meanings of a class's parameters, from its numpy-style docstring."""
    text = inspect.getdoc(documented) or ""
    section = text.partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n-+\n", section)[0]
    found: dict[str, str] = {}
    for names, about in re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?|\n(?=    ))+)", section, re.M):
        found |= {name.strip(): _flowing(about).strip() for name in names.split(",")}
    return found


# ---------------------------------------------------------------------- Markdown


def _flowing(text: str | None) -> str:
    """A docstring's paragraphs, each on one line."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + "\n"


def _first_sentence(text: str) -> str:
    line = " ".join(text.split("\n\n")[0].split())
    return line[0].lower() + line[1:].rstrip(".")


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    escaped = [[" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"


PAGES = {"commands.md": commands_page, "config.md": config_page, "training.md": training_page}


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
