"""Windows of a large frame that go through the network one by one, and leave no seam.

A pixel is taken from a window only if everything that it depends on is in that window: windows
overlap by twice the network's reach. The result is that of the whole frame, to rounding, so that
there is nothing to blend.
"""

from __future__ import annotations

from dataclasses import dataclass

# Pixels along each axis that a window should be good for, beyond its overlap.
_LEAST_CORE = 64


@dataclass(frozen=True, slots=True)
class Tile:
    """One window, and the part of the result that is taken from it.

    Parameters
    ----------
    window
        Rows and columns of the frame that the network sees.
    core
        Rows and columns of the frame that are taken from it.
    """

    window: tuple[slice, slice]
    core: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The core, in rows and columns of the window."""
        y, x = (
            slice(core.start - window.start, core.stop - window.start)
            for window, core in zip(self.window, self.core, strict=True)
        )
        return y, x


def smallest(reach: int, multiple: int) -> int:
    """Side (pixels) under which windows would be nearly all overlap.

    Examples
    --------
    >>> smallest(reach=20, multiple=4)
    104
    """
    return 2 * _up(reach, multiple) + _up(_LEAST_CORE, multiple)


def cut(shape: tuple[int, int], side: int, reach: int, multiple: int) -> list[Tile]:
    """Tiles that cover a frame, with windows of one shape.

    Parameters
    ----------
    shape
        Rows and columns of the frame, multiples of `multiple`.
    side
        The windows' longest side (pixels), at least `smallest(reach, multiple)`.
    reach
        How far to each side lie the pixels that an output pixel depends on.
    multiple
        Windows begin and end at multiples of this, as the network's pooling does.

    Examples
    --------
    >>> tiles = cut((256, 256), side=160, reach=20, multiple=4)
    >>> len(tiles), tiles[0].window, tiles[0].core
    (4, (slice(0, 148, None), slice(0, 148, None)), (slice(0, 128, None), slice(0, 128, None)))
    """
    rows, columns = (_along(length, side, _up(reach, multiple), multiple) for length in shape)
    return [Tile((y, x), (v, u)) for y, v in rows for x, u in columns]


def _along(length: int, side: int, reach: int, multiple: int) -> list[tuple[slice, slice]]:
    """Windows and cores along one axis."""
    if length <= side:
        return [(slice(0, length), slice(0, length))]
    side -= side % multiple
    # As many as it takes, and then no longer than they need to be.
    count = -(-(length - 2 * reach) // (side - 2 * reach))
    side = _up(-(-(length - 2 * reach) // count), multiple) + 2 * reach
    starts = [min(i * (side - 2 * reach), length - side) for i in range(count)]
    edges = [0, *(start + reach for start in starts[1:]), length]
    return [
        (slice(start, start + side), slice(edges[i], edges[i + 1]))
        for i, start in enumerate(starts)
    ]


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
