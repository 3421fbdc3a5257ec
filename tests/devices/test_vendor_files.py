"""Files of Imspector and of Leica's software through the one reader of image files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.recorded import ImageError, Part, open_frames
from tests.helpers.vendors import write_lif, write_obf

Pixels = NDArray[Any]
REAL = Path(__file__).parents[3] / "shared" / "data" / "imspector"


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(2).poisson(9, (3, 24, 20)).astype(np.int16)


def read(file: Path, part: Part | None = None) -> list[Pixels]:
    with open_frames(file, part) as frames:
        return list(frames)


def refused(file: Path, part: Part | None = None) -> str:
    """What is said of a file that cannot be used; a line."""
    with pytest.raises(ImageError) as caught:
        read(file, part)
    assert "\n" not in str(caught.value) and file.name.partition("#")[0] in str(caught.value)
    return str(caught.value)


def test_a_stack_of_imspector_has_its_counts_size_and_interval(
    tmp_path: Path, pixels: Pixels
) -> None:
    file = write_obf(tmp_path / "cell.msr", {"Ch1 {0}": pixels}, axes="tyx", step_m=1.5e-8)
    with open_frames(file) as frames:
        assert frames.as_movie() is None and frames.dtype == np.int16
        np.testing.assert_array_equal(list(frames), pixels)
        scale = frames.scale()
    assert scale.x is not None and scale.y is not None and scale.interval is not None
    assert (scale.x.nm, scale.y.nm) == pytest.approx((15, 15))
    assert scale.interval.seconds == pytest.approx(0.5)


def test_a_channel_is_asked_for_by_its_name(tmp_path: Path, pixels: Pixels) -> None:
    stacks = {"Ch1 {0}": pixels[0], "Ch2 {0}": pixels[1], "ExpControl Ch2 {1}": pixels[2]}
    file = write_obf(tmp_path / "cell.obf", stacks)
    says = refused(file)
    assert "holds 3 images: 0 Ch1 {0}: 24 × 20 (YX) at 20 nm; 1 Ch2 {0}" in says
    for name, number in (("Ch2", 1), ("Ch2 {0}", 1), ("ExpControl Ch2", 2), ("0", 0)):
        for found in (
            read(file.with_name(f"{file.name}#{name}")),
            read(file, Part(series=name)),
        ):
            np.testing.assert_array_equal(found, pixels[[number]])
    assert "'Ch9': no image is called that; there is 0 Ch1 {0}" in refused(
        file.with_name(f"{file.name}#Ch9")
    )


def test_two_stacks_of_one_name_are_both_there(tmp_path: Path, pixels: Pixels) -> None:
    file = write_obf(tmp_path / "cell.msr", {"Ch1 {0}": pixels[0], "Ch1 {1}": pixels[1]})
    assert "'Ch1': 2 are called that" in refused(file.with_name("cell.msr#Ch1"))
    file.write_bytes(file.read_bytes().replace(b"Ch1 {1}", b"Ch1 {0}"))
    np.testing.assert_array_equal(read(file, Part(series=1)), pixels[[1]])


def test_frames_behind_the_stop_of_a_scan_are_missing(tmp_path: Path, pixels: Pixels) -> None:
    file = write_obf(tmp_path / "cell.msr", {"Ch1": pixels}, axes="tyx", written=500)
    with open_frames(file) as frames:
        assert [frames.held(number) for number in range(3)] == [True, False, False]
        np.testing.assert_array_equal(frames[0], pixels[0])
        with pytest.raises(ImageError, match="frame 1: is not in the file"):
            frames[1]


def test_a_chain_without_an_end_is_damage(tmp_path: Path, pixels: Pixels) -> None:
    file = write_obf(tmp_path / "cell.msr", {"Ch1": pixels[0]}, back=True)
    assert "its list of images has no end" in refused(file)


def test_pixels_that_are_claimed_and_not_stored_are_damage(tmp_path: Path, pixels: Pixels) -> None:
    many = np.zeros((300, 300), np.uint16)
    file = write_obf(tmp_path / "cell.msr", {"Ch1": pixels[0]}, compression=0)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"\x14\0\0\0\x18\0\0\0\1", b"\x14\0\0\0\x18\0\0\1\1", 1))
    assert "damaged: Ch1 claims" in refused(file) or "accepted" in refused(file)
    bomb = write_obf(tmp_path / "bomb.msr", {"Ch1": many})
    whole = bomb.read_bytes()
    small = whole.replace((300).to_bytes(4, "little") * 2, (10).to_bytes(4, "little") * 2, 1)
    bomb.write_bytes(small.replace((90000).to_bytes(8, "little"), bytes(8)))
    assert "stores more than its 100 pixels" in refused(bomb)


def test_pixels_that_are_not_those_that_were_written_are_damage(
    tmp_path: Path, pixels: Pixels
) -> None:
    whole = write_obf(tmp_path / "whole.msr", {"Ch1": pixels[0]}).read_bytes()
    begin = whole.index(b"\x78", whole.index(b"Ch1") + 3)
    file = tmp_path / "cell.msr"
    chance = random.Random(3)
    damaged = 0
    for _ in range(60):
        strange = bytearray(whole)
        strange[begin + chance.randrange(8, 300)] ^= 1 << chance.randrange(8)
        file.write_bytes(strange)
        try:
            np.testing.assert_array_equal(read(file), pixels[[0]])
        except ImageError:
            damaged += 1
    assert damaged >= 50


def test_an_image_of_leicas_has_its_channels_planes_and_size(
    tmp_path: Path, pixels: Pixels
) -> None:
    data = np.stack([pixels, pixels + 1]).astype(np.uint16)
    file = write_lif(tmp_path / "cells.lif", {"one": data, "two": data[:1] + 5}, step_m=3e-8)
    assert "holds 2 images: 0 one: 2 × 3 × 24 × 20 (CZYX) at 30 nm; 1 two" in refused(file)
    assert "2 channels (0 Dye0, 1 Dye1)" in refused(file, Part(series="one"))
    with open_frames(file, Part(series="one", at={"c": 1})) as frames:
        np.testing.assert_array_equal(list(frames), data[1])
        scale = frames.scale()
    assert scale.z is not None and scale.z.nm == pytest.approx(30)
    np.testing.assert_array_equal(read(tmp_path / "cells.lif#two"), data[0] + 5)
    single = write_lif(tmp_path / "single.lif", {"one": data})
    np.testing.assert_array_equal(read(tmp_path / "single.lif#Dye1"), data[1])
    text = single.read_bytes().replace(
        "<Element".encode("utf-16-le"), "<!ENTITY".encode("utf-16-le")
    )
    single.write_bytes(text)
    assert "defines entities" in refused(single)


@pytest.mark.parametrize("write", [write_obf, write_lif], ids=["msr", "lif"])
def test_cut_and_mutated_files_end_in_a_line(
    tmp_path: Path, pixels: Pixels, write: Callable[..., Path]
) -> None:
    kind = ".msr" if write is write_obf else ".lif"
    data = pixels[0] if write is write_obf else pixels[None].astype(np.uint16)
    whole = write(tmp_path / f"whole{kind}", {"Ch1 {0}": data}).read_bytes()
    file = tmp_path / f"cut{kind}"
    chance = random.Random(1)
    for end in (0, 5, 20, *(chance.randrange(len(whole) - 4) for _ in range(20))):
        file.write_bytes(whole[:end])
        refused(file)
    for _ in range(150):
        strange = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            strange[chance.randrange(len(whole))] = chance.randrange(256)
        file.write_bytes(strange)
        try:
            read(file)
        except ImageError as error:
            assert "\n" not in str(error) and len(str(error)) < 600


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the data beside the project")
@pytest.mark.parametrize(("name", "sums"), [("dummy_1channel", [1160]), ("dummy_2channel", None)])
def test_real_files_of_imspector_have_the_counts_of_the_vendors_reader(
    name: str, sums: list[int] | None
) -> None:
    file = REAL / f"{name}.msr"
    specpy = pytest.importorskip("specpy")
    whole = specpy.File(str(file), specpy.File.Read)
    for number in range(whole.number_of_stacks()):
        stack = whole.read(number)
        with open_frames(file.with_name(f"{file.name}#{stack.name()}")) as frames:
            scale = frames.scale()
            np.testing.assert_array_equal(frames[0], stack.data()[0, 0])
            assert frames[0].dtype == stack.data().dtype
        assert scale.x is not None and scale.x.nm == pytest.approx(20, rel=1e-4)
    assert whole.number_of_stacks() == int(name[6])
