"""Parts that tests of several workers share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny filter without a training."""
    import torch

    from models.restoration.network import RestorationNet
    from models.restoration.weights import save

    torch.manual_seed(3)
    members = [RestorationNet(depth=1, kernel=3, first=4) for _ in range(2)]
    card = {
        "architecture": members[0].architecture,
        "normalization": {"low": 2.0, "high": 99.8},
        "calibration": 1.3,
    }
    return save(tmp_path_factory.mktemp("weights") / "tiny", members, card)
