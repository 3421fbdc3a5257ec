"""`stedfast bench fuzz`: damaged and hostile files; each must be read, or refused in words.

What a person would do with each is done in child processes with a limit of memory and of time: see
`kinds`. A case is drawn from kind, seed and number, and can be looked at again with
``python -m agent.bench.fuzz.child``.
"""

from __future__ import annotations

from collections import Counter

from rich.progress import Progress

from agent.bench.fuzz import originals
from agent.bench.fuzz.kinds import KINDS
from agent.bench.fuzz.watched import HANGS_S, MEMORY_MB, Ended, go_through
from agent.bench.measurement import Check, Measurement, kept_in
from agent.cli.terminal import err

_QUICK = 0.05
_BAD = ("traceback", "hang", "memory", "died")


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """10,000 files for each seed, or a twentieth of them."""
    used = tuple(range(1, (seeds or 1) + 1))
    share = _QUICK if quick else 1.0
    cases = {name: round(kind.cases * share) for name, kind in KINDS.items()}
    ended: list[Ended] = []
    with kept_in(None) as folder, Progress(console=err) as bar:
        task = bar.add_task("files", total=sum(cases.values()) * len(used))
        place = folder / "originals"
        originals.make(place)
        for seed in used:
            for one in go_through(place, cases, seed):
                ended.append(one)
                bar.update(task, completed=len(ended))
    return summed_up(ended, used)


def summed_up(ended: list[Ended], seeds: tuple[int, ...]) -> Measurement:
    """A table by sort of file, and a check of each way to fail."""
    outcomes = ("done", "refused", *_BAD)
    counts = Counter((one.kind, one.outcome) for one in ended)
    kinds = list(dict.fromkeys(one.kind for one in ended))
    total = {outcome: sum(counts[kind, outcome] for kind in kinds) for outcome in outcomes}
    bad = [(f"{one.kind}: {one.outcome}: {one.where}", one) for one in ended if one.outcome in _BAD]
    places = Counter(where for where, _ in bad)
    first = {where: one.case for where, one in reversed(bad)}
    found = [
        {"where": where, "times": times, "case": first[where]}
        for where, times in places.most_common(50)
    ]
    return Measurement(
        ("files", *outcomes),
        [
            *((kind, *(counts[kind, outcome] for outcome in outcomes)) for kind in kinds),
            ("all", *total.values()),
        ],
        [
            Check("files that end in a traceback", total["traceback"] + total["died"], "<=", 0),
            Check(f"files that take longer than {HANGS_S:g} s", total["hang"], "<=", 0),
            Check(f"files that ask for more than {MEMORY_MB} MB", total["memory"], "<=", 0),
        ],
        {"cases": len(ended), "found": found},
        seeds,
    )
