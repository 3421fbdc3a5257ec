"""Which device computes, and what its failures mean.

A session asks that and computes nothing itself, so that it does not wait for torch to be imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from models.refusals import refused

# The CPU's allocator and the libraries on a GPU say it in words only.
_SHORT = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


class Failure(NamedTuple):
    """The text of an exception, without the exception, whose frames would hold memory.

    Parameters
    ----------
    short
        Memory was short.
    text
        The error, in one line.
    detail
        What is known of memory that was short.

    Examples
    --------
    >>> Failure.of(MemoryError("3 GB needed"))
    Failure(short=True, text='out of memory', detail='3 GB needed')
    """

    short: bool
    text: str
    detail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Of an exception."""
        short = short_of_memory(error)
        detail = str(error) if isinstance(error, MemoryError) else ""
        return cls(short, "out of memory" if short else error_text(error), detail)


def gpu(asked: str) -> str | None:
    """The GPU that is meant, if any.

    Parameters
    ----------
    asked
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises
    ------
    ValueError
        There is no such device.

    Examples
    --------
    >>> gpu("cpu") is None
    True
    """
    if asked == "cpu":
        return None
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda:0" if count else None
    known = ["cuda", *(f"cuda:{number}" for number in range(count))] if count else []
    if asked not in known:
        raise ValueError(f"device: {refused(asked, ['auto', 'cpu', *known])}")
    return "cuda:0" if asked == "cuda" else asked


@contextmanager
def exact() -> Iterator[None]:
    """Compute on a GPU with the digits of the CPU, and in the same order each time.

    By default cuDNN rounds what convolutions take to ten bits (TF32), and picks algorithms that
    add in the order in which their threads come.
    """
    import torch

    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def error_text(error: BaseException) -> str:
    """The first line of the error.

    Examples
    --------
    >>> error_text(ValueError("no such layer")), error_text(ValueError())
    ('no such layer', 'ValueError')
    """
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def short_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short, or that led to it.

    Memory that runs out while a graph is captured also spoils the capture: its error is raised in
    the end, with the cause behind it.

    Examples
    --------
    >>> short_of_memory(MemoryError()), short_of_memory(ValueError())
    (True, False)
    """
    while error is not None:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _SHORT):
            return True
        error = error.__cause__ or error.__context__
    return False
