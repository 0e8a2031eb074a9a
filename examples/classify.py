# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Names the action in a video, and says how many tokens that took.

python examples/classify.py CLIP [--model DIR_OR_ID] [--top_k 3] [--num_frames 64 --frame_stride 1]
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor
from transformers.utils import logging

import hf_rlt

DEFAULT_MODEL = "outputs/digits"


def classify(
    clip: str, name: str, top_k: int, num_frames: int | None = None, frame_stride: int | None = None
) -> tuple[list[tuple[str, float]], int, int]:
    """Returns the best (label, score) pairs, the number of tokens computed, and the number of tokens in all.

    Args:
        clip: path or URL of a video.
        name: folder or Hub id of an RLT-VideoMAE or VideoMAE classifier.
        top_k: how many pairs.
        num_frames: frames of the clip, if not the model's own: its positions are interpolated.
        frame_stride: distance of the clip's frames in the video, if not the processor's own.

    Raises:
        ValueError, OSError: if the video or the model cannot be read.
    """
    if not clip.startswith(("http://", "https://")) and not Path(clip).is_file():
        raise ValueError(f"{clip}: expected a video file, found none: check the path.")
    # What stands beside existing folders is meant as a path: do not look for it on the Hub.
    if not Path(name).is_dir() and (name == DEFAULT_MODEL or Path(name).is_absolute() or Path(name).parent.is_dir()):
        raise ValueError(
            f"{name}: expected a model folder or a Hub id, found no such folder: train one with finetune.py."
        )
    frames = {} if num_frames is None else {"num_frames": num_frames}
    processor = AutoVideoProcessor.from_pretrained(name)
    model = AutoModelForVideoClassification.from_pretrained(name, **frames)
    if not isinstance(processor, hf_rlt.RLTVideoProcessor):  # a plain VideoMAE: RLT without training
        processor = hf_rlt.RLTVideoProcessor.from_pretrained(name, num_frames=model.config.num_frames)
        model = hf_rlt.RLTVideoMAEForVideoClassification.from_pretrained(name, **frames)
    if frame_stride is not None:
        processor.frame_stride, processor.fps, processor.sampling = frame_stride, None, "clip"
    inputs = processor(clip, return_tensors="pt", **frames)
    with torch.inference_mode():
        scores = model.eval()(**inputs).logits[0].softmax(-1)
    best = scores.topk(min(top_k, len(scores)))
    pairs = [(model.config.id2label[int(i)], float(score)) for score, i in zip(*best, strict=True)]
    lengths = inputs["run_lengths"]
    return pairs, int((lengths > 0).sum()), lengths.numel()


def stop(message: str) -> NoReturn:
    """Returns never; prints one line and exits with code 2."""
    print(f"classify.py: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """Returns nothing; runs the command line. A user's mistake ends in one line and exit code 2."""
    parser = argparse.ArgumentParser(description="Names the action in a video.")
    parser.add_argument("clip", help="video file or URL")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or Hub id (default: %(default)s)")
    parser.add_argument("--top_k", type=int, default=3, help="how many classes to print (default: %(default)s)")
    parser.add_argument("--num_frames", type=int, help="frames of the clip (default: the model's own)")
    parser.add_argument("--frame_stride", type=int, help="distance of its frames (default: the processor's own)")
    args = parser.parse_args()
    for option in ("top_k", "num_frames", "frame_stride"):
        value = getattr(args, option)
        if value is not None and value < 1:
            stop(f"--{option}: expected at least 1, received {value}.")
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        pairs, computed, total = classify(args.clip, args.model, args.top_k, args.num_frames, args.frame_stride)
    except (ValueError, OSError) as error:
        stop(str(error))
    for label, score in pairs:
        print(f"{score:6.1%}  {label}")
    print(f"{computed} of {total} tokens computed ({computed / total:.1%})")


if __name__ == "__main__":
    main()
