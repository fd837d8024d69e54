"""The validation score: how well signals stand above time-slide background."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import max_pool1d
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.utilities import dim_zero_cat

from aframe.errors import AframeError


def loudest(
    scores: Float[Tensor, " window"], slides: Int[Tensor, " window"], width: int
) -> Float[Tensor, " peak"]:
    """Take the largest of every *width* scores of a slide, in steps of half that.

    Args:
        scores: Scores in the order of time.
        slides: Slide of each, in runs.
        width: Number of scores to take one of.
    """
    _, lengths = torch.unique_consecutive(slides, return_counts=True)
    return torch.cat(
        [
            max_pool1d(
                part[None],
                kernel_size=min(width, len(part)),
                stride=max(1, min(width, len(part)) // 2),
                ceil_mode=True,
            )[0]
            for part in torch.split(scores, lengths.tolist())
        ]
    )


def auroc(
    background: Float[Tensor, " noise"], foreground: Float[Tensor, " signal"], max_fpr: float
) -> Float[Tensor, ""]:
    """Area under the curve of efficiency against false-positive rate up to *max_fpr*.

    Standardized so that 0.5 is chance and 1 perfect (McClish, 1989).
    """
    scores = torch.cat([background, foreground])
    # Only the order matters. As logits the scores would meet a sigmoid, in which all
    # above 17 are one: give ranks instead, equal ones for ties.
    distinct, rank = torch.unique(scores, return_inverse=True)
    target = torch.arange(len(scores), device=scores.device) >= len(background)
    return binary_auroc(rank.double() / len(distinct), target.long(), max_fpr=float(max_fpr))


def _without_nan(scores: Tensor, value: float) -> Tensor:
    return torch.where(scores.isnan(), value, scores)


class TimeSlideAUROC(Metric):
    """Area under the efficiency curve at low false-positive rate, against time slides.

    Args:
        max_fpr: Largest false-positive rate, in (0, 1].
        pool_length: Time of background that counts as one trial (s): its loudest score.
        stride: Time from one background score to the next (s); the data's *valid_stride*.
        also: Further false-positive rates up to which the area is logged; 1 is the whole curve.

    Raises:
        AframeError: If a value is out of range.
    """

    higher_is_better = True
    full_state_update = False
    index: list[Tensor]
    slide: list[Tensor]
    background: list[Tensor]
    foreground: list[Tensor]

    def __init__(
        self,
        max_fpr: float = 1e-3,
        pool_length: float = 8.0,
        stride: float = 0.5,
        also: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        self.rates = (max_fpr, *also)
        if not (all(0 < rate <= 1 for rate in self.rates) and 0 < stride <= pool_length):
            raise AframeError(
                "the validation score is not defined",
                found=f"max_fpr {', '.join(f'{rate:g}' for rate in self.rates)}, "
                f"pool_length {pool_length:g} s, stride {stride:g} s",
                wanted_by="model.metric of the training configuration",
                fix="give 0 < max_fpr <= 1, also for `also`, and 0 < stride <= pool_length",
            )
        self.width = int(pool_length / stride)
        for name in ("index", "slide", "background", "foreground"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        index: Int[Tensor, " noise"],
        slide: Int[Tensor, " noise"],
        background: Float[Tensor, " noise"],
        foreground: Float[Tensor, " signal"],
    ) -> None:
        """Add scores.

        Args:
            index: Place of each background score in the whole background.
            slide: Number of its slide.
            background: Scores of background.
            foreground: Scores of signals, one a signal.
        """
        self.index.append(index)
        self.slide.append(slide)
        self.background.append(background)
        self.foreground.append(foreground)

    def compute(self) -> Float[Tensor, " rate"]:
        """Return the areas over all that was added since the last reset, *max_fpr*'s first."""
        # Several processes score alternating parts of the background.
        order = torch.argsort(dim_zero_cat(self.index))
        # No number is no detection: background counts as loudest then, and a signal as missed.
        scores = _without_nan(dim_zero_cat(self.background)[order], math.inf)
        foreground = _without_nan(dim_zero_cat(self.foreground), -math.inf)
        background = loudest(scores, dim_zero_cat(self.slide)[order], self.width)
        return torch.stack([auroc(background, foreground, rate) for rate in self.rates])
