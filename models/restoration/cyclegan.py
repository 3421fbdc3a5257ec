"""Label2label without pairs: a cycle-consistent adversarial training.

After Zhu, Park, Isola, Efros, "Unpaired image-to-image translation using cycle-consistent
adversarial networks", ICCV 2017: one generator turns frames of label A into frames of label B,
another turns them back, and two discriminators learn to tell made frames from real ones.

Not as published: the generators are the restoration network, and discriminators see the newest
frames only, not a pool of older ones (a pool would have to be kept to resume a training).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.checkpoint import Stateful
from models.precision import trained_in
from models.restoration.losses import SCALE_SHARE, of_scale
from models.restoration.network import RestorationNet, build
from models.restoration.objective import (
    Case,
    Objective,
    Stack,
    channels_last,
    fresh,
    set_rate,
    whole,
)
from models.restoration.patches import Patches
from models.restoration.recipe import Recipe

_BETAS = (0.5, 0.999)
"""Of Adam, as for CycleGAN (Zhu et al., ICCV 2017)."""


class PatchDiscriminator(nn.Module):
    """Says of every part of a frame how real it looks (Isola et al., CVPR 2017).

    Three 4 × 4 convolutions with stride 2 and one with stride 1, instance normalization but in
    the first, leaky ReLU; each output sees 70 × 70 pixels.

    Parameters
    ----------
    first
        Filters of the first convolution; the others have 2, 4 and 8 times as many.

    Examples
    --------
    >>> tuple(PatchDiscriminator(first=4)(torch.zeros(1, 1, 64, 64)).shape)
    (1, 1, 6, 6)
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, first, 4, 2, 1), nn.LeakyReLU(0.2)]
        for level, stride in ((1, 2), (2, 2), (3, 1)):
            before, after = first * 2 ** (level - 1), first * 2**level
            layers += [
                nn.Conv2d(before, after, 4, stride, 1),
                nn.InstanceNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * first, 1, 4, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Realness (n × 1 × fewer rows × columns) of frames: 1 real, 0 made."""
        told: Tensor = self.layers(frames)
        return told


SMALLEST = 32
"""Pixels that patches must have on each side, for a discriminator to have an output."""


class CycleGAN(Objective):
    """Two generators and two discriminators; `network` is the generator from A to B.

    Its scale learns how far it changes frames of B, which need no change: pairs that would say
    how wrong it is there are none.

    Parameters
    ----------
    recipe, network, device
        As for `Objective`.
    sources, targets
        Training stacks of A and of B, one image each, in any order and number.
    validation
        Stacks of B.
    member
        Number of the ensemble's member.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: RestorationNet,
        device: str,
        sources: Sequence[Stack],
        targets: Sequence[Stack],
        validation: Sequence[Stack],
        member: int,
    ) -> None:
        super().__init__(recipe, network, device)
        self._sources, self._targets = (
            Patches(stacks, [stack[0] for stack in stacks], recipe.patch, recipe.anywhere)
            for stacks in (sources, targets)
        )
        self._validation = list(validation)
        self.others: nn.ModuleDict = fresh(recipe, member + 500, device, self._others)
        self.back = self.others["back"]
        self.judges = nn.ModuleList([self.others["judge_a"], self.others["judge_b"]])
        self.generating = torch.optim.Adam(
            [*network.parameters(), *self.back.parameters()], recipe.learning_rate, _BETAS
        )
        self.judging = torch.optim.Adam(self.judges.parameters(), recipe.learning_rate, _BETAS)

    def _others(self) -> nn.ModuleDict:
        judge = self.recipe.discriminator
        return nn.ModuleDict(
            {
                "back": build(self.recipe.architecture),
                "judge_a": PatchDiscriminator(judge),
                "judge_b": PatchDiscriminator(judge),
            }
        )

    @property
    def parts(self) -> dict[str, Stateful]:
        """The other networks and both optimizers."""
        return {"others": self.others, "generating": self.generating, "judging": self.judging}

    @property
    def cases(self) -> int:
        """How many validation frames there are."""
        return len(self._validation)

    def case(self, index: int) -> Case:
        """A frame of B, which should come out as it went in."""
        image = whole(self._validation[index][0], self.network.multiple, self.device)
        return Case(image, image)

    def _error(self, case: Case) -> float:
        return float(functional.l1_loss(self.network(case.source)[0], case.target))

    def step(self, rng: np.random.Generator, rate: float) -> float:
        """One batch through both generators, then both discriminators."""
        self.network.train()
        for optimizer in (self.generating, self.judging):
            set_rate(optimizer, rate)
        a, b = (
            channels_last(patches.draw(rng, self.recipe.batch), self.device)
            for patches in (self._sources, self._targets)
        )
        # What the discriminators would learn from the generators' loss is not used.
        self.judges.requires_grad_(False)
        with trained_in(self.recipe.precision, self.device):
            loss, made_a, made_b = self._generated(a, b)
        self.generating.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        self.generating.step()
        self.judges.requires_grad_(True)
        with trained_in(self.recipe.precision, self.device):
            judged = self._judged(a, made_a.detach()) + self._judged(b, made_b.detach(), 1)
        self.judging.zero_grad()
        judged.backward()  # type: ignore[no-untyped-call]  # torch's
        self.judging.step()
        return float(loss.detach())

    def _generated(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of the generators (least squares), and their outputs for `b` and `a`."""
        made_b, made_a = self.network(a)[0], self.back(b)[0]
        fooled = sum(
            (judge(made).float() - 1).square().mean()
            for judge, made in zip(self.judges, (made_a, made_b), strict=True)
        )
        cycle = functional.l1_loss(self.back(made_b)[0].float(), a) + functional.l1_loss(
            self.network(made_a)[0].float(), b
        )
        same_b, doubt = (part.float() for part in self.network(b))
        same = functional.l1_loss(same_b, b) + functional.l1_loss(self.back(a)[0].float(), a)
        loss = fooled + self.recipe.cycle * cycle + self.recipe.identity * same
        return loss + SCALE_SHARE * of_scale(same_b, doubt, b), made_a.float(), made_b.float()

    def _judged(self, real: Tensor, made: Tensor, which: int = 0) -> Tensor:
        """Loss of a discriminator (least squares): that of A, or of B."""
        judge = self.judges[which]
        on_real, on_made = judge(real).float(), judge(made).float()
        loss: Tensor = 0.5 * ((on_real - 1).square().mean() + on_made.square().mean())
        return loss
