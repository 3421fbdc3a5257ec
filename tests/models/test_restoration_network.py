"""The restoration network, its losses, normalization, patches and blind spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.restoration.blind import blind
from models.restoration.calibration import calibrate, covered, half_width, members, spread
from models.restoration.cyclegan import PatchDiscriminator
from models.restoration.losses import LOSSES, laplace, of_scale
from models.restoration.network import RestorationNet, build
from models.restoration.normalization import Normalization
from models.restoration.objective import Case, rate_at
from models.restoration.patches import Patches
from models.restoration.recipe import Recipe
from models.restoration.similarity import WEIGHTS, ms_ssim

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(**architecture: Any) -> RestorationNet:
    torch.manual_seed(0)
    return build(architecture)


class TestNetwork:
    def test_has_the_published_size_and_one_more_output(self) -> None:
        count = sum(part.numel() for part in RestorationNet().parameters())
        assert count == 922_977 + 33

    def test_reach_of_the_published_network_is_cares_overlap(self) -> None:
        assert RestorationNet().reach == 43

    @pytest.mark.parametrize("depth, kernel", [(1, 3), (2, 3), (2, 5)])
    def test_sees_as_far_as_its_reach_and_no_further(self, depth: int, kernel: int) -> None:
        network = seeded(depth=depth, kernel=kernel, first=4)
        side = 96
        seen = np.zeros((side, side), bool)
        # Positive weights, so that no ReLU hides what is seen, and all pixels of some blocks,
        # because how far a pixel sees depends on its place in its block.
        for part in network.parameters():
            part.data.abs_()
        for at in range(side // 2, side // 2 + network.multiple):
            frame = torch.rand(1, 1, side, side, requires_grad=True)
            network(frame)[0][0, 0, at, at].backward()
            assert frame.grad is not None
            rows, columns = np.nonzero(frame.grad[0, 0].numpy())
            reached = np.abs(np.concatenate([rows, columns]) - at).max()
            assert reached <= network.reach
            seen[rows, columns] = True
        # Max pooling passes on one pixel of a block, so that the last few may go unseen.
        assert np.abs(np.argwhere(seen) - side // 2).max() >= network.reach - 2 * network.multiple

    def test_residual_adds_the_frame(self) -> None:
        frame = torch.rand(1, 1, 16, 16)
        with_it, without = seeded(first=4), seeded(first=4, residual=False)
        without.load_state_dict(with_it.state_dict())
        assert torch.allclose(with_it(frame)[0] - frame, without(frame)[0], atol=1e-6)

    def test_scale_is_positive(self) -> None:
        _, scale = seeded(first=4)(-50 * torch.rand(1, 1, 16, 16))
        assert float(scale.detach().min()) >= 1e-3

    @pytest.mark.parametrize("shape", [(1, 1, 30, 32), (1, 2, 32, 32), (1, 32, 32), (1, 1, 0, 4)])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"accepted: \(n, 1, rows"):
            seeded(first=4)(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("architecture", "message"),
        [
            ({"width": 3}, "architecture: found width; accepted: depth, kernel"),
            ({"kernel": 4}, "kernel: found 4; accepted: odd"),
            ({"depth": 0}, "depth: found 0; accepted: 1"),
            ({"first": 1.5}, "first: found 1.5"),
        ],
    )
    def test_wrong_architectures_are_named(
        self, architecture: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            build(architecture)

    def test_is_built_again_from_its_architecture(self) -> None:
        network = seeded(depth=1, kernel=3, first=4, residual=False)
        build(network.architecture).load_state_dict(network.state_dict())

    def test_discriminator_sees_70_pixels(self) -> None:
        judge = PatchDiscriminator(4)
        frame = torch.rand(1, 1, 128, 128, requires_grad=True)
        convolutions = [part for part in judge.layers if isinstance(part, torch.nn.Conv2d)]
        told: torch.Tensor = frame
        for part in convolutions:  # normalization looks at the whole frame
            told = part(told)
        told[0, 0, 7, 7].backward()
        assert frame.grad is not None
        rows, _ = np.nonzero(frame.grad[0, 0].numpy())
        assert np.ptp(rows) + 1 == 70


class TestNormalization:
    def test_percentiles_become_0_and_1_and_come_back(self) -> None:
        frame = np.random.default_rng(0).poisson(30, (64, 64)).astype(np.uint16)
        by = Normalization(5, 95)
        offset, scale = by.of(frame)
        image = by.apply(frame, offset, scale)
        assert np.percentile(image, (5, 95)) == pytest.approx([0, 1], abs=1e-6)
        assert by.undo(image, offset, scale) == pytest.approx(frame, abs=1e-3)

    @pytest.mark.parametrize(("bright", "scale"), [(0, 1.0), (7, 7.0)])
    def test_scale_is_never_0(self, bright: int, scale: float) -> None:
        frame = np.full((100, 100), 3)
        frame[0, 0] += bright  # beyond what the percentiles see
        assert Normalization().of(frame) == (3.0, scale)

    @pytest.mark.parametrize(("low", "high"), [(-1, 99), (50, 50), (2, 101)])
    def test_wrong_percentiles_are_named(self, low: float, high: float) -> None:
        with pytest.raises(ValueError, match="normalization: found percentiles"):
            Normalization(low, high)


class TestLosses:
    @pytest.mark.parametrize("scales", [3, 5])
    def test_ms_ssim_is_that_of_torchmetrics(self, scales: int) -> None:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

        generator = torch.Generator().manual_seed(1)
        target = torch.rand(2, 1, 256, 256, generator=generator)
        target = torch.nn.functional.avg_pool2d(target, 9, 1, 4)
        image = target + 0.1 * torch.rand(2, 1, 256, 256, generator=generator)
        weights = np.array(WEIGHTS[:scales])
        theirs = multiscale_structural_similarity_index_measure(
            image, target, data_range=1.0, betas=tuple(weights / weights.sum())
        )
        # They pad the frame where the windows of the coarsest scale would leave it.
        assert float(1 - ms_ssim(image, target, scales)) == pytest.approx(float(theirs), abs=5e-3)

    @pytest.mark.parametrize("name", list(LOSSES))
    def test_losses_are_0_for_the_target_and_rise_away_from_it(self, name: str) -> None:
        torch.manual_seed(0)
        target = torch.rand(2, 1, 176, 176)
        noise = torch.randn_like(target)
        found = [float(LOSSES[name](target + sd * noise, target)) for sd in (0, 0.1, 0.3)]
        assert found[0] == pytest.approx(0, abs=1e-5)
        assert found[0] < found[1] < found[2]

    def test_ms_ssim_is_in_single_precision_whatever_is_around(self) -> None:
        image, target = torch.rand(2, 1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
        plain = ms_ssim(image, target)
        with torch.autocast("cpu", torch.bfloat16):
            assert ms_ssim(image, target).item() == plain.item()
            assert ms_ssim(image.bfloat16(), target).item() == pytest.approx(plain.item(), abs=0.01)

    def test_too_small_for_ms_ssim_is_named(self) -> None:
        image = torch.zeros(1, 1, 128, 128)
        with pytest.raises(ValueError, match="128 × 128 pixels; MS-SSIM with 5 scales needs 176"):
            ms_ssim(image, image, 5)

    @pytest.mark.slow
    @pytest.mark.parametrize("loss", [laplace, of_scale])
    def test_scale_learns_the_mean_absolute_error(self, loss: Any) -> None:
        torch.manual_seed(0)
        target = 0.3 * torch.distributions.Laplace(0.0, 1.0).sample((2000,))
        location = torch.zeros(1, requires_grad=True)
        raw = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.Adam([raw], 0.1)
        for _ in range(100):
            optimizer.zero_grad()
            loss(location, raw.exp(), target).backward()
            optimizer.step()
        assert float(raw.detach().exp()) == pytest.approx(float(target.abs().mean()), rel=0.02)

    def test_scale_leaves_the_location_alone(self) -> None:
        location, scale = (torch.full((4,), 0.5, requires_grad=True) for _ in range(2))
        of_scale(location, scale, torch.ones(4)).backward()
        assert location.grad is None
        assert scale.grad is not None


class TestBlindSpots:
    def test_a_blind_pixel_never_shows_its_own_value(self) -> None:
        # Every pixel has a value of its own, so that a value says where it came from.
        frame = torch.arange(3 * 40 * 44, dtype=torch.float32).reshape(3, 1, 40, 44)
        for seed in range(20):
            blinded, spots = blind(frame, np.random.default_rng(seed))
            assert (blinded[spots] != frame[spots]).all()
            assert torch.equal(blinded[~spots], frame[~spots])
            places = spots.nonzero()
            source = blinded[spots].long()
            assert (source // (40 * 44) == places[:, 0]).all()
            away = torch.stack(
                [source % (40 * 44) // 44 - places[:, 2], source % 44 - places[:, 3]]
            )
            assert int(away.abs().max()) == 2

    def test_one_pixel_of_64_is_blind_anywhere(self) -> None:
        frame = torch.rand(4, 1, 64, 64)
        _, spots = blind(frame, np.random.default_rng(0))
        assert float(spots.float().mean()) == 1 / 64
        often = sum(
            blind(frame, np.random.default_rng(seed)).spots.sum(0)[0] for seed in range(200)
        )
        assert int(often.min()) >= 1


class TestPatches:
    def test_most_patches_have_structure_and_all_images_the_same(self) -> None:
        frame = np.zeros((256, 256), np.float32)
        frame[200:216, 40:56] = 1.0
        frame += 0.01 * np.random.default_rng(0).random(frame.shape, np.float32)
        stack = np.stack([frame, 2 * frame])
        rng = np.random.default_rng(1)
        for anywhere, least, most in ((0.0, 1.0, 1.0), (1.0, 0.0, 0.3)):
            drawn = Patches([stack], [frame], 32, anywhere).draw(rng, 60)
            assert drawn.shape == (60, 2, 32, 32)
            assert torch.equal(drawn[:, 1], 2 * drawn[:, 0])
            share = float((drawn[:, 0].amax((1, 2)) > 0.5).float().mean())
            assert least <= share <= most

    def test_patches_are_turned_and_mirrored(self) -> None:
        frame = np.arange(16 * 16, dtype=np.float32).reshape(1, 16, 16)
        drawn = Patches([frame], [frame[0]], 16, 1.0).draw(np.random.default_rng(0), 60)
        assert len({tuple(patch.flatten().tolist()) for patch in drawn}) == 8


class TestUncertainty:
    def test_calibrated_intervals_of_an_ensemble_cover_90_percent(self) -> None:
        networks = []
        for seed in range(3):
            torch.manual_seed(seed)
            networks.append(build({"depth": 1, "kernel": 3, "first": 4}))
        source = torch.rand(1, 1, 128, 128)
        location, square, variance = members(networks, source)
        assert float(variance.mean()) > 0
        noise = torch.distributions.Laplace(0.0, 3.0).sample(source.shape)
        cases = [Case(source, location + noise * square.sqrt())]
        factor = calibrate(networks, cases)
        assert factor == pytest.approx(3, rel=0.1)
        error = (cases[0].target - location).abs().numpy()
        sd = spread(square, variance, factor).numpy()
        assert covered(error, sd, 0.9) == pytest.approx(0.9, abs=1e-3)

    def test_half_width_is_that_of_a_laplace_distribution(self) -> None:
        drawn = torch.distributions.Laplace(0.0, 1.0).sample((100_000,)).numpy()
        for level in (0.5, 0.9):
            inside = float((np.abs(drawn) <= half_width(level) * np.sqrt(2)).mean())
            assert inside == pytest.approx(level, abs=0.01)


class TestRate:
    def test_plateaus_halve_it(self) -> None:
        recipe = Recipe(schedule="plateau", patience=2, learning_rate=1.0)
        history = [5.0, 4.0, 4.0, 4.0, 3.0, 3.5, 3.5, 3.5, 3.5]
        found = [rate_at(recipe, history[:count], 0.5) for count in range(len(history) + 1)]
        assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]

    def test_cosine_falls_to_zero(self) -> None:
        recipe = Recipe(schedule="cosine", learning_rate=1.0)
        assert [rate_at(recipe, [], done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


class TestRecipe:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"method": "magic"}, "method: found 'magic'; accepted: l2l, n2n"),
            ({"patch": 30}, "patch: found 30; accepted: 16 and more, in multiples of 4"),
            ({"loss": "ms_ssim5"}, "patch: found 128; accepted with the loss ms_ssim5: 176"),
            ({"method": "n2v"}, "loss: found 'mix'; accepted with n2v"),
            ({"members": 0}, "members: found 0; accepted: 1"),
        ],
    )
    def test_what_does_not_go_together_is_named(self, values: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Recipe(**values)
