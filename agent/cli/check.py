"""`stedfast check`: what a run would take and do, before any light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from agent.cli.options import ConfigFile, Overrides, out
from agent.config import load
from agent.run.signals import interrupts

if TYPE_CHECKING:
    from agent.run.estimate import Expected
    from devices.microscope import Microscope


def check(config: ConfigFile, overrides: Overrides = None) -> None:
    """Open the microscope, switch on no light, and say what the run would take."""
    checked = load(config, overrides or [])
    from agent.plans.build import build_plan
    from agent.record.summary import MEASURED, origin_of
    from agent.run import open_microscope
    from agent.run.awake import NOT_KEPT, kept_awake
    from agent.run.estimate import check_disk, check_light, check_parts, expect
    from agent.run.together import foreseen
    from agent.workers.checks import unlike
    from devices.travel import travel

    check_parts(checked, config)
    with interrupts() as seen, open_microscope(checked, config, seen) as microscope:
        expected = expect(checked, microscope)
        check_light(checked, expected, config)
        disk = check_disk(checked, expected, config)
        table = Table(show_header=False, box=None)
        origin = origin_of(checked, {"simulated": microscope.simulated})
        table.add_row("plan", checked.plan + ("" if origin == MEASURED else f" ({origin})"))
        if checked.filter is not None:
            table.add_row("filter", f"{checked.filter.model}, {checked.filter.frames} frames")
            if (said := unlike(checked)) is not None:
                table.add_row("", said)
        sizes = _sizes(microscope, checked.section.modes())
        table.add_row("frames", f"{_frames(expected)} of {sizes}")
        if names := microscope.config.camera_channels:
            scored = names[microscope.config.seen_channel]
            table.add_row("at once", f"{', '.join(names)}; {scored} is scored and decided on")
        if each := checked.section.frames_of_a_point():
            table.add_row("a time point", each)
        if microscope.autofocus.state:
            table.add_row("autofocus", microscope.autofocus.state)
        if checked.microscope.sequences:
            table.add_row("sequences", foreseen(build_plan(checked), microscope))
        if checked.section.rebuilds():
            lapse = checked.timelapse
            table.add_row("skipped ones", f"rebuilt by {lapse.model}, {lapse.acquire}")
        if expected.exposure_s and expected.duration_s and expected.bytes:
            table.add_row("duration", f"at least {_span(*expected.duration_s, 's')}")
            table.add_row("light on for", _span(*expected.exposure_s, "s"))
            for laser, (low, high) in (expected.dose_J or {}).items():
                budget = checked.dose.budget_J.get(laser)
                note = f" (budget {budget:g} J)" if budget else ""
                table.add_row(f"{laser} dose", _span(low, high, "J") + note)
        table.add_row("disk", disk)
        with kept_awake() as awake:
            table.add_row("kept awake", f"by {awake}" if awake else NOT_KEPT)
        if microscope.config.light:
            shutter = microscope.core.getShutterDevice()
            table.add_row("shutter", shutter or "none: lasers are on for each frame alone")
        if (dog := checked.microscope.watchdog) is not None:
            fed = " and ".join(map(str, dog.values))
            rest = "" if dog.rest is None else f"; {dog.rest} at the end"
            table.add_row("watchdog", f"{dog.where()} = {fed}, every {dog.every_s:g} s{rest}")
        if (section := checked.section).moves():
            visited = microscope.fields[: section.visited()]
            way = "none; the run stays where it is"
            if microscope.has_stage:
                way = travel(visited, microscope.stood_um, revisited=section.revisited())
            table.add_row("stage", way)
        if (mounting := microscope.config.mounting) is not None:
            table.add_row("camera", mounting.in_words())
        if microscope.contradiction is not None:
            table.add_row("contradiction", microscope.contradiction)
        table.add_row("made safe", ", ".join(microscope.kept) or "nothing here has a safe state")
        for loose in microscope.loose:
            is_at = f"{loose.device}.{loose.property} is {loose.value}"
            table.add_row("left as it is", f"{is_at}: light? give it a `safe` value")
        out.print(table)
    out.print(f"{config}: ready to run", soft_wrap=True)


def _sizes(microscope: Microscope, modes: Iterable[str]) -> str:
    """Of the frames of these modes, and the largest one where settings change it."""
    shapes = dict.fromkeys(microscope.shapes[mode] for mode in modes)
    said = ", ".join(f"{columns} × {rows} px" for rows, columns in shapes)
    if microscope.sizing and microscope.shape not in shapes:
        rows, columns = microscope.shape
        said += f", up to {columns} × {rows} px with other {' and '.join(microscope.sizing)}"
    return said


def _frames(expected: Expected) -> str:
    if expected.frames is None:
        return "until stopped"
    fewest, most = expected.fewest, expected.frames
    return f"{most}" if fewest in (None, most) else f"{fewest} … {most}"


def _span(low: float, high: float, unit: str) -> str:
    return f"{low:.3g} {unit}" if low == high else f"{low:.3g} … {high:.3g} {unit}"
