"""Work that continues when a GPU fails or is full: again, in smaller tiles, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from models.devices import Failure

Result = TypeVar("Result")


class Computer(Protocol):
    """Where it can be computed."""

    @property
    def device(self) -> str:
        """As it is told."""

    @property
    def largest(self) -> int:
        """Side (pixels) above which a frame goes through in tiles."""

    def release(self) -> None:
        """Give back all memory that can be had again later."""


Place = TypeVar("Place", bound=Computer)


class Attempts(Generic[Place]):
    """Tries where it can be computed, one after the other, the first first.

    What fails on a GPU is tried there once more, with nothing held in its memory. If memory is
    still short, it is tried in tiles of half the size, then of a quarter, and so on. When that does
    not help, or the GPU fails, all from there on goes to the next place.

    Parameters
    ----------
    places
        Where it can be computed; shorter after a failure.
    tile
        Longest side (pixels) of a tile that goes through at once; by default the place's own.
    """

    def __init__(self, places: list[Place], tile: int | None) -> None:
        self.places = places
        self._asked = self._tile = tile
        self._faults: list[str] = []

    def side(self, place: Place) -> int:
        """Longest side (pixels) of a tile that goes through at once."""
        return min(place.largest, self._tile or place.largest)

    def fault(self) -> str | None:
        """Errors since the last call."""
        said = "; ".join(self._faults) or None
        self._faults.clear()
        return said

    def note(self, place: Place, what: str) -> None:
        """Keep an error."""
        self._faults.append(f"{place.device}: {what}")

    def run(
        self,
        work: Callable[[Place, int], Result],
        shape: tuple[int, ...],
        least: int,
        first: Failure | None = None,
    ) -> Result:
        """Do some work where and in as many tiles as it works.

        Parameters
        ----------
        work
            Called with a place and the longest side (pixels) of a tile.
        shape
            Of the frame, rows and columns (pixels).
        least
            The smallest tile (pixels).
        first
            Of an attempt that was made already, where there was one and it failed.

        Raises
        ------
        MemoryError
            There is not enough, even in the smallest tiles.
        Exception
            What the last place raised.
        """
        retried, told = None, False
        if first is not None and len(self.places) > 1:
            retried = first
            self._give_back()
        while True:
            place = self.places[0]
            last = len(self.places) == 1
            side = longest = max(shape)
            try:
                side = self.side(place)
                done = work(place, side)
            except (RuntimeError, MemoryError) as error:
                failure = Failure.of(error)
                if last and not failure.short:
                    raise
            else:
                if retried is not None and not told:
                    self.note(place, f"{retried.text}; tried again")
                return done
            # Only now, as the exception and all that its frames held are gone.
            self._give_back()
            if retried is None and not last:
                retried = failure
                continue
            told = True
            half = min(side, longest) // 2
            if failure.short and half >= least:
                self._tile = half
                self.note(place, f"out of memory; in tiles of {half} pixels from here on")
            elif last:
                said = f" ({failure.detail})" if failure.detail else ""
                raise MemoryError(
                    f"a frame of {shape[0]} × {shape[1]} pixels needs more memory than there is,"
                    f" even in the smallest tiles{said}"
                )
            else:
                self.places.pop(0)
                self._tile = self._asked
                self.note(place, f"{failure.text}; on {self.places[0].device} from here on")

    def _give_back(self) -> None:
        with suppress(RuntimeError):  # a GPU that is lost has nothing to give back
            self.places[0].release()
