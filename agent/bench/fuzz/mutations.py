"""How files are damaged: in their bytes, and in the values that they hold."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.bench.fuzz.drawn import TEXTS

Chance = np.random.Generator
_ODD_BYTES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80")
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", [], {}, [[]], {"": None}, "x" * 5000, "nan", "1e400"),
    *(-1, 0, 1, 2**31, 2**40, 2**63, -(2**63), 10**400, 1e308, -1e308, 1e-308, 0.5),
    *(float("nan"), float("inf"), -float("inf")),
)


def damaged(raw: bytes, rng: Chance) -> bytes:
    """Bytes with one to eight of them changed, cut out, doubled or added."""
    data = bytearray(raw)
    for _ in range(rng.integers(1, 9)):
        at = int(rng.integers(len(data) + 1))
        length = int(rng.choice([1, 2, 4, 16, 256]))
        what = rng.integers(7)
        if what == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            odd = _ODD_BYTES[rng.integers(len(_ODD_BYTES))]
            data[at : at + len(odd)] = odd
        elif what == 2:
            del data[at : at + length]
        elif what == 3:
            data[at:at] = data[at : at + length]
        elif what == 4:
            data[at:at] = rng.bytes(length)
        elif what == 5 and rng.random() < 0.3:
            del data[at:]
        elif what == 6 and rng.random() < 0.1:
            data[at:at] = bytes(length) * 64
    return bytes(data)


def damaged_tiff(raw: bytes, rng: Chance) -> bytes:
    """A TIFF of which some tags say something else than they did."""
    data = bytearray(raw)
    try:
        entries = _tags(data)
    except (struct.error, IndexError):
        entries = []
    if not entries or rng.random() < 0.3:
        return damaged(raw, rng)
    for _ in range(rng.integers(1, 4)):
        at = entries[rng.integers(len(entries))]
        place, size = ((at, 2), (at + 2, 2), (at + 4, 4), (at + 8, 4))[rng.integers(4)]
        odd = (0, 1, 2, 3, 7, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1, int(rng.integers(2**32)))
        value = odd[rng.integers(len(odd))] % 2 ** (8 * size)
        data[place : place + size] = value.to_bytes(size, "little")
    return bytes(data)


def _tags(data: bytearray) -> list[int]:
    """Where the tags of a little-endian classic TIFF stand."""
    found: list[int] = []
    (at,) = struct.unpack_from("<I", data, 4)
    while at and len(found) < 1000:
        (count,) = struct.unpack_from("<H", data, at)
        found += [at + 2 + 12 * tag for tag in range(count)]
        (at,) = struct.unpack_from("<I", data, at + 2 + 12 * count)
    return found


def changed(data: Any, rng: Chance) -> Any:
    """Plain data, changed in place: a value replaced, doubled, taken away or put elsewhere."""
    places = _places(data)
    if not places:
        return _odd(rng)
    holder, key = places[rng.integers(len(places))]
    what = rng.integers(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[TEXTS[rng.integers(len(TEXTS))]] = holder.pop(key)
    elif what == 2:
        other, there = places[rng.integers(len(places))]
        if (there in other) if isinstance(other, dict) else (there < len(other)):
            # A copy, so that nothing comes to hold itself.
            holder[key] = json.loads(json.dumps(other[there]))
    elif what == 3:
        holder[key] = _deep(int(rng.choice([3, 30, 900])), holder[key])
    elif what == 4 and isinstance(holder[key], int | float) and abs(holder[key]) < 1e300:
        holder[key] = holder[key] * float(rng.choice([-1.0, 0.5, 1e6, 1e-6, 1e300]))
    else:
        holder[key] = _odd(rng)
    return data


def _odd(rng: Chance) -> Any:
    if rng.random() < 0.3:
        return TEXTS[rng.integers(len(TEXTS))]
    return _ODD_VALUES[rng.integers(len(_ODD_VALUES))]


def _deep(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every value within something, as its container and its key."""
    found: list[tuple[Any, Any]] = []
    left = [data]
    while left:
        holder = left.pop()
        keys: Any = range(len(holder)) if isinstance(holder, list) else holder
        for key in keys if isinstance(holder, dict | list) else ():
            found.append((holder, key))
            left.append(holder[key])
    return found


def changed_json(text: str, rng: Chance) -> str:
    """JSON whose values are others, or whose bytes are."""
    data = _json(text)
    if data is None or rng.random() < 0.25:
        raw = text.encode(errors="surrogateescape")
        return damaged(raw, rng).decode(errors="surrogateescape")
    for _ in range(rng.integers(1, 4)):
        data = changed(data, rng)
    return as_json(data)


def as_json(data: Any) -> str:
    """JSON of data that may be deeper than Python writes it."""
    try:
        return json.dumps(data)
    except RecursionError:
        return "[" * 100_000


def _json(text: str) -> Any:
    """What a JSON holds; None where it was damaged before."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def changed_table(text: str, rng: Chance) -> str:
    """A CSV with other cells, columns and lines."""
    if rng.random() < 0.25:
        return damaged(text.encode(), rng).decode(errors="replace")
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.integers(1, 6)):
        row = rows[rng.integers(len(rows))]
        what = rng.integers(5)
        if what == 0 and row:
            del row[rng.integers(len(row))]
        elif what == 1:
            row.insert(int(rng.integers(len(row) + 1)), str(_odd(rng))[:400])
        elif what == 2:
            rows.insert(int(rng.integers(len(rows) + 1)), list(row))
        elif row:
            row[rng.integers(len(row))] = str(_odd(rng))[:400]
    return "\n".join(",".join(row) for row in rows)


def changed_lines(text: str, rng: Chance) -> str:
    """A text of lines, as YAML is, with lines moved, doubled, indented or anchored."""
    if rng.random() < 0.3:
        return damaged(text.encode(), rng).decode(errors="surrogateescape")
    lines = text.splitlines()
    hows: tuple[Callable[[str], str], ...] = (
        lambda line: f"  {line}",
        lambda line: line[1:],
        lambda line: line.partition(":")[0] + ": " + str(_odd(rng))[:400],
        lambda line: line.partition(":")[0] + ": &a" + line.partition(":")[2],
        lambda line: line.partition(":")[0] + ": *a",
        lambda line: f"{line}\n{line}",
        lambda line: "",
        lambda line: line + " {[",
        lambda line: line.partition(":")[0] + ": !!set {a, b}",
        lambda line: f"{TEXTS[rng.integers(len(TEXTS))]}: {line}",
        lambda line: line.partition(":")[0] + ": " + "[" * int(rng.choice([5, 500])),
        lambda line: f"<<: *a\n{line}",
    )
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(lines)))
        lines[at] = hows[rng.integers(len(hows))](lines[at])
    return "\n".join(lines)
