"""The interpolators, what they move pixels with, and which frames are left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.interpolation.adaptive_warping import adapted, open_kernels
from models.interpolation.correlation import correlation
from models.interpolation.dain import _projected
from models.interpolation.deformable import deform
from models.interpolation.interface import Interpolator, Staged
from models.interpolation.losses import of_stages, total
from models.interpolation.networks import NETWORKS, build
from models.interpolation.normalization import as_type, levels
from models.interpolation.screen import screen_movie
from models.interpolation.warping import backward, resized, splat
from models.interpolation.weights import read_interpolator, shipped
from models.interpolation.zs import ZoomingSlowMo
from models.restoration.network import Laplace
from models.restoration.normalization import Normalization

pytestmark = pytest.mark.usefixtures("one_thread")

TINY: dict[str, dict[str, Any]] = {
    "flow": {"network": "flow", "widths": [4, 6, 8], "hidden": 8, "synthesis": [6, 8]},
    "zs": {"network": "zs", "channels": 4, "groups": 2, "front": 1, "back": 1},
    "dain": {
        "network": "dain",
        "widths": [4, 6, 8],
        "hidden": 8,
        "context": 4,
        "kernels": [6, 8],
        "rectify": 8,
        "blocks": 1,
    },
}


def seeded(name: str, *, shaken: float = 0.0) -> Interpolator:
    """A tiny network; shaken, its last layers are no longer near zero."""
    torch.manual_seed(0)
    network = build(TINY[name])
    with torch.no_grad():
        for part in network.parameters():
            part.add_(shaken * torch.randn_like(part))
    return network.eval()


def blobs(rows: float = 0.0, columns: float = 0.0, side: int = 40) -> Tensor:
    """A smooth pattern moved by some rows and columns (pixels), 1 × 1 × side × side."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32),) * 2, indexing="ij")
    y, x = y - rows, x - columns
    image = torch.sin(y / 3.1) * torch.cos(x / 2.7) + 0.5 * torch.sin((x + y) / 4.3)
    return (0.4 * image + 0.5)[None, None]


def moved(rows: float, columns: float, like: Tensor) -> Tensor:
    """A flow that is the same everywhere."""
    flow = torch.tensor([float(rows), float(columns)])[None, :, None, None]
    return flow.expand(len(like), 2, *like.shape[-2:])


class TestBackward:
    def test_no_motion_is_the_image(self) -> None:
        image = torch.rand(2, 3, 9, 13)
        assert torch.allclose(backward(image, moved(0, 0, image)), image, atol=1e-5)

    def test_takes_each_pixel_from_where_the_flow_points(self) -> None:
        image = torch.rand(1, 2, 11, 14)
        warped = backward(image, moved(2, -3, image))
        assert torch.allclose(warped[..., :9, 3:], image[..., 2:, :-3], atol=1e-4)
        # Beyond the edge it goes on with the value at the edge.
        assert torch.allclose(
            warped[..., 9:, 3:], image[..., -1:, :-3].expand(-1, -1, 2, -1), atol=1e-4
        )

    def test_half_a_pixel_is_the_mean_of_two(self) -> None:
        image = torch.rand(1, 1, 6, 6)
        warped = backward(image, moved(0.5, 0, image))
        assert torch.allclose(
            warped[..., :-1, :], (image[..., :-1, :] + image[..., 1:, :]) / 2, atol=1e-5
        )

    def test_coordinates_do_not_suffer_from_bfloat16(self) -> None:
        image = torch.rand(1, 1, 4, 600)
        half = backward(image.bfloat16(), moved(0, 0, image))
        assert half.dtype == torch.bfloat16
        assert torch.allclose(half.float(), image, atol=0.01)


class TestSplat:
    def test_no_motion_is_the_image(self) -> None:
        image, weight = torch.rand(2, 3, 7, 8), torch.rand(2, 1, 7, 8) + 0.1
        sums, weights = splat(image, moved(0, 0, image), weight)
        assert torch.allclose(sums / weights, image, atol=1e-5)
        assert torch.allclose(weights, weight)

    def test_puts_each_pixel_where_the_flow_points(self) -> None:
        image = torch.rand(1, 1, 7, 8)
        sums, weights = splat(image, moved(1, 2, image), torch.ones(1, 1, 7, 8))
        assert torch.allclose(sums[..., 1:, 2:], image[..., :-1, :-2])
        assert float(weights[..., :1, :].abs().max()) == 0

    def test_what_stays_inside_is_neither_lost_nor_doubled(self) -> None:
        image = torch.zeros(1, 1, 12, 12)
        image[..., 4:8, 4:8] = torch.rand(4, 4)
        flow = 3 * torch.rand(1, 2, 12, 12) - 1.5
        sums, weights = splat(image, flow, torch.ones_like(image))
        assert float(sums.sum()) == pytest.approx(float(image.sum()), rel=1e-5)
        assert float(weights.sum()) <= 144

    def test_the_heavier_pixel_wins(self) -> None:
        image = torch.tensor([[[[1.0, 0.0, 5.0]]]])
        flow = torch.zeros(1, 2, 1, 3)
        flow[0, 1, 0] = torch.tensor([1.0, 0.0, -1.0])
        sums, weights = splat(image, flow, torch.tensor([[[[1.0, 1.0, 1000.0]]]]))
        assert float((sums / weights)[0, 0, 0, 1]) == pytest.approx(5, abs=0.02)

    def test_flow_and_weight_learn(self) -> None:
        image = blobs()
        flow = moved(0.3, 0.2, image).clone().requires_grad_()
        weight = torch.ones_like(image, requires_grad=True)
        sums, weights = splat(image, flow, weight)
        (sums / (weights + 1e-3)).square().sum().backward()
        assert flow.grad is not None
        assert weight.grad is not None
        assert float(flow.grad.abs().max()) > 0
        assert float(weight.grad.abs().max()) > 0


def naive(features: Tensor, offsets: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Modulated deformable convolution as its definition says it, pixel by pixel."""
    count, channels, rows, columns = features.shape
    out, side = weight.shape[0], weight.shape[-1]
    taps = side * side
    groups = mask.shape[1] // taps

    def at(n: int, c: int, y: float, x: float) -> float:
        low_y, low_x = int(np.floor(y)), int(np.floor(x))
        total = 0.0
        for j in (low_y, low_y + 1):
            for i in (low_x, low_x + 1):
                if 0 <= j < rows and 0 <= i < columns:
                    total += (1 - abs(y - j)) * (1 - abs(x - i)) * float(features[n, c, j, i])
        return total

    result = bias[None, :, None, None].repeat(count, 1, rows, columns)
    for n, c, y, x, tap in np.ndindex(count, channels, rows, columns, taps):
        group = c // (channels // groups)
        k = group * taps + tap
        dy, dx = float(offsets[n, 2 * k, y, x]), float(offsets[n, 2 * k + 1, y, x])
        row, column = tap // side, tap % side
        seen = at(n, c, y + row - side // 2 + dy, x + column - side // 2 + dx)
        seen *= float(mask[n, k, y, x])
        result[n, :, y, x] += seen * weight[:, c, row, column]
    assert out == result.shape[1]
    return result


class TestDeform:
    def test_is_what_a_loop_over_pixels_gives(self) -> None:
        torch.manual_seed(1)
        features = torch.rand(2, 4, 4, 5)
        offsets = 2 * torch.randn(2, 2 * 2 * 9, 4, 5)
        mask, weight, bias = torch.rand(2, 2 * 9, 4, 5), torch.randn(3, 4, 3, 3), torch.randn(3)
        found = deform(features, offsets, mask, weight, bias)
        assert torch.allclose(found, naive(features, offsets, mask, weight, bias), atol=1e-4)

    def test_without_offsets_is_a_convolution(self) -> None:
        features, weight = torch.rand(1, 4, 9, 9), torch.randn(5, 4, 3, 3)
        still, ones = torch.zeros(1, 36, 9, 9), torch.ones(1, 18, 9, 9)
        plain = nn.functional.conv2d(features, weight, padding=1)
        assert torch.allclose(deform(features, still, ones, weight), plain, atol=1e-4)


class TestCorrelation:
    @pytest.mark.parametrize("both", [True, False])
    def test_is_highest_at_the_shift(self, both: bool) -> None:
        torch.manual_seed(0)
        maps = torch.randn(1, 8, 20, 20)
        # Content moves by (2, −2) from the first to the second.
        second = torch.roll(maps, (2, -2), (2, 3))
        first = torch.roll(maps, (1, -1), (2, 3)) if not both else maps
        found = correlation(first, second, 2, both=both)[0, :, 6:-6, 6:-6]
        # 5 × 5 shifts, of one pixel down and one to the left: seen from the middle or the first.
        assert bool((found.argmax(0) == 3 * 5 + 1).all())

    def test_does_not_depend_on_brightness(self) -> None:
        maps = torch.randn(1, 8, 9, 9)
        same = correlation(maps, maps, 1, both=False)
        assert torch.allclose(correlation(maps, 0.3 * maps, 1, both=False), same, atol=1e-5)


def test_resized_flow_points_to_the_same_place() -> None:
    small = moved(1.5, -2, torch.zeros(1, 1, 8, 8))
    assert torch.allclose(resized(small, 2.0), moved(3, -4, torch.zeros(1, 1, 16, 16)))


class TestDainsParts:
    def test_adaptive_warping_keeps_brightness_and_begins_bilinear(self) -> None:
        image = blobs()
        flow = moved(0.4, -0.3, image)
        closed = open_kernels(torch.randn(1, 16, 40, 40), torch.zeros(1, 1, 1, 1))
        assert torch.allclose(adapted(image, flow, closed), backward(image, flow), atol=1e-5)
        opened = open_kernels(torch.randn(1, 16, 40, 40), torch.ones(1, 1, 1, 1))
        flat = torch.full_like(image, 0.7)
        assert torch.allclose(adapted(flat, flow, opened), flat, atol=1e-5)
        assert not torch.allclose(adapted(image, flow, opened), backward(image, flow), atol=1e-3)

    def test_projection_follows_the_weight_and_fills_holes(self) -> None:
        flow = torch.zeros(1, 2, 16, 16)
        flow[:, 1, :, :8] = 4.0
        weight = torch.ones(1, 1, 16, 16)
        weight[..., :8] = 1000
        found = _projected(flow, 0.5 * flow, weight)
        # The left half has moved over two columns of the right one, and left two empty.
        assert torch.allclose(found[:, 1, :, 2:10], torch.tensor(4.0), atol=0.05)
        assert torch.allclose(found[:, 1, :, 10:], torch.tensor(0.0), atol=0.05)
        assert torch.allclose(found[:, 1, :, :2], torch.tensor(4.0), atol=0.2)


class TestNetworks:
    @pytest.mark.slow
    def test_have_the_sizes_that_they_say(self) -> None:
        def count(network: nn.Module) -> float:
            return sum(part.numel() for part in network.parameters())

        zs = count(ZoomingSlowMo())
        # The published one has two convolutions more, 64 to 256 channels, to enlarge frames.
        assert (zs + 2 * (64 * 9 + 1) * 256) / 1e6 == pytest.approx(11.1, abs=0.05)
        assert count(build({"network": "flow"})) == pytest.approx(0.754e6, rel=0.01)
        assert count(build({"network": "dain"})) == pytest.approx(0.715e6, rel=0.01)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_are_made_again_from_their_architecture(self, name: str) -> None:
        network = seeded(name)
        again = build(network.architecture)
        again.load_state_dict(network.state_dict())
        assert again.architecture == network.architecture

    @pytest.mark.parametrize("name", NETWORKS)
    def test_give_the_measured_frames_at_their_times(self, name: str) -> None:
        network = seeded(name, shaken=0.1)
        before, after = torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24)
        with torch.no_grad():
            assert torch.allclose(network(before, after, 0.0)[0], before, atol=1e-4)
            assert torch.allclose(network(before, after, 1.0)[0], after, atol=1e-4)
            middle = network(before, after, 0.5)[0]
        # What is shaken says more than a blend.
        assert float((middle - (before + after) / 2).abs().mean()) > 1e-3

    @pytest.mark.parametrize("name", NETWORKS)
    def test_begin_near_the_blend(self, name: str) -> None:
        before, after = blobs(), blobs(0.2, 0.1)
        with torch.no_grad():
            location, scale = seeded(name)(before, after, 0.25)
        assert torch.allclose(location, 0.75 * before + 0.25 * after, atol=0.1)
        assert float(scale.min()) > 0

    @pytest.mark.parametrize("name", NETWORKS)
    def test_take_any_size_and_a_time_for_each(self, name: str) -> None:
        network = seeded(name, shaken=0.05)
        before, after = torch.rand(2, 1, 21, 30), torch.rand(2, 1, 21, 30)
        with torch.no_grad():
            together = network(before, after, torch.tensor([0.25, 0.5]))
            alone = network(before[1:], after[1:], 0.5)
        assert together.location.shape == together.scale.shape == before.shape
        assert torch.allclose(together.location[1:], alone.location, atol=1e-4)

    @pytest.mark.parametrize("name", NETWORKS)
    def test_all_parts_learn(self, name: str) -> None:
        network = seeded(name, shaken=0.05)
        told = network.staged(torch.rand(1, 1, 24, 24), torch.rand(1, 1, 24, 24), 0.5)
        (told.frame.location.square().mean() + told.frame.scale.square().mean()).backward()  # type: ignore[no-untyped-call]
        idle = [
            key
            for key, part in network.named_parameters()
            if part.grad is None or not bool(part.grad.abs().max() > 0)
        ]
        assert idle == []

    @pytest.mark.parametrize("name", ["flow", "dain"])
    def test_stages_warp_the_frames_that_they_are_given(self, name: str) -> None:
        network = seeded(name)
        before = blobs()
        stages = network.staged(before, before, 0.5).stages
        assert {stage.to_before.shape for stage in stages} == {(1, 2, 40, 40)}
        # Untrained and of frames that are the same: little motion, and the blend is the frame.
        assert float(of_stages(stages, before, before, before).detach()) < 0.1

    @pytest.mark.parametrize(
        ("architecture", "message"),
        [
            ({"network": "fast"}, "network: found 'fast'; accepted: flow, zs, dain"),
            ({"network": "flow", "depth": 3}, "found depth; accepted with flow: widths"),
            ({"network": "flow", "hidden": 0}, "hidden: found 0"),
            ({"network": "flow", "widths": [8]}, "synthesis: found 3 levels"),
            ({"network": "zs", "channels": 6, "groups": 4}, "groups: found 4; accepted: div"),
            ({"network": "dain", "widths": [8]}, "kernels: found 3 levels"),
        ],
    )
    def test_other_sizes_are_refused(self, architecture: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build(architecture)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda b, a: (b[0], a[0], 0.5), r"before of shape \(1, 16, 16\)"),
            (lambda b, a: (b, a[..., 1:], 0.5), r"after of shape \(2, 1, 16, 15\)"),
            (lambda b, a: (b, a, 1.5), r"t: found \[1.5\]"),
            (lambda b, a: (b, a, torch.tensor([0.1, 0.2, 0.3])), "t: found 3 times"),
        ],
    )
    def test_other_frames_are_refused(
        self, change: Callable[[Tensor, Tensor], tuple[Any, ...]], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            seeded("flow")(*change(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)))


class TestUnits:
    def test_both_frames_of_a_pair_share_them(self) -> None:
        bright = np.linspace(100, 1100, 400).reshape(20, 20)
        offset, scale = levels(Normalization(0, 100), bright / 2, bright)
        assert (offset, scale) == (50, 1050)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64])
    def test_images_get_the_frames_type_and_keep_their_intensity(self, dtype: Any) -> None:
        image = np.array([[-3.0, 0.4, 200.6, 65540.0]], np.float32)
        found = as_type(image, np.dtype(dtype))
        assert found.dtype == dtype
        expected = {
            np.uint8: [0, 0, 201, 255],
            np.uint16: [0, 0, 201, 65535],
            np.int32: [-3, 0, 201, 65540],
        }.get(dtype, image[0])
        assert np.array_equal(found[0], expected)


class TestScreening:
    @staticmethod
    def frames(noise: float = 0.02) -> list[Any]:
        rng = np.random.default_rng(0)
        clean = [blobs(0.4 * i, -0.3 * i)[0, 0].numpy() for i in range(8)]
        return [image + noise * rng.standard_normal(image.shape) for image in clean]

    @pytest.mark.parametrize("noise", [0.0, 0.005, 0.02, 0.3])
    def test_measured_frames_stay(self, noise: float) -> None:
        found = screen_movie(self.frames(noise))
        assert found.kept == tuple(range(8))

    def test_copies_and_blends_go(self) -> None:
        frames = self.frames()
        frames[2] = frames[1].copy()
        frames[5] = 0.6 * frames[4] + 0.4 * frames[6]
        found = screen_movie(frames)
        assert (found.copies, found.blends) == ((2,), (5,))
        assert found.kept == (0, 1, 3, 4, 6, 7)

    def test_rounded_ones_go_too(self) -> None:
        frames = [np.rint(2000 * frame).astype(np.int16) for frame in self.frames()]
        frames[3] = np.rint((frames[2] + frames[4]) / 2).astype(np.int16)
        assert screen_movie(frames).blends == (3,)

    def test_frames_that_are_not_finite_are_anothers_business(self) -> None:
        frames = self.frames()
        frames[3][4, 4] = np.nan
        assert screen_movie(frames).kept == tuple(range(8))


@pytest.mark.parametrize("name", shipped())
def test_cards_say_how_a_network_differs_from_its_namesake(name: str) -> None:
    loaded = read_interpolator(name)
    limits = loaded.card["limits"]
    assert set(loaded.network.limits) <= set(limits)
    if name != "flow":
        assert any("and not that network" in limit for limit in limits)


@pytest.mark.parametrize("name", NETWORKS)
def test_wider_networks_are_known_to_need_more_memory(name: str) -> None:
    wide = {"flow": {"synthesis": [12, 16]}, "zs": {"channels": 8}, "dain": {"rectify": 16}}
    small, large = build(TINY[name]), build(TINY[name] | wide[name])
    # At least both outputs and the frames, single precision.
    assert 16 < small.bytes_a_pixel < large.bytes_a_pixel


@pytest.mark.slow
def test_a_mean_is_learned_where_a_median_leaves_out_what_leaps() -> None:
    """In three of ten targets it is here: the mean shows three tenths of it, the median nothing."""
    targets = torch.zeros(10, 1, 16, 16)
    targets[:3] = 1.0
    images = torch.stack([targets] * 5, 1)[:, :, 0]
    learned = {}
    for loss in ("charbonnier", "mean"):
        level = torch.full((1,), 0.2, requires_grad=True)
        optimizer = torch.optim.Adam([level], 0.02)
        for _ in range(200):
            location = level.expand(10, 1, 16, 16)
            told = Staged(Laplace(location, torch.full_like(location, 0.1)), [])
            optimizer.zero_grad()
            total(loss, 0.5, told, images).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
        learned[loss] = float(level.detach())
    assert learned["charbonnier"] < 0.02
    assert learned["mean"] == pytest.approx(0.3, abs=0.02)
