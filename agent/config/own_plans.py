"""Plans that do not come with this package: of an installed one, or of a file beside the config.

A plan is a function of its section of the config and of the config as a whole:

    def focus_series(section: FocusSeries, run: RunConfig) -> Plan: ...

The section is a `PlanSection` of its own, found by the function's first annotation. A config names
the function, `plan: MODULE:FUNCTION`, or the entry point of an installed package in the group
`stedfast.plans`; the function's or the entry point's name is that of the section.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict

from agent.config.plan_section import PlanSection
from devices.modules import module_named

NAME = re.compile(r"([A-Za-z_][\w.]*:)?[A-Za-z_]\w*")
"""How a config may name a plan."""
GROUP = "stedfast.plans"
"""Of the entry points that are plans."""


@dataclass(frozen=True, slots=True)
class OwnPlan:
    """A plan that a config names.

    Attributes
    ----------
    name
        As the config has it.
    key
        Of its section.
    section
        Model of that.
    make
        Makes the plan from the section and the whole config; None where its code is not loaded.
    version
        Of the installed package; empty for a file beside the config.
    sha256
        Of its source: all `.py` files of its package, or its file.
    """

    name: str
    key: str
    section: type[PlanSection]
    make: Callable[[Any, Any], Any] | None = None
    version: str = ""
    sha256: str = ""

    def as_dict(self) -> dict[str, str]:
        """What decides, for the ledger."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


class UnknownSection(PlanSection):
    """The section of a plan whose code is not loaded; its keys are kept as they are."""

    model_config = ConfigDict(extra="allow")


def key_of(name: str) -> str:
    """Name of a plan's section."""
    return name.rpartition(":")[2]


def installed() -> list[str]:
    """Names of the plans of installed packages; imports none of them."""
    return sorted(entry_points(group=GROUP).names)


def not_loaded(name: str) -> OwnPlan:
    """A plan by its name alone, for who reads what it did."""
    return OwnPlan(name, key_of(name), UnknownSection)


def find_plan(name: str, folder: Path) -> OwnPlan:
    """Import a plan.

    Parameters
    ----------
    name
        `MODULE:FUNCTION`, or the name of an entry point.
    folder
        Where modules are looked for first.

    Raises
    ------
    ValueError
        There is none, or what is there is no plan; the message says what to do.
    """
    named = _entry_point(name)
    try:
        found = _beside(name, folder) if named is None else named.load()
    except _NotThere as error:
        raise ValueError(f"{name!r}: {error}") from None
    except Exception as error:  # whatever a person's own module does wrong
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        where = f"; looked for in {folder}, and where Python looks" if named is None else ""
        raise ValueError(f"{name!r} cannot be imported: {said}{where}") from error
    section = _section_of(found)
    if section is None:
        raise ValueError(
            f"{name!r} is no plan; accepted: a function (section, run) whose first parameter is "
            "annotated with its section, a subclass of `agent.config.PlanSection`"
        )
    version = named.dist.version if named is not None and named.dist is not None else ""
    source = _sha256({_top(found.__module__), _top(section.__module__)})
    return OwnPlan(name, key_of(name), section, found, version, source)


class _NotThere(Exception):
    """A module has nothing of that name."""


def _beside(name: str, folder: Path) -> Any:
    module, _, function = name.partition(":")
    there = vars(module_named(module, folder))
    if function in there:
        return there[function]
    near = get_close_matches(function, [key for key in there if not key.startswith("_")], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise _NotThere(f"no {function!r} in {module}{hint}")


def _entry_point(name: str) -> EntryPoint | None:
    if ":" in name:
        return None
    found = list(entry_points(group=GROUP, name=name))
    if len(found) > 1:
        packages = ", ".join(sorted(one.dist.name if one.dist else one.value for one in found))
        raise ValueError(
            f"{name!r} is a plan of several packages: {packages}; uninstall all but one"
        )
    return found[0]


def _section_of(made: Any) -> type[PlanSection] | None:
    """The section of a plan's function: what its first parameter is annotated with."""
    try:
        first = next(iter(inspect.signature(made).parameters))
        section = get_type_hints(made).get(first)
    except (TypeError, ValueError, NameError, StopIteration):
        return None
    fits = isinstance(section, type) and issubclass(section, PlanSection)
    return section if fits else None


def _top(module: str) -> str:
    return module.partition(".")[0]


def _source_of(top: str) -> tuple[Path, tuple[Path, ...]]:
    """Folder and source files of a package or a module that is imported."""
    module = sys.modules[top]
    if paths := [Path(path) for path in getattr(module, "__path__", ())]:
        return paths[0], tuple(sorted(file for path in paths for file in path.rglob("*.py")))
    file = Path(str(module.__file__))
    return file.parent, (file,)


def _sha256(tops: Iterable[str]) -> str:
    """Hash of the source of packages and modules."""
    digest = hashlib.sha256()
    for top in sorted(tops):
        folder, files = _source_of(top)
        for file in files:
            digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
