"""What reports are made of: pictures, numbers with their units, charts."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.config.reading import UserError
from agent.record import text
from agent.ui.report import save_picture
from agent.ui.report.axis import Axis
from agent.ui.report.picture import bar_length, contrast, picture
from agent.ui.report.svg import Chart
from tests.helpers.stories import completed


@pytest.mark.slow
def test_picture_for_the_readme(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")
    save_picture(folder, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert image.width == 1200 and 450 < image.height < 700
    with pytest.raises(UserError, match="cannot be written"):
        save_picture(folder, tmp_path / "nowhere" / "p.png")


def test_picture_shows_the_pixels_between_its_limits() -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    made = picture(pixels, 0.5, (2, 8))
    with Image.open(BytesIO(made.png)) as image:
        index = np.asarray(image)
    assert (made.width, made.height, made.width_um, made.reduced) == (4, 3, 2.0, 1)
    assert index.ravel()[:3].tolist() == [0, 0, 0] and index.ravel()[8:].tolist() == [255] * 4
    assert (np.diff(index.ravel().astype(int)) >= 0).all()


def test_large_frames_are_averaged_and_flat_ones_have_limits() -> None:
    made = picture(np.full((100, 60), 7.0), 0.1, side=32)
    assert made.reduced == 4 and (made.width, made.height) == (15, 25)
    assert made.width_um == pytest.approx(6.0)
    assert contrast([np.zeros((4, 4))]) == (0.0, 1.0)


@pytest.mark.parametrize(("field", "bar"), [(4.48, 1.0), (1.92, 0.2), (51.2, 10.0), (100.0, 20.0)])
def test_scale_bar_is_round(field: float, bar: float) -> None:
    assert bar_length(field) == pytest.approx(bar)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (263.504, "264"),
        (2.1087, "2.11"),
        (49.99999, "50"),
        (1000.0, "1000"),
        (0.0, "0"),
        (-0.004, "−0.004"),
        (3e-9, "3e−09"),
        (3, "3"),
        ("late", "late"),
    ],
)
def test_numbers(value: Any, written: str) -> None:
    assert text.number(value) == written


def test_units() -> None:
    assert re.sub(r"\s", " ", text.joules(3.31e-4)) == "331 µJ"
    assert re.sub(r"\s", " ", text.duration(3725)) == "1 h 02 min"
    assert re.sub(r"\s", " ", text.length(0.5)) == "500 nm"
    assert re.sub(r"\s", " ", text.percent(0.0003)) == "0.03 %"
    assert re.sub(r"\s", " ", text.exact_percent(0.2)) == "20 %"


def test_axes_cover_what_they_show() -> None:
    axis = Axis.logarithmic("power", [0.5, 20])
    assert [words for _, words in axis.ticks] == ["0.5", "1", "2", "5", "10", "20"]
    assert 0 < axis.at(0.5) < axis.at(20) < 1
    assert Axis.linear("score", [0, 1]).at(0.25) == 0.25
    assert [words for _, words in Axis.linear("trial", [0.5, 3.5], whole=True).ticks] == list("123")
    assert Axis.of("gate", ["open", "late"]).at("late") == 0.75
    for axis in (Axis.logarithmic("power", [1.0, 1e308]), Axis.linear("x", [1.0, 1e308, np.nan])):
        assert len(axis.ticks) < 10, "what nobody can draw is left out"
        assert "inf" not in "".join(words for _, words in axis.ticks)
    flat = Axis.linear("counts", [3.0, 3.0])
    assert 0 < flat.at(3.0) < 1


def test_long_lines_are_thinned() -> None:
    chart = Chart(Axis.linear("x", [0, 1e5]), Axis.linear("y", [0, 1]), "long")
    chart.line([(i, 0.5) for i in range(100_001)], "within")
    assert len(chart.svg()) < 20_000
