"""Code from outside this package: plans, engines, … installed, or of a file.

Each is a function whose first parameter is its section of the config:

    def focus_series(section: FocusSeries, run: RunConfig) -> Plan: ...
    def annealing(section: Annealing, space: Space, run: RunConfig) -> Optimizer: ...
    def peak(section: Peak, run: RunConfig) -> Callable[[Frame, Frame, Frame], float]: ...
    def median(section: Median, device: str) -> Restorer: ...
    def blend(section: Blend, device: str) -> Interpolation: ...

The section is a model of its own, found by the annotation. A config names the function,
`MODULE:FUNCTION`, or an entry point of an installed package; the function's or the entry point's
name is that of the section.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict

from agent.config.objective_section import ObjectiveSection
from agent.config.plan_section import PlanSection
from agent.config.reading import UserError
from devices.config import Model
from devices.modules import module_named
from devices.refusals import did_you_mean, shortened

NAME = re.compile(r"([A-Za-z_][\w.]*:)?[A-Za-z]\w*")
"""How a config may name one."""


@dataclass(frozen=True, slots=True)
class Part:
    """A kind of code of one's own.

    Attributes
    ----------
    word
        Its name in messages.
    group
        Of the entry points.
    section, imported_as
        Base of its sections, and its name in Python.
    unknown
        The section of one whose code is not loaded; its keys are kept as they are.
    gives
        Methods of what its functions return.
    """

    word: str
    group: str
    section: type[Model]
    imported_as: str
    unknown: type[Model]
    gives: tuple[str, ...]


class _UnknownPlan(PlanSection):
    model_config = ConfigDict(extra="allow")


class _UnknownObjective(ObjectiveSection):
    model_config = ConfigDict(extra="allow")


class _Unknown(Model):
    model_config = ConfigDict(extra="allow")


PLAN = Part(
    "plan",
    "stedfast.plans",
    PlanSection,
    "agent.config.PlanSection",
    _UnknownPlan,
    ("send", "close"),
)
_ENGINE = ("ask", "tell", "tell_failed", "restrict", "prefer", "pick", "recommend", "front")
ENGINE = Part(
    "engine",
    "stedfast.engines",
    Model,
    "agent.config.Model",
    _Unknown,
    (*_ENGINE, "expected_gain"),
)
OBJECTIVE = Part(
    "objective",
    "stedfast.objectives",
    ObjectiveSection,
    "agent.config.ObjectiveSection",
    _UnknownObjective,
    ("__call__",),
)
FILTER = Part(
    "filter",
    "stedfast.filters",
    Model,
    "agent.config.Model",
    _Unknown,
    ("restore", "warm_up", "weights_hash"),
)
INTERPOLATOR = Part(
    "interpolator",
    "stedfast.interpolators",
    Model,
    "agent.config.Model",
    _Unknown,
    ("between", "weights_hash"),
)


@dataclass(frozen=True, slots=True)
class Own:
    """A plan, an engine or another `Part` that a config names.

    Attributes
    ----------
    part
        Which of them.
    name
        As the config has it.
    section
        Model of its section.
    make
        Makes it, see above; None where its code is not loaded. Call `made`.
    version
        Of the installed package; empty for a file beside the config.
    sha256
        Of its source: all `.py` files of its package, or its file.
    """

    part: Part
    name: str
    section: type[Model]
    make: Callable[..., Any] | None = None
    version: str = ""
    sha256: str = ""

    @property
    def key(self) -> str:
        """Name of its section."""
        return self.name.rpartition(":")[2]

    def maker(self) -> Callable[..., Any]:
        """What makes it; `UserError` where its code is not loaded."""
        if self.make is None:
            raise UserError(
                f"the code of the {self.part.word} {self.name!r} is not loaded; accepted: a config "
                "of `agent.config.load`, or of a run by `agent.run.trust.read_trusted`"
            )
        return self.make

    def made(self, *given: Any) -> Any:
        """Make it.

        Raises
        ------
        UserError
            Its code is not loaded, fails, or gives something else.
        """
        who, make = f"the {self.part.word} {self.name!r}", self.maker()
        try:
            found = make(*given)
        except UserError:
            raise
        except Exception as error:  # anything that a person's own code does wrong
            raise UserError(f"{who} cannot be made: {failure(error)}") from error
        if lacking := [name for name in self.part.gives if not hasattr(found, name)]:
            raise UserError(f"{who}: gives {shortened(found)}, which lacks {', '.join(lacking)}")
        return found

    def as_dict(self) -> dict[str, str]:
        """What decides, for the ledger."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


def installed(part: Part) -> list[str]:
    """Names of those of installed packages; imports none of them.

    To go through all packages took most of the time for reading a config: it is done again where
    something was installed since.
    """
    looked_in = tuple((folder, _changed_ns(folder)) for folder in sys.path)
    return list(_names(part.group, looked_in))


@lru_cache(maxsize=16)
def _names(group: str, looked_in: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    return tuple(sorted(entry_points(group=group).names))


def _changed_ns(folder: str) -> int:
    """When a folder got or lost something; 0 where there is none."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0


def not_loaded(part: Part, name: str) -> Own:
    """One by its name alone, for reading its results."""
    return Own(part, name, part.unknown)


def find(part: Part, name: str, folder: Path) -> Own:
    """Import what a config names.

    Parameters
    ----------
    part
        Which of them.
    name
        `MODULE:FUNCTION`, or the name of an entry point.
    folder
        Where modules are looked for first.

    Raises
    ------
    ValueError
        There is none, or it is something else; the message says what to do.
    """
    named = _entry_point(part, name)
    try:
        found = _beside(name, folder) if named is None else named.load()
    except _NotThere as error:
        raise ValueError(f"{name!r}: {error}") from None
    except Exception as error:  # anything that a person's own module does wrong
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        where = f"; looked for in {folder}, and where Python looks" if named is None else ""
        raise ValueError(f"{name!r} cannot be imported: {said}{where}") from error
    section = _section_of(part, found)
    if section is None:
        raise ValueError(
            f"{name!r} is no {part.word}; accepted: a function whose first parameter is annotated "
            f"with its section, a subclass of `{part.imported_as}`"
        )
    version = named.dist.version if named is not None and named.dist is not None else ""
    source = _sha256({_top(found.__module__), _top(section.__module__)})
    return Own(part, name, section, found, version, source)


def failure(error: Exception) -> str:
    """What went wrong, in one line."""
    said = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _NotThere(Exception):
    """A module has nothing of that name."""


def _beside(name: str, folder: Path) -> Any:
    module, _, function = name.partition(":")
    there = vars(module_named(module, folder))
    if function in there:
        return there[function]
    hint = did_you_mean(function, [key for key in there if not key.startswith("_")])
    raise _NotThere(f"no {function!r} in {module}{hint}")


def _entry_point(part: Part, name: str) -> EntryPoint | None:
    if ":" in name:
        return None
    found = list(entry_points(group=part.group, name=name))
    if len(found) > 1:
        packages = ", ".join(sorted(one.dist.name if one.dist else one.value for one in found))
        raise ValueError(
            f"{name!r} is a {part.word} of several packages: {packages}; uninstall all but one"
        )
    return found[0]


def _section_of(part: Part, made: Any) -> type[Model] | None:
    """The section of a function: what its first parameter is annotated with."""
    try:
        first = next(iter(inspect.signature(made).parameters))
        section = get_type_hints(made).get(first)
    except (TypeError, ValueError, NameError, StopIteration):
        return None
    fits = isinstance(section, type) and issubclass(section, part.section)
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
