"""Training of restoration networks: what each method learns, data, and continuing after a stop."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file

from agent.config.reading import UserError
from agent.offline.training.restoration import RestorationTraining, recipe_of, train_restoration
from models.restoration import Recipe, read_restoration, train
from models.restoration.normalization import Normalization
from models.restoration.objective import whole
from models.restoration.pairs import Frame, Pairs, from_arrays
from models.restoration.parts import split
from models.restoration.reading import read_pairs
from models.restoration.registration import register, shift_of
from tests.helpers.filaments import filaments

pytestmark = pytest.mark.usefixtures("one_thread")
Map = NDArray[np.float64]
_SIDE = 96


def haze(rng: np.random.Generator, count: int = 5) -> Map:
    """Round clouds anywhere: off-target signal."""
    y, x = np.mgrid[:_SIDE, :_SIDE]
    image = np.zeros((_SIDE, _SIDE))
    for row, column in rng.uniform(0, _SIDE, (count, 2)):
        image += np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 8.0**2))
    return image


class Fields:
    """Fields with two labels of the same filaments, and what these really are."""

    def __init__(self, count: int = 14) -> None:
        rng = np.random.default_rng(0)
        self.clean = [np.minimum(filaments(i, size_um=1.92), 1.2) for i in range(count)]
        mean_a = [20 * (clean + 1.2 * haze(rng)) + 1 for clean in self.clean]
        mean_b = [40 * (clean + 1.2 * haze(rng)) + 2 for clean in self.clean]
        self.a, self.again, self.b = (
            [rng.poisson(mean).astype(np.uint16) for mean in means]
            for means in (mean_a, mean_a, mean_b)
        )


@pytest.fixture(scope="module")
def fields() -> Fields:
    return Fields()


@pytest.fixture(scope="module")
def data(fields: Fields, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    for channel, frames in (("label_a", fields.a), ("label_b", fields.b)):
        (folder / channel).mkdir()
        for i, frame in enumerate(frames):
            tifffile.imwrite(folder / channel / f"{i:02d}.tif", frame)
    return folder


def small(method: str = "l2l", **more: Any) -> Recipe:
    """A recipe for a network that is trained in no time."""
    values: dict[str, Any] = {
        "method": method,
        "architecture": {"depth": 2, "kernel": 3, "first": 8},
        "loss": "mae",
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch": 4,
        "patch": 32,
        "learning_rate": 3e-3,
    }
    return Recipe(**(values | more))  # type: ignore[arg-type]  # one by one they are right


def filtered(out: Path, frame: NDArray[Any]) -> NDArray[np.float32]:
    """A frame through all members, normalized."""
    loaded = read_restoration(out.with_name(out.name + ".safetensors"))
    source = whole(loaded.normalization.normalize(frame), 4, "cpu")
    with torch.inference_mode():
        image: NDArray[np.float32] = (
            torch.stack([member(source)[0] for member in loaded.members]).mean(0)[0, 0].numpy()
        )
    return image


def error(image: NDArray[Any], truth: Map) -> float:
    """Root-mean-square distance from the truth, for any brightness and background."""
    design = np.stack([image.ravel(), np.ones(image.size)], 1)
    fitted = design @ np.linalg.lstsq(design, truth.ravel(), rcond=None)[0]
    return float(np.sqrt(np.mean((fitted - truth.ravel()) ** 2)))


class TestMethods:
    @pytest.mark.slow
    def test_two_labels_leave_the_structure_and_two_exposures_the_haze(
        self, fields: Fields, tmp_path: Path
    ) -> None:
        much = {"epochs": 4, "steps_per_epoch": 25, "patch": 48, "learning_rate": 2e-3}
        unseen = Fields(16)
        shown = range(14, 16)
        found = {}
        for method, targets in (("l2l", fields.b), ("n2n", fields.again)):
            out = tmp_path / method
            train(from_arrays(fields.a, targets), out, small(method, **much))
            found[method] = np.mean(
                [error(filtered(out, unseen.a[i]), unseen.clean[i]) for i in shown]
            )
        raw = np.mean([error(unseen.a[i], unseen.clean[i]) for i in shown])
        assert 0.9 * raw < found["n2n"] < raw
        assert found["l2l"] < 0.95 * found["n2n"]

    @pytest.mark.slow
    def test_blind_spots_take_away_noise(self, fields: Fields, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        frames = [rng.poisson(10 * clean + 1) for clean in fields.clean]
        recipe = small(
            "n2v",
            loss="mse",
            epochs=6,
            steps_per_epoch=25,
            batch=8,
            architecture={"depth": 1, "kernel": 3, "first": 8, "residual": False},
        )
        card = train(from_arrays(frames, frames), tmp_path / "w", recipe)
        raw, left = (
            np.mean([error(image(frames[i]), fields.clean[i]) for i in range(3)])
            for image in (np.asarray, partial(filtered, tmp_path / "w"))
        )
        assert left < 0.8 * raw
        # Were a pixel's own value to be seen, nothing would be easier than to repeat it.
        assert card["metrics"]["validation"]["rmse"] > 0.1

    @pytest.mark.slow
    def test_cyclegan_trains_on_other_fields_of_the_two_labels(
        self, fields: Fields, tmp_path: Path
    ) -> None:
        frames = [
            tuple(
                Frame(f"{channel}{i}", image.astype(np.float32), f"{channel}{i}")
                for i, image in enumerate(images)
            )
            for channel, images in (("a", fields.a[:6]), ("b", fields.b[6:]))
        ]
        recipe = small("cyclegan", discriminator=4, learning_rate=1e-3, epochs=2, steps_per_epoch=8)
        pairs = Pairs(frames[0], frames[1], paired=False)
        card = train(pairs, tmp_path / "w", recipe)
        (history,) = card["training"]["members"]
        assert history["train_loss"][1] < history["train_loss"][0]
        assert history["best_epoch"] == 2
        assert "without pairs" in " ".join(card["limits"])
        assert np.isfinite(filtered(tmp_path / "w", fields.a[0])).all()

    @pytest.mark.slow
    def test_a_student_learns_its_teacher(self, fields: Fields, tmp_path: Path) -> None:
        pairs = from_arrays(fields.a, fields.b)
        train(pairs, tmp_path / "teacher", small(members=2, epochs=3, steps_per_epoch=25))
        student = small(
            architecture={"depth": 1, "kernel": 3, "first": 4},
            distil_from=tmp_path / "teacher.safetensors",
            epochs=4,
            steps_per_epoch=25,
        )
        card = train(pairs, tmp_path / "student", student)
        teacher = read_restoration(tmp_path / "teacher.safetensors").card
        assert card["distilled_from"] == teacher["weights_sha256"]
        told, learned = (filtered(tmp_path / name, fields.a[0]) for name in ("teacher", "student"))
        raw = Normalization().normalize(fields.a[0])
        assert np.abs(learned - told).mean() < 0.8 * np.abs(raw - told).mean()
        # Its intervals are around what was measured, not around what its teacher says.
        found = card["metrics"]["validation"]
        assert found["coverage_90"] == pytest.approx(0.9, abs=0.01)
        measured = teacher["metrics"]["validation"]
        assert found["input_mae"] == pytest.approx(measured["input_mae"], rel=1e-3)


class TestTraining:
    @pytest.mark.slow
    def test_writes_what_it_learned(self, data: Path, tmp_path: Path) -> None:
        seen: list[int] = []
        examples: list[dict[str, Any]] = []
        card = train(
            data,
            tmp_path / "new" / "v1.2",
            small(members=2),
            command="stedfast train restoration",
            commit="abc",
            progress=lambda epoch, total, _: seen.append(epoch * 10 + total),
            examples=examples.extend,
        )
        assert seen == [14, 24, 34, 44]
        file = tmp_path / "new" / "v1.2.safetensors"
        assert json.loads((tmp_path / "new" / "v1.2.json").read_text(encoding="utf-8")) == card
        assert card["data"]["split"] == {"training": 12, "validation": 2, "test": 0}
        assert (card["method"], card["commit"], card["members"]) == ("l2l", "abc", 2)
        assert not card["data"]["simulated"]
        # The validation part calibrated it.
        found = card["metrics"]["validation"]
        assert found["coverage_90"] == pytest.approx(0.9, abs=0.005)
        assert found["coverage"]["0.5"] < found["coverage"]["0.9"]
        first, second = (load_file(file)[f"members.{i}.head.weight"] for i in (0, 1))
        assert not torch.equal(first, second)
        assert {name: image.shape for name, image in examples[0].items()} == dict.fromkeys(
            ("input", "filtered", "target", "sd"), (_SIDE, _SIDE)
        )
        assert not list((tmp_path / "new").glob("*.checkpoint*"))

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["l2l", "n2v", "cyclegan"])
    def test_a_stopped_training_goes_on_to_the_same_weights(
        self, data: Path, tmp_path: Path, method: str
    ) -> None:
        class Stopped(Exception):
            pass

        def stopping(at: int) -> Any:
            def stop(epoch: int, epochs: int, figures: dict[str, float]) -> None:
                if epoch == at:
                    raise Stopped

            return stop

        more = {"steps_per_epoch": 2, "schedule": "plateau", "patience": 1, "discriminator": 4}
        recipe = small(method, members=2, **more)
        uninterrupted = train(data, tmp_path / "whole", recipe)
        state = torch.get_rng_state()
        for at in (1, 3):
            with pytest.raises(Stopped):
                train(data, tmp_path / "w", recipe, progress=stopping(at))
        with pytest.raises(ValueError, match=r"w\.0\.checkpoint: of a training with another"):
            train(data, tmp_path / "w", small(method, members=2, seed=5, **more))
        left: list[int] = []
        card = train(data, tmp_path / "w", recipe, progress=lambda n, *_: left.append(n))
        assert left == [4]
        assert card["weights_sha256"] == uninterrupted["weights_sha256"]
        assert torch.equal(state, torch.get_rng_state())

    @pytest.mark.slow
    def test_a_damaged_checkpoint_is_named(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "w.0.checkpoint").write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"w\.0\.checkpoint: not a checkpoint; delete it"):
            train(data, tmp_path / "w", small())

    @pytest.mark.slow
    def test_a_training_that_diverges_says_so(self, fields: Fields, tmp_path: Path) -> None:
        pairs = from_arrays(fields.a, fields.b)
        with pytest.raises(ValueError, match=r"learning_rate: 1e\+30 let the training diverge"):
            train(pairs, tmp_path / "w", small(learning_rate=1e30, schedule="constant"))
        assert not list(tmp_path.iterdir())


class TestPairs:
    @pytest.mark.slow
    def test_a_shift_is_found_corrected_and_reported(self, fields: Fields, tmp_path: Path) -> None:
        moved = [np.roll(frame, (5, -3), (0, 1)) for frame in fields.b]
        pairs = register(from_arrays(fields.a, moved))
        assert set(pairs.shifts) == {(-5, 3)}
        straight = register(from_arrays(fields.a, fields.b))
        assert set(straight.shifts) == {(0, 0)}
        for found, source, target in zip(pairs.targets, pairs.inputs, fields.b, strict=True):
            # What rolled around the edge is cropped off with the rest that has no partner.
            assert found.image.shape == source.image.shape == (_SIDE - 5, _SIDE - 3)
            assert (found.image == target[: _SIDE - 5, 3:]).all()
        card = train(from_arrays(fields.a, moved), tmp_path / "w", small(epochs=1))
        assert card["data"]["registration"] == {
            "checked": True,
            "moved": 14,
            "largest_shift_px": pytest.approx(34**0.5),
        }

    def test_noise_alone_is_not_shifted(self) -> None:
        rng = np.random.default_rng(0)
        for side in (64, 128, 256):
            for _ in range(5):
                a, b = (rng.poisson(2, (side, side)).astype(np.float32) for _ in range(2))
                assert shift_of(a, b) == (0, 0)

    def test_a_large_shift_is_refused(self, fields: Fields) -> None:
        moved = [np.roll(frame, 12, 0) for frame in fields.b]
        with pytest.raises(ValueError, match=r"0000 is shifted by -1\d rows and 0 columns"):
            register(from_arrays(fields.a, moved))

    def test_split_is_by_field(self, data: Path) -> None:
        image = np.zeros((4, 4), np.float32)
        frames = tuple(Frame(f"{i}", image, str(i // 3)) for i in range(60))
        parts = split(Pairs(frames, frames), 1).inputs
        training, validation = ({i // 3 for i in part} for part in parts[:2])
        assert (len(training), len(validation), training & validation) == (17, 3, set())
        named = tuple(Frame(f.name, image, f.field, "test") for f in frames[:3])
        rest = tuple(
            Frame(f.name, image, f.field, "validation" if int(f.name) > 50 else "training")
            for f in frames[3:]
        )
        assert [len(part) for part in split(Pairs(named + rest, named + rest), 1).inputs] == [
            48,
            9,
            3,
        ]
        with pytest.raises(ValueError, match="column split has no `training` of input"):
            split(Pairs(named, named), 1)
        with pytest.raises(ValueError, match=r"too few fields \(1\); accepted: two"):
            split(Pairs(frames[:3], frames[:3]), 1)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.full((96, 96), np.nan, np.float32), r"01\.tif: 9216 pixels are not finite"),
            (np.zeros((96, 96, 3), np.uint8), r"01\.tif: found an image of shape \(96, 96, 3\)"),
            (np.zeros((96, 96), complex), r"01\.tif: found pixels of type complex128"),
            (np.zeros((96, 90), np.uint16), r"01 has shape \(96, 90\), its partner in label_a"),
            (None, "label_a: 01 has no partner in label_b"),
            (b"no image", r"01\.tif: not a readable TIFF"),
        ],
    )
    def test_wrong_frames_are_named(self, tmp_path: Path, image: Any, message: str) -> None:
        for channel in ("label_a", "label_b"):
            (tmp_path / channel).mkdir()
            for name in ("00", "01"):
                tifffile.imwrite(tmp_path / channel / f"{name}.tif", np.zeros((96, 96), np.uint16))
        wrong = tmp_path / "label_b" / "01.tif"
        wrong.unlink()
        if isinstance(image, bytes):
            wrong.write_bytes(image)
        elif image is not None:
            tifffile.imwrite(wrong, image)
        with pytest.raises(ValueError, match=message):
            train(tmp_path, tmp_path / "w", small())

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("file,split\n", "found columns file, split; accepted: a CSV with a header"),
            ("name,split\n00,train\n", "line 2: split: found 'train'; accepted: training"),
            ("name\n00\n00\n", "line 3: '00' stands here twice"),
            ("name\n00\n", r"01\.tif: has no row in fields\.csv"),
        ],
    )
    def test_wrong_tables_are_named(
        self, data: Path, tmp_path: Path, table: str, message: str
    ) -> None:
        for channel in ("label_a", "label_b"):
            (tmp_path / channel).symlink_to(data / channel)
        (tmp_path / "fields.csv").write_text(table)
        with pytest.raises(ValueError, match=message):
            read_pairs(tmp_path, "label_a", "label_b")

    def test_frames_smaller_than_a_patch_are_named(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"00 has 96 × 96 pixels .* accepted: 128 × 128"):
            train(data, tmp_path / "w", small(patch=128))


def write_grey(file: Path, data: Any) -> None:
    tifffile.imwrite(file, data, photometric="minisblack")


class TestCommand:
    @pytest.mark.slow
    def test_trains_on_tiff_and_ome_zarr(
        self, fields: Fields, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for channel in ("mine", "yours"):
            (tmp_path / channel).mkdir()
        for i in range(4):
            tifffile.imwrite(tmp_path / "mine" / f"{i}.tif", fields.a[i].astype(np.float32))
            group = zarr.open_group(tmp_path / "yours" / f"{i}.ome.zarr", mode="w")
            group.create_array("full", data=fields.b[i][None, None])
            axes = [{"name": axis} for axis in "tcyx"]
            group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "full"}]}]}
        config = tmp_path / "mine.yaml"
        config.write_text(
            "architecture: {depth: 1, kernel: 3, first: 4}\nloss: laplace\nepochs: 1\n"
            "steps_per_epoch: 2\nbatch: 2\npatch: 32\ninput: mine\ntarget: yours\n"
        )
        lines = [f"data={tmp_path}", f"out={tmp_path / 'w'}"]
        train_restoration(config, lines, Console(quiet=True))
        assert "90% intervals cover 90%" in capsys.readouterr().out
        assert (tmp_path / "w.png").read_bytes()[:4] == b"\x89PNG"
        card = read_restoration(tmp_path / "w.safetensors").card
        assert (card["data"]["input"], card["data"]["target"]) == ("mine", "yours")
        (tmp_path / "yours" / "0.ome.zarr" / "zarr.json").write_text("{}")
        with pytest.raises(UserError, match=r"0\.ome\.zarr: .*accepted: an OME-Zarr image"):
            train_restoration(config, lines, Console(quiet=True), overwrite=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("shape", [(64, 96), (5, 48, 48)])
    def test_noise2void_learns_from_one_image_or_one_stack(
        self, tmp_path: Path, shape: tuple[int, ...]
    ) -> None:
        (tmp_path / "mine").mkdir()
        image = np.random.default_rng(1).poisson(9, shape).astype(np.uint16)
        write_grey(tmp_path / "mine" / "a.tif", image)
        config = tmp_path / "mine.yaml"
        config.write_text(
            "method: n2v\narchitecture: {depth: 1, kernel: 3, first: 4}\nloss: laplace\n"
            "epochs: 1\nsteps_per_epoch: 2\nbatch: 2\npatch: 32\ninput: mine\n"
        )
        lines = [f"data={tmp_path}", f"out={tmp_path / 'w'}"]
        train_restoration(config, lines, Console(quiet=True))
        card = read_restoration(tmp_path / "w.safetensors").card
        parts = (
            {"training": 4, "validation": 1}
            if len(shape) == 3
            else dict.fromkeys(("training", "validation"), 1)
        )
        assert card["data"]["split"] == parts | {"test": 0}
        with pytest.raises(UserError, match=r"w\.safetensors: is there already; --overwrite"):
            train_restoration(config, lines, Console(quiet=True))
        train_restoration(config, lines, Console(quiet=True), overwrite=True)
        write_grey(tmp_path / "mine" / "a.tif", image[..., :40, :40])
        if len(shape) == 2:
            with pytest.raises(UserError, match=r"a is one frame of 40 × 40 .*32 × 64 or more"):
                train_restoration(config, lines, Console(quiet=True), overwrite=True)

    def test_constant_frames_teach_nothing(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        for channel in ("label_a", "label_b"):
            (tmp_path / channel).mkdir()
            for i in range(4):
                tifffile.imwrite(tmp_path / channel / f"{i}.tif", np.full((40, 40), i, np.uint16))
        with pytest.raises(ValueError, match="label_a: every frame is constant"):
            train(tmp_path, tmp_path / "w", small())
        assert not (tmp_path / "w.safetensors").exists() and not len(recwarn)

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ([], "`data`: missing; give it here or as --data"),
            (["data=absent", "out=w"], "absent: no such folder"),
            (["data=.", "out=w", "method=n2v"], "loss: found 'ms_ssim3'; accepted with n2v"),
            (["data=.", "out=w", "epochs=0"], "epochs"),
            (["data=.", "out=w", "device=tpu9"], "`device`: 'tpu9' is not there"),
            (["data=.", "out=w", "input=nowhere"], "nowhere: no such folder"),
        ],
    )
    def test_mistakes_are_named(self, lines: list[str], message: str) -> None:
        config = Path(__file__).parents[2] / "configs" / "restoration" / "default.yaml"
        with pytest.raises(UserError, match=message):
            train_restoration(config, lines, Console(quiet=True))

    def test_every_config_is_a_recipe(self) -> None:
        folder = Path(__file__).parents[2] / "configs" / "restoration"
        methods = {recipe_of(file.stem).method for file in folder.glob("*.yaml")}
        assert methods == {"l2l", "care", "n2v", "cyclegan"}
        assert recipe_of("care").architecture == {"depth": 2, "kernel": 5, "first": 32}

    def test_the_config_has_every_key_of_the_recipe(self) -> None:
        keys = {field.alias or name for name, field in RestorationTraining.model_fields.items()}
        assert keys - {"data", "out", "device"} == set(Recipe.__dataclass_fields__)
