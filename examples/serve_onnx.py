# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify a short clip with an exported model, without PyTorch: numpy, PyAV, Pillow, and onnxruntime or openvino.

hf-rlt export MODEL -o FOLDER && python serve_onnx.py FOLDER CLIP

To keep it short: all frames are read into memory, and other settings than these are refused.
"""

import json
import sys
from pathlib import Path

import av
import numpy as np
from PIL import Image

SUPPORTED = {
    "rule": {"rule": "threshold", "max_tokens": None, "num_tokens": None, "budget": "clip", "budget_groups": 1},
    "clip": {"fps": None, "position": 0.5},
    "pixels": {"do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "resample": 2},
}


def check(about: dict) -> None:
    """Exit unless the description has the settings that this example knows."""
    for part, settings in SUPPORTED.items():
        for name, wanted in settings.items():
            if about[part][name] != wanted:
                sys.exit(
                    f"rlt.json: expected {name} {wanted!r}, found {about[part][name]!r}: this example knows no other."
                )


def load_clip(path: str, clip: dict, pixels: dict) -> np.ndarray:
    """Read frames, spread or strided and centred, and normalise them: `(F, C, H, W)` float32."""
    with av.open(path) as file:
        decoded = list(file.decode(video=0))
        if decoded[0].rotation or (file.streams.video[0].sample_aspect_ratio or 1) != 1:
            sys.exit(f"{path}: expected an upright clip with square pixels: this example reads no other.")
        frames = [frame.to_ndarray(format="rgb24") for frame in decoded]
    total, count, stride = len(frames), clip["num_frames"], clip["frame_stride"]
    start = max(total - ((count - 1) * stride + 1), 0) / 2
    indices = np.minimum(int(np.ceil(start - 0.5)) + np.arange(count) * stride, total - 1)
    if clip["sampling"] == "uniform":
        indices = ((np.arange(count) + 0.5) * total / count).astype(int)
    size, crop, (height, width) = pixels["size"], pixels["crop_size"], frames[0].shape[:2]
    edge, short = size.get("shortest_edge", 0), min(height, width)
    size = (size.get("width") or edge * width // short, size.get("height") or edge * height // short)
    small = np.stack([np.asarray(Image.fromarray(frames[i]).resize(size, Image.Resampling.BILINEAR)) for i in indices])
    top, left = (round((small.shape[1] - crop["height"]) / 2), round((small.shape[2] - crop["width"]) / 2))
    cut = small[:, top : top + crop["height"], left : left + crop["width"]].astype(np.float32)
    scaled = (cut * pixels["rescale_factor"] - pixels["image_mean"]) / pixels["image_std"]
    return scaled.transpose(0, 3, 1, 2).astype(np.float32)


def find_tokens(clip: np.ndarray, about: dict) -> dict[str, np.ndarray]:
    """Find the runs of a clip by the threshold rule, and cut the tubelet that begins each."""
    time, (height, width), threshold = about["tubelet_size"], about["patch_size"], about["rule"]["threshold"]
    frames = clip[: len(clip) // time * time]
    patches = frames.reshape(-1, time, 3, clip.shape[2] // height, height, clip.shape[3] // width, width)
    change = np.abs(patches[1:, -1] - patches[:-1, 0]).mean((1, 3, 5))  # last frame of each, first of the one before
    starts = np.ones((len(patches), *change.shape[1:]), bool)
    starts[1:] = True if threshold is None else change > threshold
    lengths, left = np.zeros(starts.shape, np.int64), np.zeros(change.shape[1:], np.int64)
    for t in reversed(range(len(starts))):  # how long until the next run begins
        left += 1
        lengths[t] = np.where(starts[t], left, 0)
        left[starts[t]] = 0
    tubelets = patches.transpose(0, 3, 5, 2, 1, 4, 6).reshape(starts.size, -1)
    places = np.flatnonzero(starts)
    return {"tubelets": tubelets[places][None], "places": places[None], "run_lengths": lengths.ravel()[places][None]}


def run_model(folder: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the logits by whichever model is in the folder."""
    if (folder / "model.onnx").is_file():
        import onnxruntime

        return onnxruntime.InferenceSession(folder / "model.onnx").run(None, inputs)[0]
    import openvino

    return openvino.compile_model(folder / "model.xml", "CPU")(inputs)["logits"]


def main(folder: str, clip: str) -> None:
    """Print the five best labels of a clip."""
    about = json.loads((Path(folder) / "rlt.json").read_text())
    check(about)
    inputs = find_tokens(load_clip(clip, about["clip"], about["pixels"]), about)
    logits = run_model(Path(folder), inputs)[0]
    powers = np.exp(logits - logits.max())
    scores = {"softmax": powers / powers.sum(), "sigmoid": 1 / (1 + np.exp(-logits)), "none": logits}[about["scores"]]
    print(f"{inputs['places'].size} of {np.prod(about['grid'])} tokens computed")
    for number in np.argsort(-scores)[:5]:
        print(f"{scores[number]:.3f}  {about['labels'][number]}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
