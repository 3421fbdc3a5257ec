"""The one reader of image files: what they say of themselves, what is meant, hostile ones."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from devices.recorded import ImageError, Part, Scale, images_in, open_frames
from devices.recorded.tiff_description import Lsm

Pixels = NDArray[Any]


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(2).poisson(9, (4, 24, 20)).astype(np.uint16)


def scale_of(file: Path, **instead: float) -> Scale:
    with open_frames(file) as frames:
        return frames.scale(**instead)


def refused(file: Path, part: Part | None = None, instead: dict[str, float] | None = None) -> str:
    """What is said of a file that cannot be used; a line."""
    with pytest.raises(ImageError) as caught, open_frames(file, part) as frames:
        frames.scale(**instead or {})
        list(frames)
    assert str(caught.value).startswith(str(file)) and "\n" not in str(caught.value)
    return str(caught.value)


def imagej(file: Path, data: Pixels, per_unit: tuple[Any, Any], **about: Any) -> Path:
    metadata = {"axes": "TYX"[-data.ndim :], **about}
    tifffile.imwrite(file, data, imagej=True, resolution=per_unit, metadata=metadata)
    return file


def ome(file: Path, data: Pixels, **about: Any) -> Path:
    metadata = {"axes": "TYX"[-data.ndim :], **about}
    tifffile.imwrite(file, data, photometric="minisblack", ome=True, metadata=metadata)
    return file


IMAGEJ = {
    **dict.fromkeys(("um", "µm", "\\u00B5m", "micron", "microns", "micrometers"), 20),
    **{"nm": 0.02, "nanometer": 0.02, "nanometres": 0.02, "Å": 0.002, "angstrom": 0.002},
    **{"pm": 2e-5, "mm": 2e4, "cm": 2e5, "inch": 508000, "m": 2e7},
}


@pytest.mark.parametrize("unit", IMAGEJ)
def test_a_pixel_of_50_nm_in_any_unit_of_imagej(tmp_path: Path, pixels: Pixels, unit: str) -> None:
    file = tmp_path / "a.tif"
    per_unit = (int(IMAGEJ[unit] * 100000), 100000)
    about = f"ImageJ=1.54f\nunit={unit}\n".encode()
    tifffile.imwrite(file, pixels[0], description=about, metadata=None, resolution=(per_unit,) * 2)
    scale = scale_of(file)
    assert scale.x is not None and scale.y is not None
    assert (scale.x.nm, scale.y.nm) == pytest.approx((50, 50))


@pytest.mark.parametrize(
    ("size", "unit"),
    [
        *((0.05, None), (0.05, "µm"), (0.05, "μm"), (50, "nm"), (500, "Å"), (5e4, "pm")),
        *((5e-6, "cm"), (5e-8, "m"), (5e-5, "mm"), (0.05 / 25400, "in")),
    ],
)
def test_a_pixel_of_50_nm_in_any_unit_of_ome(
    tmp_path: Path, pixels: Pixels, size: float, unit: str | None
) -> None:
    units = {} if unit is None else {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    file = ome(tmp_path / "a.ome.tif", pixels, PhysicalSizeX=size, PhysicalSizeY=2 * size, **units)
    scale = scale_of(file)
    assert scale.x is not None and scale.y is not None
    assert (scale.x.nm, scale.y.nm) == pytest.approx((50, 100))


@pytest.mark.parametrize(("unit", "per"), [("CENTIMETER", 2e5), ("INCH", 508000)])
def test_resolution_tags(tmp_path: Path, pixels: Pixels, unit: str, per: float) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels[0], resolution=(per, per / 2), resolutionunit=unit)
    scale = scale_of(file)
    assert scale.x is not None and scale.y is not None
    assert (scale.x.nm, scale.y.nm) == pytest.approx((50, 100))
    # What a printer is told is no pixel on a sample.
    tifffile.imwrite(file, pixels[0], resolution=(72, 72), resolutionunit="INCH")
    assert scale_of(file).x is None


@pytest.mark.parametrize(
    ("about", "seconds"),
    [
        ({"finterval": 2.5}, 2.5),
        ({"finterval": 2.5, "tunit": "min"}, 150),
        ({"finterval": 250, "tunit": "ms"}, 0.25),
        ({"finterval": 250, "tunit": "msec"}, 0.25),
        ({"finterval": 250, "tunit": "\\u00B5s"}, 2.5e-4),
        ({"fps": 4}, 0.25),
    ],
)
def test_intervals_of_imagej(
    tmp_path: Path, pixels: Pixels, about: dict[str, Any], seconds: float
) -> None:
    found = scale_of(imagej(tmp_path / "a.tif", pixels, (20, 20), unit="um", **about)).interval
    assert found is not None and found.seconds == pytest.approx(seconds)


def test_lsm_is_in_metres_and_seconds() -> None:
    told = Lsm({"VoxelSizeX": 5e-8, "VoxelSizeY": 6e-8, "VoxelSizeZ": 0.0, "TimeIntervall": 2.5})
    x, y, interval = told.size("x"), told.size("y"), told.interval()
    assert x is not None and y is not None and interval is not None
    assert (x.nm, y.nm, interval.seconds) == pytest.approx((50, 60, 2.5))
    assert told.size("z") is None


def test_an_ome_tiff_in_several_files(tmp_path: Path, pixels: Pixels) -> None:
    parts = "".join(
        f'<TiffData FirstT="{start}" IFD="0" PlaneCount="2"><UUID FileName="{name}.ome.tif">'
        f"urn:uuid:{name}</UUID></TiffData>"
        for name, start in (("a", 0), ("b", 2))
    )
    for name, frames in (("a", pixels[:2]), ("b", pixels[2:])):
        text = OME.format(t=4, data=parts).replace("uuid:a", f"uuid:{name}", 1)
        text = text.replace('X="16" SizeY="16"', 'X="20" SizeY="24"').replace("uint8", "uint16")
        with tifffile.TiffWriter(tmp_path / f"{name}.ome.tif") as tiff:
            for number, frame in enumerate(frames):
                about = text if number == 0 else None
                tiff.write(frame, description=about, metadata=None, contiguous=False)
    with open_frames(tmp_path / "a.ome.tif") as found:
        np.testing.assert_array_equal(list(found), pixels)
    (tmp_path / "b.ome.tif").unlink()
    with open_frames(tmp_path / "a.ome.tif") as found:
        assert [found.held(number) for number in range(4)] == [True, True, False, False]
        with pytest.raises(ImageError, match="frame 2: is not in the file"):
            found[2]


def test_what_is_stated_and_cannot_be_used_is_an_error(tmp_path: Path, pixels: Pixels) -> None:
    file = imagej(tmp_path / "a.tif", pixels, (20, 20), unit="furlong")
    says = refused(file)
    assert "found the unit 'furlong'; accepted: pm, Å, nm" in says
    assert says.endswith("or --pixel-size NM")
    assert scale_of(file, pixel_size_nm=20).x == (20, "nanometer")
    for wrong in ("0", "-0.1", "nan", "many"):
        made = ome(tmp_path / "b.ome.tif", pixels, PhysicalSizeX=0.25, PhysicalSizeY=0.25)
        made.write_bytes(made.read_bytes().replace(b'SizeX="0.25"', f'SizeX="{wrong:4}"'.encode()))
        assert "PhysicalSizeX: found " in refused(made)
    file = imagej(tmp_path / "a.tif", pixels, (20, 20), unit="um", finterval=2, tunit="fortnight")
    assert refused(file).endswith("or --interval S")
    # Nobody calibrated it.
    scale = scale_of(imagej(tmp_path / "a.tif", pixels, (1, 1), unit="pixel"))
    assert scale.x is None and scale.interval is None


def test_signed_pixels_of_imagej_are_signed(tmp_path: Path, pixels: Pixels) -> None:
    about = {"cf": 0, "c0": -32768, "c1": 1, "vunit": "Gray Value"}
    file = imagej(tmp_path / "a.tif", pixels + np.uint16(32760), (1, 1), **about)
    with open_frames(file) as frames:
        assert frames.dtype == np.int16
        np.testing.assert_array_equal(list(frames), pixels.astype(np.int16) - 8)


def test_one_of_several_images_is_asked_for(tmp_path: Path, pixels: Pixels) -> None:
    file = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(file, ome=True) as tiff:
        for name, size in (("Overview", 0.1), ("STED", 0.02)):
            about = {"axes": "YX", "Name": name, "PhysicalSizeX": size, "PhysicalSizeY": size}
            tiff.write(pixels[int(name == "STED")], metadata=about)
    says = refused(file)
    assert "2 images: 0 Overview: 24 × 20 (YX) at 100 nm; 1 STED: 24 × 20 (YX) at 20 nm" in says
    assert says.endswith("--series N takes one")
    with open_frames(file, Part(series=1)) as frames:
        np.testing.assert_array_equal(frames[0], pixels[1])
        size = frames.scale().x
        assert size is not None and size.nm == pytest.approx(20)
    assert "--series 2: there is 0 Overview" in refused(file, Part(series=2))


def test_one_of_several_channels_and_planes_is_asked_for(tmp_path: Path, pixels: Pixels) -> None:
    file = tmp_path / "a.ome.tif"
    deep = np.stack([pixels[:2], pixels[2:]])[:, :, None] + np.arange(2, dtype="u2")[:, None, None]
    about = {"axes": "TZCYX", "Channel": {"Name": ["confocal", "STED"]}}
    tifffile.imwrite(file, deep, photometric="minisblack", ome=True, metadata=about)
    assert "2 channels (0 confocal, 1 STED); accepted: grey" in refused(file)
    assert "--channel: found 2; accepted: 0 to 1" in refused(file, Part(at={"c": 2}))
    assert "--axis q 0: no such axis here" in refused(file, Part(at={"c": 0, "q": 0}))
    with open_frames(file, Part(at={"c": 1})) as frames:
        assert len(frames) == 4
        np.testing.assert_array_equal(frames[3], pixels[3] + 1)
        with pytest.raises(ImageError, match="frames along one axis; --axis z=N takes one"):
            frames.as_movie()
    with open_frames(file, Part(at={"c": 1, "z": 1})) as frames:
        assert frames.as_movie() is None and len(frames) == 2
        np.testing.assert_array_equal(frames[1], pixels[3] + 1)


def test_axes_without_names_are_frames(tmp_path: Path, pixels: Pixels) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels.reshape(2, 1, 2, 24, 20), photometric="minisblack")
    with open_frames(file) as frames:
        np.testing.assert_array_equal(list(frames), pixels)
        assert len(set(frames.axes)) == 3
    with open_frames(file, Part(at={frames.axes[2]: 1})) as frames:
        np.testing.assert_array_equal(list(frames), pixels[1::2])


def test_channels_last_are_no_frames(tmp_path: Path, pixels: Pixels) -> None:
    last, file = np.moveaxis(pixels[:2], 0, -1), tmp_path / "a.tif"
    samples: dict[str, Any] = {"planarconfig": "contig", "metadata": None}
    for options in (samples, {}):
        tifffile.imwrite(file, last, photometric="minisblack", **options)
        assert "2 channels last; accepted: grey frames" in refused(file)
        with open_frames(file, Part(at={"c": 1})) as frames:
            assert len(frames) == 1
            np.testing.assert_array_equal(frames[0], pixels[1])
    tifffile.imwrite(file, np.zeros((24, 20, 3), "u1"), photometric="rgb")
    assert "a colour image of shape (24, 20, 3)" in refused(file)


@pytest.mark.parametrize("codec", ["lzw", "zlib", "zstd", "jpeg2000", "packbits", "lzma"])
def test_what_other_programs_compress_is_read(tmp_path: Path, pixels: Pixels, codec: str) -> None:
    file = tmp_path / "a.tif"
    data = pixels.astype(np.uint8)
    tifffile.imwrite(file, data, photometric="minisblack", compression=codec)
    with open_frames(file) as frames:
        np.testing.assert_array_equal(list(frames), data)


def test_float_predictors_are_read(tmp_path: Path, pixels: Pixels) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, pixels[0].astype("f4"), compression="zlib", predictor=3)
    with open_frames(file) as frames:
        np.testing.assert_array_equal(frames[0], pixels[0])


def cut(file: Path, share: float) -> Path:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    return file


def test_cut_files_are_damaged(tmp_path: Path, pixels: Pixels) -> None:
    file = cut(imagej(tmp_path / "a.tif", pixels, (1, 1)), 0.6)
    assert refused(file).endswith("damaged, only 1 of 4 frames are there")
    tifffile.imwrite(file, pixels[0], compression="zlib")
    assert "damaged" in refused(cut(file, 0.7))
    # Cut behind its header, as a program leaves it that ended while it wrote.
    file.write_bytes(file.read_bytes()[:8])
    assert refused(file).endswith("damaged, holds no image")


def ngff(folder: Path, data: Pixels, axes: list[Any] | None, **image: Any) -> Path:
    version = image.pop("version", "0.4")
    scale, whole = image.pop("scale", None), image.pop("whole", None)
    group = zarr.create_group(folder, zarr_format=2)
    group.create_array("0", shape=data.shape, chunks=(1, *data.shape[1:]), dtype=data.dtype)[:] = (
        data
    )
    dataset: dict[str, Any] = {"path": "0"}
    multiscale: dict[str, Any] = {"version": version, "datasets": [dataset]}
    if axes is not None:
        multiscale["axes"] = axes
    for part, steps in ((dataset, scale), (multiscale, whole)):
        if steps is not None:
            part["coordinateTransformations"] = [{"type": "scale", "scale": steps}]
    group.attrs["multiscales"] = [multiscale]
    return folder


TYX = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]


def test_scales_of_an_ome_zarr_multiply(tmp_path: Path, pixels: Pixels) -> None:
    folder = ngff(tmp_path / "a.zarr", pixels, TYX, scale=[1, 0.02, 20], whole=[2.5, 1, 2])
    scale = scale_of(folder)
    assert scale.interval == (2.5, "second")
    assert scale.y == (0.02, "micrometer") and scale.x == (40, "nanometer")


def test_older_layouts_of_ome_zarr(tmp_path: Path, pixels: Pixels) -> None:
    named = ngff(tmp_path / "v03.zarr", pixels, ["t", "y", "x"], version="0.3")
    unnamed = ngff(tmp_path / "v02.zarr", pixels[:, None, None], None, version="0.2")
    within = tmp_path / "b2r.zarr"
    zarr.create_group(within, zarr_format=2).attrs["bioformats2raw.layout"] = 3
    ngff(within / "0", pixels, TYX)
    for folder in (named, unnamed, within):
        with open_frames(folder) as frames:
            assert frames.as_movie() is None
            np.testing.assert_array_equal(list(frames), pixels)
    ngff(within / "1", pixels[:1], TYX)
    assert "2 images: 0 4 × 24 × 20 (TYX) at 1 nm; 1 1 × 24 × 20 (TYX)" in refused(within)
    stated = ngff(tmp_path / "unit.zarr", pixels, ["t", "y", "x"], scale=[1, 0.02, 0.02])
    assert "0.02 without a unit" in refused(stated)
    assert scale_of(stated, pixel_size_nm=20).x == (20, "nanometer")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_array_of_an_image_is_none(zarr_format: Any, tmp_path: Path) -> None:
    array = tmp_path / "a.zarr" / "0"
    zarr.create_array(array, shape=(4, 4), dtype="u2", zarr_format=zarr_format)
    assert refused(array).endswith("without axes and scales; accepted: the folder of its image")


def test_a_path_does_not_lead_out_of_an_ome_zarr(tmp_path: Path, pixels: Pixels) -> None:
    ngff(tmp_path / "a.zarr", pixels, TYX)
    folder = ngff(tmp_path / "b.zarr", pixels, TYX)
    attributes = json.loads((folder / ".zattrs").read_text())
    for path in ("../a.zarr/0", str(tmp_path / "a.zarr/0"), ""):
        attributes["multiscales"][0]["datasets"][0]["path"] = path
        (folder / ".zattrs").write_text(json.dumps(attributes))
        assert "accepted: one within it" in refused(folder)


def hostile(file: Path, kind: str) -> None:
    """A file that claims what cannot be."""
    image = np.zeros((16, 16), np.uint8)
    if kind == "2^40 pixels":
        tifffile.imwrite(file, image, metadata=None)
        with tifffile.TiffFile(file, mode="r+") as tiff:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                tiff.pages.first.tags[tag].overwrite(2**20)
    elif kind == "no width":
        tifffile.imwrite(file, image, metadata=None)
        with tifffile.TiffFile(file, mode="r+") as tiff:
            tiff.pages.first.tags["ImageWidth"].overwrite(0)
    elif kind == "large and compressed":
        tifffile.imwrite(file, image, metadata=None, compression="zlib")
        with tifffile.TiffFile(file, mode="r+") as tiff:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                tiff.pages.first.tags[tag].overwrite(2**14)
    elif kind == "many frames":
        text = f"ImageJ=1.54f\nimages={10**9}\nframes={10**9}\n"
        tifffile.imwrite(file, image, metadata=None, description=text)
    else:
        text = {
            "entities": "<!DOCTYPE a [<!ENTITY a 'aaa'><!ENTITY b '&a;&a;'>]><OME>&b;</OME>",
            "many planes": OME.format(t=10**9, data='<TiffData IFD="0"/>'),
            "planes counted": OME.format(t=1, data=f'<TiffData NumPlanes="{10**12}"/>'),
            "elsewhere": OME.format(t=1, data=ELSEWHERE),
        }[kind]
        tifffile.imwrite(file, image, metadata=None, description=text)


OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:a"><Image>'
    '<Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="16" SizeY="16" SizeC="1" SizeZ="1" '
    'SizeT="{t}">{data}</Pixels></Image></OME>'
)
ELSEWHERE = '<TiffData IFD="0"><UUID FileName="../../dev/zero">urn:uuid:b</UUID></TiffData>'


@pytest.mark.parametrize(
    "kind",
    [
        *("2^40 pixels", "no width", "large and compressed", "many frames", "entities"),
        *("many planes", "planes counted", "elsewhere"),
    ],
)
def test_claims_are_compared_with_the_file(tmp_path: Path, kind: str) -> None:
    hostile(tmp_path / "a.ome.tif", kind)
    refused(tmp_path / "a.ome.tif")


def mutated(content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return content[: rng.randrange(1, len(content))]
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.choice([rng.randrange(min(len(data), 600)), rng.randrange(len(data))])
        new = rng.choice([b"\xff\xff\xff\x7f", bytes(4), b"99999999", rng.randbytes(1)])
        data[at : at + len(new)] = new
    return bytes(data)


def looked_at(file: Path) -> None:
    """All that the commands ask of a file; `ImageError` is what may come of it."""
    try:
        with open_frames(file, Part(series=0, at={})) as frames:
            frames.about()
            assert all(frames.held(number) in (True, False) for number in range(len(frames)))
            asked: list[Callable[[], Any]] = [frames.scale, frames.as_movie, lambda: frames[0]]
            for ask in asked:
                with ExitStack() as stack:
                    stack.enter_context(pytest.raises(ImageError))
                    ask()
                    raise ImageError("nothing wrong")
    except ImageError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
def test_damaged_tiffs_are_refused_in_a_line(tmp_path: Path, pixels: Pixels) -> None:
    rng = random.Random(5)
    sources = [
        imagej(tmp_path / "a.tif", pixels, (20, 20), unit="um", finterval=2),
        ome(tmp_path / "b.ome.tif", pixels, PhysicalSizeX=0.02, PhysicalSizeY=0.02),
        tmp_path / "c.tif",
    ]
    tifffile.imwrite(sources[2], pixels, photometric="minisblack", compression="lzw", tile=(16, 16))
    contents = [source.read_bytes() for source in sources]
    for number in range(240):
        file = sources[number % 3]
        file.write_bytes(mutated(contents[number % 3], rng))
        looked_at(file)


@pytest.mark.slow
def test_damaged_zarrs_are_refused_in_a_line(tmp_path: Path, pixels: Pixels) -> None:
    rng = random.Random(6)
    source = ngff(tmp_path / "source.zarr", pixels, TYX, scale=[1, 0.02, 20])
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    for number in range(90):
        folder = tmp_path / "a.zarr"
        shutil.copytree(source, folder)
        target = folder / files[number % len(files)]
        target.write_bytes(mutated(target.read_bytes(), rng))
        looked_at(folder)
        shutil.rmtree(folder)


def test_nothing_is_opened_where_there_is_nothing(tmp_path: Path) -> None:
    with ExitStack() as files, pytest.raises(ImageError, match=r"none\.tif: no such file"):
        images_in(tmp_path / "none.tif", files)
    (tmp_path / "folder").mkdir()
    assert "a folder that is no OME-Zarr image; accepted" in refused(tmp_path / "folder")
    (tmp_path / "scan.czi").write_bytes(b"ZISRAWFILE")
    assert "exported by its software" in refused(tmp_path / "scan.czi")
