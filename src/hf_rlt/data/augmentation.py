# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Augment clips with torchvision's v2 transforms: the same for all frames of a clip, before runs are found."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from ..errors import HfRltError, check_range


class ClipAugmentation:
    """Turns `(F, H, W, 3)` uint8 frames into a randomly changed, normalised `(F, C, H, W)` float32 clip.

    Every random choice is made once per clip, so static regions stay static. Randomness comes from torch's default
    generator.

    Args:
        crop_scale: smallest share of the frame's area for a random resized crop; 1 takes the centre crop of the resized
            frame, as the processor does.
        horizontal_flip: probability of mirroring; 0 where left and right matter (Something-Something).
        rand_augment_ops: operations of RandAugment, each applied with probability 0.5; 0 turns it off.
        rand_augment_magnitude: their strength, 0 to 10.
        erasing: probability of random erasing.

    Source: VideoMAE's fine-tuning recipe (rand-m7-n4-mstd0.5-inc1, reprob 0.25, scale 0.08 to 1, ratio 3/4 to 4/3).
    Departures: RandAugment comes after the crop (cheaper), without noise on its magnitude and without Equalize,
    AutoContrast and Contrast (they measure each frame by itself, so static patches flicker when others move); erased boxes
    hold the same noise in all frames.
    """

    def __init__(
        self,
        processor: Any,
        crop_scale: float = 0.08,
        horizontal_flip: float = 0.5,
        rand_augment_ops: int = 4,
        rand_augment_magnitude: int = 7,
        erasing: float = 0.25,
    ) -> None:
        check_range("crop_scale", crop_scale, 0.001, 1)
        check_range("horizontal_flip", horizontal_flip, 0, 1)
        check_range("rand_augment_ops", rand_augment_ops, 0)
        check_range("rand_augment_magnitude", rand_augment_magnitude, 0, 10)
        check_range("erasing", erasing, 0, 1)
        mean = [255 * value for value in processor.image_mean]  # pixels stay 0 to 255: one pass less
        std = [255 * value for value in processor.image_std]
        self.transform = v2.Compose(
            [
                *_crop(processor, crop_scale),
                *([v2.RandomHorizontalFlip(horizontal_flip)] if horizontal_flip else []),
                *[v2.RandomApply([_StaticRandAugment(rand_augment_magnitude)], p=0.5) for _ in range(rand_augment_ops)],
                v2.ToDtype(torch.float32, scale=False),
                v2.Normalize(mean, std),
                *([v2.RandomErasing(erasing, value="random")] if erasing else []),
            ]
        )

    def __call__(self, frames: np.ndarray) -> Tensor:
        """Augment one clip."""
        video = tv_tensors.Video(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))
        return self.transform(video).as_subclass(Tensor)


class _StaticRandAugment(v2.RandAugment):
    """One operation of RandAugment that changes equal frames equally."""

    _AUGMENTATION_SPACE = {  # noqa: RUF012
        name: choice
        for name, choice in v2.RandAugment._AUGMENTATION_SPACE.items()
        if name not in ("Equalize", "AutoContrast", "Contrast")
    }

    def __init__(self, magnitude: int) -> None:
        super().__init__(1, magnitude, num_magnitude_bins=11, interpolation=InterpolationMode.BILINEAR, fill=124)


def _crop(processor: Any, crop_scale: float) -> list[v2.Transform]:
    crop = (processor.crop_size["height"], processor.crop_size["width"])
    if crop_scale < 1:
        return [v2.RandomResizedCrop(crop, scale=(crop_scale, 1.0), antialias=True)]
    short = processor.size.get("shortest_edge")
    size = [short] if short else [processor.size["height"], processor.size["width"]]
    return [v2.Resize(size, antialias=True), v2.CenterCrop(crop)]


class ClipMix:
    """Mixes the clips of a batch and their labels: mixup or cutmix, one of them for the whole batch.

    `mixup` and `cutmix` are their alphas; 0 turns one off. With both on, each batch takes either with equal probability.

    Source: VideoMAE's recipe (0.8, 1.0, switch 0.5, mode "batch"). Departure: a clip is mixed with its neighbour in the
    batch, as torchvision does, not with its mirror image in the batch's order.
    """

    def __init__(self, num_classes: int, mixup: float = 0.8, cutmix: float = 1.0) -> None:
        if min(mixup, cutmix) < 0 or mixup == cutmix == 0:
            raise HfRltError(f"Expected mixup and cutmix >= 0, one of them > 0, received {mixup} and {cutmix}.")
        self.mixup = v2.MixUp(alpha=mixup, num_classes=num_classes) if mixup else None
        self.cutmix = v2.CutMix(alpha=cutmix, num_classes=num_classes) if cutmix else None

    def __call__(self, pixel_values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixed `(B, F, C, H, W)` clips and their `(B, K)` float targets."""
        cut = self.mixup is None or (self.cutmix is not None and float(torch.rand(())) < 0.5)
        chosen = self.cutmix if cut else self.mixup
        clips, targets = chosen(tv_tensors.Video(pixel_values), labels)  # type: ignore[misc]
        return clips.as_subclass(Tensor), targets
