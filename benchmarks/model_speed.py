# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Times dense VideoMAE and RLT on one real clip, in one process, and compares the speed-up with the FLOP ratio.

    python benchmarks/model_speed.py CLIP [--batch 4] [--repeats 5] [--threshold 0.1]

Weights are random (speed does not depend on them); the clip decides how many tokens are computed.
"""

import argparse
import json
import platform
import sys

import torch
import transformers
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

import hf_rlt
from hf_rlt.measure import analytic_flops, interleaved_seconds


def main() -> int:
    """Returns the exit status; prints a JSON record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threshold", type=float, default=0.1)
    parser.add_argument("--attn", default="sdpa")
    args = parser.parse_args()
    processor = hf_rlt.RLTVideoProcessor(threshold=args.threshold)
    try:
        inputs = processor([args.clip] * args.batch, return_tensors="pt")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = VideoMAEConfig(num_labels=400)
    dense = VideoMAEForVideoClassification._from_config(config, attn_implementation=args.attn).eval()
    settings = {**config.to_diff_dict(), "threshold": args.threshold, "num_labels": 400}
    settings.pop("model_type", None)
    rlt = hf_rlt.RLTVideoMAEForVideoClassification._from_config(
        hf_rlt.RLTVideoMAEConfig(**settings), attn_implementation=args.attn
    ).eval()
    rlt.load_state_dict(dense.state_dict())
    pixels, runs = inputs["pixel_values"], inputs["run_lengths"]
    kept, positions = (runs > 0).sum(1).tolist(), runs.shape[1]
    with torch.inference_mode():
        seconds = interleaved_seconds(
            {
                "dense": lambda: dense(pixels),
                "rlt": lambda: rlt(pixels, run_lengths=runs),
                "find_runs": lambda: hf_rlt.find_runs(pixels, args.threshold),
            },
            args.repeats,
        )
    flops = args.batch * analytic_flops(config, positions) / sum(analytic_flops(config, n) for n in kept)
    speedup = seconds["dense"] / seconds["rlt"]
    record = {
        "clip": args.clip.rsplit("/", 1)[-1],
        "batch": args.batch,
        "tokens_computed": kept,
        "tokens_dense": positions,
        "seconds": {name: round(value, 5) for name, value in seconds.items()},
        "speedup": round(speedup, 3),
        "flop_ratio": round(flops, 3),
        "speedup_over_flop_ratio": round(speedup / flops, 3),
        "find_runs_share_of_dense": round(seconds["find_runs"] / seconds["dense"], 5),
        "attn": args.attn,
        "dtype": str(pixels.dtype),
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()} {platform.system()}",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "hf_rlt": hf_rlt.__version__,
    }
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
