# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Share of tokens that RLT computes of real clips under each augmentation."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import ClipAugmentation, ClipCollator, ClipMix, TrainDataset, VideoList

from .common.options import OUTPUT, Output
from .common.record import Row, column, percent, report, save, table

OFF: dict[str, Any] = {"crop_scale": 1.0, "horizontal_flip": 0.0, "rand_augment_ops": 0, "erasing": 0.0}


def augmentation(
    clips: Annotated[list[Path], typer.Argument(help="Videos.")],
    draws: Annotated[int, typer.Option(help="Random draws of each augmentation.", min=1)] = 8,
    output: Output = OUTPUT,
) -> None:
    """Share of tokens that RLT computes under each augmentation."""
    processor = RLTVideoProcessor()
    videos = VideoList(list(map(str, clips)), [0] * len(clips), ["a", "b"])
    rows = []
    for name, (augment, drawn, mix) in _variants(processor).items():
        shares = _share(videos, processor, augment, draws if drawn else 1, mix).tolist()
        rows.append({"augmentation": name, "mean": mean(shares), "lowest": min(shares), "highest": max(shares)})
    report(save(output, "augmentation", rows, {"files": [clip.name for clip in clips], "draws": draws}))


def _variants(processor: RLTVideoProcessor) -> dict[str, tuple[Callable, bool, ClipMix | None]]:
    """Return (augmentation, whether it is random, mix) by name."""

    def on(**changes: Any) -> ClipAugmentation:
        return ClipAugmentation(processor, **{**OFF, **changes})

    return {
        "none": (on(), False, None),
        "horizontal flip, always": (on(horizontal_flip=1.0), False, None),
        "random resized crop": (on(crop_scale=0.08), True, None),
        "RandAugment (4 operations, p 0.5)": (on(rand_augment_ops=4), True, None),
        "random erasing, always": (on(erasing=1.0), True, None),
        "mixup": (on(), True, ClipMix(2, 0.8, 0.0)),
        "cutmix": (on(), True, ClipMix(2, 0.0, 1.0)),
        "the whole recipe": (ClipAugmentation(processor), True, ClipMix(2)),
        "*left out:* Equalize": (_one_operation(on(), "Equalize"), False, None),
        "*left out:* AutoContrast": (_one_operation(on(), "AutoContrast"), False, None),
        "*left out:* erasing with new noise per frame, always": (_noise_per_frame(on()), True, None),
        "*left out:* Gaussian noise, sigma 0.25": (lambda x: on()(x) + torch.randn(16, 3, 224, 224) / 4, False, None),
    }


def _one_operation(made: ClipAugmentation, name: str) -> ClipAugmentation:
    """Add one operation of torchvision's RandAugment that is always applied."""
    operation = v2.RandAugment(1, 7, 11, interpolation=InterpolationMode.BILINEAR, fill=124)
    operation._AUGMENTATION_SPACE = {name: v2.RandAugment._AUGMENTATION_SPACE[name]}
    made.transform.transforms.insert(2, operation)  # after resizing and cropping
    return made


def _noise_per_frame(plain: ClipAugmentation) -> Callable:
    """Make random erasing with probability 1 and new noise in every frame, as VideoMAE's code draws it."""

    def augment(frames: Any) -> Tensor:
        clip = plain(frames)
        row, left, height, width, _ = v2.RandomErasing.make_params(v2.RandomErasing(value="random"), [clip]).values()
        clip[..., row : row + height, left : left + width].normal_()
        return clip

    return augment


def _share(clips: VideoList, processor: RLTVideoProcessor, augment: Any, draws: int, mix: ClipMix | None) -> Tensor:
    """Measure the mean share `(len(clips),)` over `draws` epochs."""
    data, collate = TrainDataset(clips, processor, augment), ClipCollator(processor, mix, num_classes=2)
    shares = []
    for epoch in range(draws):
        data.set_epoch(epoch)
        batch = collate([data[i] for i in range(len(clips))])
        shares.append((batch["run_lengths"] > 0).float().mean(1))
    return torch.stack(shares).mean(0)


def markdown(record: Row) -> str:
    """Make the table."""
    named = (("mean", "tokens computed, mean"), ("lowest", "lowest clip"), ("highest", "highest clip"))
    return table(record["rows"], [column("augmentation", "augmentation"), *(percent(t, k) for k, t in named)])
