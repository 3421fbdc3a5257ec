"""Fixtures of several test modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# Their assertions say as much as those of the tests.
pytest.register_assert_rewrite("tests.runs", "tests.stories")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, so that its sums do not depend on the machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
