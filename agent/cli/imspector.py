"""`stedfast devices --imspector HOST --probe FILE`: what a system answers, without any light."""

from __future__ import annotations

import json
from pathlib import Path

from agent.cli.options import err, say
from agent.cli.progress_bar import counting
from agent.config.reading import UserError
from devices.extras import install
from devices.sources import ImspectorConfig


def probe_imspector(host: str | None, out: Path) -> None:
    """Ask for every value that the driver uses, and write a report.

    Raises
    ------
    UserError
        There is no host, no Imspector there, or `out` cannot be written.
    """
    if host is None:
        raise UserError("--probe: needs --imspector HOST")
    if out.exists():
        raise UserError(f"{out}: is there already; give --probe a new file")
    if not out.absolute().parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.absolute().parent}")
    from devices.imspector import build
    from devices.imspector.probe import mapped, probe, report

    try:
        link = build.connect(ImspectorConfig(host=host))
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {install('imspector')}") from None
    except RuntimeError as error:
        raise UserError(f"--imspector: {error}") from None
    try:
        with counting(err, "values") as progress:
            answers = []
            total = len(list(mapped(link)))
            for answer in probe(link):
                answers.append(answer)
                progress(len(answers), total)
            found = report(link, answers, link.version, link.drivers)
    except RuntimeError as error:
        raise UserError(f"Imspector on {host or 'this computer'}: {error}") from None
    finally:
        link.close()
    out.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    wrong = [answer for answer in answers if answer.error or answer.differs]
    say(
        f"Imspector {found['imspector']}, paths of {found['paths']}, through {found['way']}:"
        f" {len(answers)} values, {len(answers) - len(wrong)} as they should be"
    )
    for answer in wrong:
        told = answer.error or f"was {answer.value!r}, reads {answer.again!r} once set to it"
        say(f"  {answer.path}: {told}")
    if found["not_mapped"]:
        say(f"  not mapped for these versions: {', '.join(found['not_mapped'])}")
    say(f"{out}: written")
