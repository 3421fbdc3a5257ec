"""Training of the quality network: what it learns, splits, figures, and continuing after a stop."""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

from agent.offline.training.reading import read_rated
from models import QualityScorer, train
from models.quality.data import load, split
from models.quality.figures import calibrate, covered, whitening
from models.quality.recipe import Recipe
from models.quality.scorer import SHIPPED
from models.quality.spectral import QualityNet
from models.quality.table import Rating, read_ratings
from tests.helpers.filaments import filaments

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames, good and bad, whose photon count alone decides which they are."""
    folder = tmp_path_factory.mktemp("rated")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(30):
        score = (0.1, 0.9)[i % 2]
        frame = rng.poisson(0.2 * 100**score * filaments(i, size_um=2.0)).astype(np.uint16)
        tifffile.imwrite(folder / f"{i:02d}.tif", frame)
        rows.append(f"{i:02d}.tif,{score},{'actin' if i < 15 else 'tubulin'}")
    (folder / "frames.csv").write_text("\n".join(["file,score,structure", *rows]) + "\n")
    (folder / "few.csv").write_text("\n".join(["file,score,structure", *rows[:12]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def few(rated: Path) -> Path:
    """A table of twelve of them, for what no training has to learn for."""
    return rated / "few.csv"


def small(seed: int = 1, epochs: int = 1, network: str = "stedfast", **more: Any) -> Recipe:
    """A recipe for a network that is trained in no time."""
    architecture: dict[str, Any] = {
        "network": network,
        "channels": [4, 4, 4, 8, 8, 8],
        "hidden": 16,
    }
    if network == "stedfast":
        architecture |= {"heads": 2, "rings": 16}
    return Recipe(architecture=architecture, seed=seed, epochs=epochs, **more)


class TestTraining:
    @pytest.mark.slow
    def test_learns_and_writes_what_it_learned(self, rated: Path, tmp_path: Path) -> None:
        seen: list[tuple[int, int, dict[str, float]]] = []
        card = train(
            rated,
            tmp_path / "new" / "v1.2",
            small(seed=3, epochs=8),
            tests={"again": rated},
            command="stedfast train quality DATA",
            commit="abc",
            progress=lambda *told: seen.append(told),
        )
        assert [(epoch, epochs) for epoch, epochs, _ in seen] == [(i, 8) for i in range(1, 9)]
        losses = [figures["train_rmse"] for _, _, figures in seen]
        assert np.mean(losses[-3:]) < 0.8 * losses[0]
        written = json.loads((tmp_path / "new" / "v1.2.json").read_text(encoding="utf-8"))
        assert written == card
        assert (card["command"], card["commit"], card["recipe"]["seed"]) == (
            "stedfast train quality DATA",
            "abc",
            3,
        )
        assert card["data"]["split"] == {"training": 24, "validation": 3, "test": 3}
        assert card["data"]["structures"] == {"actin": 15, "tubulin": 15}
        assert {name: figures["frames"] for name, figures in card["metrics"].items()} == {
            "validation": 3,
            "test": 3,
            "again": 30,
        }
        assert card["metrics"]["again"]["rmse"] < card["metrics"]["again"]["rmse_random"]
        with (tmp_path / "new" / "v1.2.csv").open() as file:
            assert len(list(csv.DictReader(file))) == 36
        assert not list((tmp_path / "new").glob("*.checkpoint*"))
        mask = os.umask(0)
        os.umask(mask)
        for file in (tmp_path / "new").iterdir():
            assert file.stat().st_mode & 0o777 == 0o666 & ~mask, file.name

    @pytest.mark.slow
    def test_same_seed_same_weights_in_any_order_of_rows(self, few: Path, tmp_path: Path) -> None:
        header, *rows = few.read_text().splitlines()
        shuffled = few.with_name("shuffled.csv")
        shuffled.write_text("\n".join([header, *rows[::-1]]))
        state = torch.get_rng_state()
        cards = [train(data, tmp_path / "w", small()) for data in (few, shuffled)]
        assert torch.equal(state, torch.get_rng_state())
        assert cards[0]["weights_sha256"] == cards[1]["weights_sha256"]
        assert cards[0]["data"]["sha256"] == cards[1]["data"]["sha256"]

    @pytest.mark.slow
    def test_reloaded_weights_score_as_the_card_says(self, rated: Path, tmp_path: Path) -> None:
        card = train(rated, tmp_path / "w", small())
        scorer = QualityScorer(tmp_path / "w.safetensors")
        assert scorer.weights_hash() == card["weights_sha256"]
        ratings = read_ratings(rated)
        errors = [
            scorer.score(tifffile.imread(ratings[i].path), 20.0).value - ratings[i].score
            for i in split(tuple(ratings), 1).test.tolist()
        ]
        rmse = float(np.sqrt(np.mean(np.square(errors))))
        assert card["metrics"]["test"]["rmse"] == pytest.approx(
            rmse, abs=1e-3
        )  # frames are kept in half precision

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, r"frames\.csv: no such file; accepted: a CSV"),
            ("", "found columns nothing; accepted: a CSV with a header"),
            ("file,score\n", "no rows below the header"),
            ("name,score\n00.tif,0.5\n", "found columns name, score; accepted"),
            ("file,score\nabsent.tif,0.5\n", r"line 2: file is 'absent\.tif', which does not"),
            ("file,score\n,0.5\n", "line 2: file is ''"),
            ("file,score\n00.tif,0.5\n00.tif,1.2\n", "line 3: score: found '1.2'; accepted: a num"),
            ("file,score\n00.tif,-0.1\n", "line 2: score: found '-0.1'; accepted: a number from 0"),
            ("file,score\n00.tif,good\n", "line 2: score: found 'good'; accepted: a number"),
            ("file,score\n00.tif,nan\n", "line 2: score: found 'nan'; accepted: a number"),
            ("file,score\n00.tif\n", "line 2: score: found ''; accepted: a number"),
            (
                "file,score,pixel_size_nm\n00.tif,1,0\n",
                "line 2: pixel_size_nm: found '0'; accepted",
            ),
            ("file,score\n00.tif,0.5\n", r"found 1 frames; accepted: 10 or more"),
            ("file,score\n" + "text.tif,0.5\n" * 10, r"text\.tif: not a readable TIFF"),
            ("file,score\n" + "stack.tif,0.5\n" * 10, r"stack\.tif: .*\(2, 30, 30\); accepted"),
            (
                "file,score,split\n00.tif,0.5,train\n",
                "line 2: split: found 'train'; accepted: training",
            ),
            ("file,score,split\n" + "00.tif,0.5,test\n" * 10, "column split has no `training`"),
            (b"\xff\xfe\x00\x01", "not a readable CSV"),
        ],
    )
    def test_wrong_tables_are_named(
        self, rated: Path, tmp_path: Path, content: str | bytes | None, message: str
    ) -> None:
        shutil.copy(rated / "00.tif", tmp_path)
        (tmp_path / "text.tif").write_text("no image")
        tifffile.imwrite(tmp_path / "stack.tif", np.zeros((2, 30, 30), np.uint8))
        if isinstance(content, bytes):
            (tmp_path / "frames.csv").write_bytes(content)
        elif content is not None:
            (tmp_path / "frames.csv").write_text(content)
        with pytest.raises(ValueError, match=message):
            train(tmp_path, tmp_path / "w", small())

    def test_no_epoch_is_refused(self, rated: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="epochs: found 0; accepted: 1 or more"):
            train(rated, tmp_path / "w", small(epochs=0))

    @pytest.mark.slow
    @pytest.mark.parametrize("network", ["stedfast", "robitaille"])
    def test_a_stopped_training_goes_on_to_the_same_weights(
        self, few: Path, tmp_path: Path, network: str
    ) -> None:
        recipe = small(epochs=3, network=network, augmentation="doubled")

        class Stopped(Exception):
            pass

        def stop(epoch: int, epochs: int, figures: dict[str, float]) -> None:
            if epoch == 2:
                raise Stopped

        whole = train(few, tmp_path / "whole", recipe)
        with pytest.raises(Stopped):
            train(few, tmp_path / "w", recipe, progress=stop)
        assert (tmp_path / "w.checkpoint").is_file()
        with pytest.raises(ValueError, match=r"w\.checkpoint: of a training with another recipe"):
            train(few, tmp_path / "w", small(epochs=3, seed=9, network=network))
        seen: list[int] = []
        card = train(few, tmp_path / "w", recipe, progress=lambda n, *_: seen.append(n))
        assert seen == [3]
        assert card["weights_sha256"] == whole["weights_sha256"]

    @pytest.mark.slow
    def test_another_pixel_size_is_another_training(self, rated: Path, tmp_path: Path) -> None:
        """Whether a table or the files say it; such a training is not continued after a stop."""
        names = [f"{i:02d}.tif" for i in range(10)]
        (tmp_path / "stated").mkdir()
        for name in names:
            about: dict[str, Any] = {"imagej": True, "metadata": {"unit": "micron"}}
            frame = tifffile.imread(rated / name)[:48, :48]
            tifffile.imwrite(tmp_path / name, frame)
            tifffile.imwrite(tmp_path / "stated" / name, frame, resolution=(20, 20), **about)

        def table(folder: Path, size: str) -> None:
            column = f",{size}" if size else ""
            head = "file,score" + (",pixel_size_nm" if size else "")
            rows = [f"{name},{i % 2}{column}" for i, name in enumerate(names)]
            (folder / "frames.csv").write_text("\n".join([head, *rows]))

        told: list[dict[str, float]] = []

        def stop(epoch: int, epochs: int, figures: dict[str, float]) -> None:
            told.append(figures)
            raise InterruptedError

        for folder, size in ((tmp_path / "stated", ""), (tmp_path, "50"), (tmp_path, "20")):
            table(folder, size)
            with pytest.raises(InterruptedError):
                train(folder, tmp_path / f"w{size}", small(), read=read_rated, progress=stop)
        of_files, of_table, finer = told
        assert of_files == of_table
        assert finer["train_rmse"] != pytest.approx(of_table["train_rmse"], rel=1e-4)
        with pytest.raises(ValueError, match="of a training with another recipe"):
            train(tmp_path, tmp_path / "w50", small())

    @pytest.mark.slow
    def test_a_damaged_checkpoint_is_named(self, rated: Path, tmp_path: Path) -> None:
        (tmp_path / "w.checkpoint").write_bytes(b"no zip")
        with pytest.raises(ValueError, match=r"w\.checkpoint: not a checkpoint; delete it"):
            train(rated, tmp_path / "w", small())

    @pytest.mark.slow
    def test_training_ends_when_nothing_gets_better(self, few: Path, tmp_path: Path) -> None:
        card = train(few, tmp_path / "w", small(epochs=30, patience=1, learning_rate=1e-7))
        assert card["training"]["epochs"] < 30

    @pytest.mark.slow
    def test_fine_tuning_learns_a_taste_and_leaves_the_convolutions(
        self, rated: Path, tmp_path: Path
    ) -> None:
        recipe = Recipe(
            architecture=None,
            start_from=SHIPPED,
            heads_only=True,
            epochs=5,
            patience=None,
            batch=8,
            learning_rate=6e-3,
            blurred=0.0,
            empty=0.0,
        )
        card = train(rated, tmp_path / "w", recipe)
        assert card["started_from"] == QualityScorer().weights_hash()
        before, after = load_file(SHIPPED), load_file(tmp_path / "w.safetensors")
        changed = {
            name.split(".")[0] for name in before if not torch.equal(before[name], after[name])
        }
        assert changed <= {"heads", "calibration", "familiar_mean", "familiar_whitening"}
        errors = []
        for scorer in (QualityScorer(), QualityScorer(tmp_path / "w.safetensors")):
            ratings = read_ratings(rated)
            scores = [scorer.score(tifffile.imread(r.path), 20.0).value for r in ratings]
            errors.append(np.mean(np.square(np.array(scores) - [r.score for r in ratings])))
        assert errors[1] < 0.5 * errors[0]

    @pytest.mark.slow
    def test_heads_alone_look_at_a_frame_only_once_a_variant(
        self, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the convolutions say does not change, so that more epochs cost nothing."""
        looked: list[int] = []
        seen = QualityNet.seen

        def counted(self: QualityNet, frames: Any) -> Any:
            looked.append(len(frames))
            return seen(self, frames)

        train(few, tmp_path / "start", small(blurred=0.0))
        start = {"architecture": None, "start_from": tmp_path / "start.safetensors"}
        heads = Recipe(**start, heads_only=True, variants=2, processed=0.3, patience=None)
        monkeypatch.setattr(QualityNet, "seen", counted)
        shown = []
        for epochs in (2, 9):
            looked.clear()
            card = train(few, tmp_path / f"w{epochs}", replace(heads, epochs=epochs))
            shown.append(sum(looked))
        assert shown[0] == shown[1]
        assert card["recipe"]["variants"] == 2
        before, after = (load_file(tmp_path / f"{n}.safetensors") for n in ("start", "w9"))
        changed = {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}
        assert changed <= {"heads", "calibration", "familiar_mean", "familiar_whitening"}


class TestSplits:
    def test_the_tables_own_is_kept(self, rated: Path, tmp_path: Path) -> None:
        names = ["training"] * 5 + ["validation"] * 2 + ["test"]
        ratings = tuple(Rating(Path(f"{i}.tif"), 0.5, split=n) for i, n in enumerate(names))
        parts = split(ratings, 1)
        assert [part.tolist() for part in parts] == [[0, 1, 2, 3, 4], [5, 6], [7]]

    def test_frames_of_one_field_stay_together(self) -> None:
        ratings = tuple(Rating(Path(f"{i}.tif"), 0.5, field=str(i // 4)) for i in range(80))
        parts = [{int(i) // 4 for i in part} for part in split(ratings, 3)]
        assert all(parts)
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])

    def test_rows_of_one_file_stay_together(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 20), np.uint8))
        ratings = tuple(Rating(Path(f"{i // 4}.tif"), 0.5) for i in range(80))
        parts = [{int(i) // 4 for i in part} for part in split(ratings, 3)]
        assert all(parts)
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        table = tmp_path / "frames.csv"
        table.write_text("file,score,split\na.tif,0.5,training\na.tif,0.6,validation\n")
        with pytest.raises(ValueError, match=r"line 3: a\.tif is in 'validation' here and in"):
            read_ratings(tmp_path)

    def test_frames_have_the_pixel_size_of_their_file(self, rated: Path, tmp_path: Path) -> None:
        rows = ["file,score"]
        for name in ("00.tif", "01.tif"):
            frame = tifffile.imread(rated / name)
            about = {"unit": "micron"}
            tifffile.imwrite(
                tmp_path / name, frame, imagej=True, resolution=(20, 20), metadata=about
            )
            rows.append(f"{name},0.5")
        table = tmp_path / "frames.csv"
        table.write_text("\n".join(rows))
        stated = load(tmp_path, read=read_rated)
        assert all(rating.pixel_size_nm is None for rating in stated.ratings)
        sized = {}
        for size in (20, 50):
            sizes = [f"{row},{size}" for row in rows[1:]]
            table.write_text("\n".join([rows[0] + ",pixel_size_nm", *sizes]))
            sized[size] = load(tmp_path, read=read_rated)
        assert torch.equal(stated.tiles, sized[50].tiles)
        assert stated.tiles.shape != sized[20].tiles.shape or not torch.equal(
            stated.tiles, sized[20].tiles
        )

    def test_constant_frames_teach_nothing(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.full((40, 40), 3, np.uint8))
        (tmp_path / "frames.csv").write_text("file,score\na.tif,0.5\n")
        with pytest.raises(ValueError, match="every frame is constant"):
            load(tmp_path)

    def test_another_column_can_be_learned(self, rated: Path, tmp_path: Path) -> None:
        table = rated / "tastes.csv"
        table.write_text("file,mine,yours\n00.tif,0.25,0.75\n")
        assert load(table, "yours").score.tolist() == [0.75]
        with pytest.raises(ValueError, match="at least the columns file, ours"):
            load(table, "ours")


class TestFigures:
    def test_calibrated_intervals_cover_what_they_say(self) -> None:
        generator = torch.Generator().manual_seed(0)
        sd = 0.02 + 0.1 * torch.rand(4000, generator=generator)
        target = torch.rand(4000, generator=generator)
        value = target + 3 * sd * torch.randn(4000, generator=generator)
        factor = calibrate(value[:2000], sd[:2000], target[:2000])
        assert factor == pytest.approx(3, rel=0.1)
        share = covered(value[2000:], factor * sd[2000:], target[2000:])
        assert share == pytest.approx(0.9, abs=0.025)

    def test_whitened_features_have_distance_one(self) -> None:
        generator = torch.Generator().manual_seed(0)
        mixed = torch.randn(5000, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
        mean, matrix = whitening(mixed + 3)
        away = ((mixed + 3 - mean) @ matrix).square().mean(1).sqrt()
        assert float(away.mean()) == pytest.approx(0.9, abs=0.15)  # less by the shrinkage
        outlier = (torch.full((6,), 40.0) - mean) @ matrix
        assert float(outlier.square().mean().sqrt()) > 3
