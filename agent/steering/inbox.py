"""The control file as a running session reads it: one part for the plan, one for the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.plan import Instruction
from agent.record.journal import Journal
from agent.record.recording import Recording, instructions_as_list
from agent.steering.commands import check_command
from agent.steering.control_file import FILE, ControlFile, Line, Position, said_of
from agent.steering.instructions import check
from agent.steering.roi import ReadsRegions
from agent.steering.search_state import SearchState


@dataclass(frozen=True, slots=True)
class PlanMessages:
    """New lines of the control file for the plan.

    Attributes
    ----------
    instructions
        To be applied, in order.
    refused
        Why other lines are not, one sentence each.
    read
        How far the file was read.
    stamps
        Who told what, and when, where the lines say so: {id, by, at, keys, refused}.
    """

    instructions: tuple[Instruction, ...]
    refused: tuple[str, ...]
    read: Position
    stamps: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        entry = {
            "instructions": instructions_as_list(self.instructions),
            "read": asdict(self.read),
        }
        return entry | ({"stamps": list(self.stamps)} if self.stamps else {})


class PlanInbox:
    """The control file as the plan of a session reads it; commands are not for it.

    Parameters
    ----------
    folder
        The run's.
    config
        What the file's lines are checked against.
    recording
        Says how far earlier sessions read the file.
    camera
        Says which parts of its frames it can read; None: not known.
    """

    def __init__(
        self,
        folder: Path,
        config: RunConfig,
        recording: Recording,
        camera: ReadsRegions | None = None,
    ) -> None:
        told = recording.told
        read = Position(**told[-1]["read"]) if told else Position()
        ids = [stamp["id"] for one in told for stamp in one.get("stamps", ()) if "id" in stamp]
        self._file = ControlFile(folder, read, ids)
        self._config, self._camera = config, camera
        self._standing = SearchState(config.optimize.trials)

    def learn(self, note: Mapping[str, Any]) -> None:
        """Take in a note of the plan, {topic, data}: it decides which lines can be applied."""
        self._standing.learn(note)

    def close(self) -> None:
        """The plan is at its end: all later lines are refused."""
        self._standing.over = True

    def hear(self) -> PlanMessages | None:
        """Read on; None if there is nothing new. A line is applied as a whole or not at all."""
        lines, damage = self._file.lines(to_the_end=self._standing.over)
        instructions: list[Instruction] = []
        refused = [f"{FILE} {damage}"] if damage else []
        stamps = []
        for line in lines:
            if line.is_command:
                continue
            stamp = {**line.stamp, "keys": list(line.told)}
            try:
                if line.damage:
                    raise UserError(line.damage)
                found = check(self._config, line.told, self._standing, self._camera)
            except UserError as error:
                refused.append(said_of(line, str(error)))
                stamp["refused"] = str(error)
            else:
                self._standing.expect(found)
                instructions += found
            if line.stamp:
                stamps.append(stamp)
        if not instructions and not refused:
            return None
        return PlanMessages(tuple(instructions), tuple(refused), self._file.read, tuple(stamps))


class SessionInbox:
    """The control file as a session reads it.

    Parameters
    ----------
    folder
        The run's.
    recording
        Has the commands that earlier sessions obeyed.
    journal
        Gets an entry for each command.
    filters
        Whether the run has a filter.
    for_plan
        Whether the plan hears the other lines; otherwise they are refused here.
    """

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        journal: Journal,
        *,
        filters: bool,
        for_plan: bool,
    ) -> None:
        told = recording.commands
        read = Position(**told[-1]["read"]) if told else Position()
        self._file = ControlFile(folder, read, [one["id"] for one in told if "id" in one])
        self._path = folder / FILE
        self._journal = journal
        self._filters = filters
        self._for_plan = for_plan
        self._seen: tuple[int, int] | None = None
        self._hear("came while no session was running")

    def hear(self) -> list[tuple[str, Any, str]]:
        """New commands, with their values and who gave them; quick if there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return []
        seen = found.st_size, found.st_mtime_ns
        if seen == self._seen:
            return []
        self._seen = seen
        return self._hear()

    def _hear(self, late: str = "") -> list[tuple[str, Any, str]]:
        lines, damage = self._file.lines()
        if damage and not self._for_plan:
            self._fault(f"{FILE} {damage}")
        heard = []
        for line in lines:
            if not line.is_command:
                if not self._for_plan:
                    self._fault(
                        said_of(line, line.damage or "the plan of this run can be told nothing")
                    )
                continue
            if line.damage:
                self._fault(said_of(line, line.damage))
                continue
            entry = {**line.stamp, "told": line.told, "read": asdict(self._file.read)}
            try:
                if late:
                    raise UserError(late)
                key, value = check_command(line.told, filters=self._filters)
            except UserError as error:
                self._refuse(line, entry, str(error))
                continue
            self._journal.add("command", entry)
            heard.append((key, value, line.stamp.get("by", FILE)))
        return heard

    def _refuse(self, line: Line, entry: dict[str, Any], why: str) -> None:
        self._fault(said_of(line, why))
        self._journal.add("command", {**entry, "refused": why})

    def _fault(self, what: str) -> None:
        self._journal.fault(what, "ignored")
