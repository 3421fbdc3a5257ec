"""The bundled filters, on simulated fields that they were not trained on."""

from __future__ import annotations

import numpy as np
import pytest

from agent.bench.restoration.measures import covered, off_target_left, similarity
from agent.offline.simulate.label_fields import draw_field
from models.restoration import Restorer, read_restoration
from models.restoration.weights import FOLDER, shipped


@pytest.mark.parametrize("name", shipped())
def test_its_card_says_where_it_comes_from(name: str) -> None:
    card = read_restoration(name).card
    for key in ("command", "commit", "data", "recipe", "metrics", "limits", "training"):
        assert card[key], key
    assert card["command"].startswith("stedfast train restoration ")
    assert "dirty" not in card["commit"]
    assert card["data"]["simulated"] and "simulated" in card["limits"][0]
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 15e6


@pytest.mark.slow
@pytest.mark.parametrize("structure", ["actin", "tubulin"])
def test_what_only_one_label_shows_is_left_out(structure: str) -> None:
    images, _ = draw_field(structure, "test", 5, 1)  # type: ignore[arg-type]
    found = Restorer(structure, device="cpu").restore(images["label_a"])
    raw, clean, besides = (images[key] for key in ("label_a", "clean", "off_target_a"))
    assert off_target_left(found.image, raw, clean, besides) < 0.3
    assert similarity(found.image, clean) > similarity(raw, clean) + 0.15
    assert found.sd.min() > 0 and 0 < found.uncertainty < 3


@pytest.mark.slow
def test_frames_without_structure_get_darker() -> None:
    images, _ = draw_field("actin", "test", 5, 1)
    found = Restorer("actin", device="cpu").restore(images["empty_a"]).image
    raw = images["empty_a"].astype(float)
    assert np.var(found) < 0.5 * np.var(raw)


@pytest.mark.slow
def test_tiles_show_no_seam() -> None:
    images, _ = draw_field("tubulin", "test", 5, 2)
    frame = np.tile(images["label_a"], (2, 2))[:300, :229]
    whole = Restorer("tubulin", device="cpu").restore(frame).image
    tiled = Restorer("tubulin", device="cpu", tile=176).restore(frame).image
    span = float(np.percentile(whole, 99.8) - np.percentile(whole, 2))
    assert np.abs(tiled - whole).max() <= 1e-4 * span


@pytest.mark.slow
def test_intervals_cover_the_other_label() -> None:
    """Where both labels are normalized alike; calibration was on other fields."""
    shares = []
    restorer = Restorer("tubulin", device="cpu")
    for index in range(2):
        images, _ = draw_field("tubulin", "test", 6, index)
        found = restorer.restore(images["label_a"])
        normalization = read_restoration("tubulin").normalization
        offset, scale = normalization.of(images["label_a"])
        target = normalization.normalize(images["label_b"])
        shares.append(covered((found.image - offset) / scale - target, found.sd / scale))
    assert 0.8 < np.mean(shares) < 0.98
