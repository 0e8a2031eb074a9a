# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Share of tokens that RLT computes of real clips under each augmentation, as a Markdown table.

python benchmarks/augmentation_tokens.py CLIP [CLIP ...] [--draws 8]
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from hf_rlt import RLTVideoProcessor
from hf_rlt.data import ClipAugmentation, ClipCollator, ClipMix, TrainDataset, VideoList

OFF = {"crop_scale": 1.0, "horizontal_flip": 0.0, "rand_augment_ops": 0, "erasing": 0.0}


def one_operation(processor: RLTVideoProcessor, name: str) -> ClipAugmentation:
    """Returns an augmentation that always applies one operation of torchvision's RandAugment."""
    operation = v2.RandAugment(1, 7, 11, interpolation=InterpolationMode.BILINEAR, fill=124)
    operation._AUGMENTATION_SPACE = {name: v2.RandAugment._AUGMENTATION_SPACE[name]}
    made = ClipAugmentation(processor, **OFF)
    made.transform.transforms.insert(2, operation)  # after resizing and cropping
    return made


def noise_per_frame(processor: RLTVideoProcessor) -> Callable:
    """Returns random erasing with probability 1 and new noise in every frame, as VideoMAE's code draws it."""
    plain = ClipAugmentation(processor, **OFF)

    def augment(frames) -> Tensor:
        clip = plain(frames)
        row, column, height, width, _ = v2.RandomErasing.make_params(v2.RandomErasing(value="random"), [clip]).values()
        clip[..., row : row + height, column : column + width].normal_()
        return clip

    return augment


def share(
    clips: VideoList, processor: RLTVideoProcessor, augmentation, draws: int, mix: ClipMix | None = None
) -> Tensor:
    """Returns `(len(clips),)`: the mean share over `draws` epochs."""
    data = TrainDataset(clips, processor, augmentation)
    collate = ClipCollator(processor, mix, num_classes=2)
    shares = []
    for epoch in range(draws):
        data.set_epoch(epoch)
        batch = collate([data[i] for i in range(len(clips))])
        shares.append((batch["run_lengths"] > 0).float().mean(1))
    return torch.stack(shares).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--draws", type=int, default=8)
    args = parser.parse_args()
    processor = RLTVideoProcessor()
    clips = VideoList(args.clips, [0] * len(args.clips), ["a", "b"])
    noisy = lambda frames: plain(frames) + 0.25 * torch.randn(16, 3, 224, 224)  # noqa: E731
    plain = ClipAugmentation(processor, **OFF)
    rows = {
        "none": (plain, 1, None),
        "horizontal flip, always": (ClipAugmentation(processor, **{**OFF, "horizontal_flip": 1.0}), 1, None),
        "random resized crop": (ClipAugmentation(processor, **{**OFF, "crop_scale": 0.08}), args.draws, None),
        "RandAugment (4 operations, p 0.5)": (
            ClipAugmentation(processor, **{**OFF, "rand_augment_ops": 4}),
            args.draws,
            None,
        ),
        "random erasing, always": (ClipAugmentation(processor, **{**OFF, "erasing": 1.0}), args.draws, None),
        "mixup": (plain, args.draws, ClipMix(2, 0.8, 0.0)),
        "cutmix": (plain, args.draws, ClipMix(2, 0.0, 1.0)),
        "the whole recipe": (ClipAugmentation(processor), args.draws, ClipMix(2)),
        "*left out:* Equalize": (one_operation(processor, "Equalize"), 1, None),
        "*left out:* AutoContrast": (one_operation(processor, "AutoContrast"), 1, None),
        "*left out:* erasing with new noise per frame, always": (noise_per_frame(processor), args.draws, None),
        "*left out:* Gaussian noise, sigma 0.25": (noisy, 1, None),
    }
    print("| augmentation | tokens computed, mean | lowest clip | highest clip |\n|---|---|---|---|")
    for name, (augmentation, draws, mix) in rows.items():
        shares = share(clips, processor, augmentation, draws, mix)
        print(f"| {name} | {shares.mean():.1%} | {shares.min():.1%} | {shares.max():.1%} |", flush=True)


if __name__ == "__main__":
    main()
