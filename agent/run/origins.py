"""What decides in a run besides its frames: kept with it, and compared when it is resumed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import write_config
from agent.record.ledger import Ledger
from agent.record.load import read
from agent.record.recording import Recording

PRIOR = "prior"
"""Folder of the trials of earlier runs that a run learned from, in its own."""


DECIDE = ("plan", "engine", "objective")
"""Code of one's own that decides again in a replay; what others gave is in the ledger."""


def plan_of(make_plan: Callable[[RunConfig], Plan]) -> str | None:
    """Name of a plan of one's own; None for the config's, also where it is wrapped."""
    made = inspect.unwrap(make_plan)
    if made is build_plan:
        return None
    return (
        f"{getattr(made, '__module__', '?')}:{getattr(made, '__qualname__', type(made).__name__)}"
    )


def code_of(config: RunConfig, plan: str | None) -> dict[str, dict[str, str]]:
    """Name, version and hash of plan, engine and other parts in use, where they are one's own.

    Parameters
    ----------
    config
        Names them.
    plan
        See `plan_of`; one of a script decides instead of the config's.
    """
    decide = {part: own.as_dict() for part, own in config.own.items()}
    return {part: one for part, one in decide.items() if part != "plan" or plan is None}


def check_origins(
    folder: Path,
    recording: Recording,
    plan: str | None,
    code: Mapping[str, Mapping[str, str]],
    weights: Mapping[str, str],
    *,
    accept: bool,
) -> None:
    """Make sure that a run is resumed with the plan, code and weights that it was begun with.

    Versions are only recorded: a run keeps to the rules it was born with, and a plan that decides
    otherwise leaves its tape before there is any light.

    Parameters
    ----------
    folder, recording
        Of the run.
    plan
        See `plan_of`.
    code
        See `code_of`.
    weights
        Hashes of the weights in use, by their part.
    accept
        Whether other weights, or other versions of code of one's own, are as welcome.

    Raises
    ------
    UserError
        Something else would decide; says what, and how to continue.
    """
    if not recording.sessions:
        return
    last = recording.sessions[-1]
    if plan is None and (made_by := last.get("plan_of")):
        raise UserError(
            f"{folder}: is a run of the plan {made_by}, which no config names; accepted: "
            "`Session(…, make_plan=…)` with this plan, in Python"
        )
    old = last.get("weights", {})
    changed = changed_code(last, code)
    changed += [
        f"the {part} weights are {weights[part][:12]}…, were {str(old[part])[:12]}…"
        for part in weights
        if part in old and old[part] != weights[part]
    ]
    if changed and not accept:
        raise UserError(
            f"{folder}: {'; '.join(changed)}. Put those back, or continue with these by "
            "`stedfast resume --accept-changes`"
        )


def changed_code(
    session: Mapping[str, Any],
    code: Mapping[str, Mapping[str, str]],
    parts: Collection[str] = (*DECIDE, "filter", "interpolator"),
) -> list[str]:
    """Sentences about these parts where a session had other versions."""
    changed = []
    for part, was in session.get("code", {}).items():
        now = code.get(part)
        if part in parts and now is not None and now["sha256"] != was["sha256"]:
            new, old = (
                f"{one['sha256'][:12]}…" + (f" ({one['version']})" if one["version"] else "")
                for one in (now, was)
            )
            changed.append(f"the code of the {part} {now['name']} is {new}, was {old}")
    return changed


def keep_priors(config: RunConfig, folder: Path) -> RunConfig:
    """Copy the trials that a run learns from into its folder; the config that finds them there.

    Raises
    ------
    UserError
        An earlier run cannot be read.
    """
    kept = []
    for number, source in enumerate(config.optimize.prior, 1):
        earlier, recording = read(source)
        place = folder / PRIOR / str(number)
        place.mkdir(parents=True)
        write_config(place, earlier, {"copied_from": str(source)})
        with closing(Ledger(place)) as ledger:
            for trial in recording.notes_on("trial"):
                ledger.add("note", {"topic": "trial", "data": trial})
        kept.append(place.absolute())
    optimize = config.optimize.model_copy(update={"prior": tuple(kept)})
    return config.model_copy(update={"optimize": optimize})


def beside_the_run(config: RunConfig, folder: Path) -> RunConfig:
    """The config as it is written into the run's folder, which may be moved with its priors."""
    prior = tuple(path.relative_to(folder.absolute()) for path in config.optimize.prior)
    optimize = config.optimize.model_copy(update={"prior": prior})
    return config.model_copy(update={"optimize": optimize})
