# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What a rule keeps: tokens against the error of what stands for each tubelet, on real clips.

The error of a tubelet is the mean absolute difference of its normalised pixels, of all its frames, to the token that stands
for it: 0 for a token itself. Every method gets the same number of tokens of each clip. The bound are runs with the lowest
possible sums of errors.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from hf_rlt.baselines.by_difference import ByDifferenceVideoMAEConfig, ByDifferenceVideoMAEModel
from hf_rlt.drawing.overlays import reconstruct
from hf_rlt.errors import HfRltError
from hf_rlt.models.budget import make_budget
from hf_rlt.models.rule_anchor import anchor_starts
from hf_rlt.models.rule_optimal import optimal_starts, run_errors
from hf_rlt.models.rule_threshold import threshold_starts
from hf_rlt.models.run_rule import RunRule
from hf_rlt.models.runs import lengths_from_starts
from hf_rlt.models.video_processing_rlt import RLTVideoProcessor
from hf_rlt.models.video_reader import index_video

from .common import options as opt
from .common.plots import Series, draw
from .common.record import Column, Row, column, report, save, say, table
from .common.speed import repeats_frames

FRAMES, STRIDES, SHARES, THRESHOLDS = [16, 64], [4, 1], [0.05, 0.1, 0.15, 0.2, 0.3, 0.4], [0.1]
# Of each method the differences it ranks or adds up, and how it chooses what starts a run.
METHODS: dict[str, tuple[str, Callable[..., Tensor]]] = {
    "threshold": ("threshold", threshold_starts),
    "anchor": ("anchor", anchor_starts),
    "optimal, p = 4": ("anchor", optimal_starts),
    "optimal, p = 1": ("anchor", partial(optimal_starts, power=1)),
    "by difference": ("embeddings", threshold_starts),
    "random": ("random", threshold_starts),
}
OWN_TOKENS = "anchor, same threshold"
MEASURES = ("mean", "rms", "percentile_99", "largest", "psnr")


def keeps(
    clips: opt.Clips,
    num_frames: Annotated[list[int], typer.Option(help="Frames per clip. May be repeated.", min=2)] = FRAMES,
    frame_stride: Annotated[
        list[int], typer.Option(help="Take every Nth frame, for each --num-frames.", min=1)
    ] = STRIDES,
    share: Annotated[list[float], typer.Option(help="Share of the tokens. May be repeated.")] = SHARES,
    threshold: Annotated[
        list[float], typer.Option(help="RLT threshold, which sets tokens too. May be repeated.")
    ] = THRESHOLDS,
    output: opt.Output = opt.OUTPUT,
) -> None:
    """What a rule keeps: tokens against the error of what stands for each tubelet, with optimal runs as the bound."""
    if len(num_frames) != len(frame_stride):
        received = f"{len(frame_stride)} and {len(num_frames)}"
        raise HfRltError(f"Expected as many --frame-stride as --num-frames, received {received}.")
    if not all(0 < each <= 1 for each in share):
        raise HfRltError(f"--share: expected shares in (0, 1], received {share}.")
    files, names = opt.video_files(clips), {}
    rows: list[Row] = []
    for frames, stride in zip(num_frames, frame_stride, strict=True):
        processor, sampling = RLTVideoProcessor(num_frames=frames, frame_stride=stride), f"{frames} x {stride}"
        found = [file for file in files if not repeats_frames(index_video(str(file)), processor)]
        names[sampling] = [file.name for file in found]
        measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for file in found:
            say(f"{sampling}: {file.name}")
            for at, method, values in measure(Clip(file, processor), share, threshold):
                measured.setdefault((at, method), []).append(values)
        for (at, method), every in measured.items():
            lists = {name: [each[name] for each in every] for name in ("tokens", *MEASURES)}
            about = {"sampling": sampling, "at": at, "method": method, "positions": every[0]["positions"]}
            rows.append({**about, **lists})
    settings = {"shares": share, "thresholds": threshold, "files": len(files), "clips": names}
    report(save(output, "keeps", rows, settings))


class Clip:
    """A clip, and how its tubelets differ."""

    def __init__(self, file: Path, processor: RLTVideoProcessor) -> None:
        pixels = processor.pixels(processor.decode(file))
        self.grid = processor.run_rule.grid(pixels)
        mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
        frames = (pixels[0].permute(0, 2, 3, 1) * std + mean) * 255  # whole numbers but for rounding
        self.frames = frames.round_().to(torch.uint8).numpy()  # (F, H, W, 3)
        self.differences = {rule: RunRule(rule=rule).differences(pixels) for rule in ("threshold", "anchor")}
        torch.manual_seed(0)
        self.differences["random"] = torch.rand_like(self.differences["threshold"])
        config = ByDifferenceVideoMAEConfig(num_frames=processor.num_frames, num_hidden_layers=1, intermediate_size=1)
        self.differences["embeddings"] = ByDifferenceVideoMAEModel(config)._differences(pixels)

    def lengths(self, method: str, tokens: int) -> Tensor:
        """Find run lengths `(1, N)` of so many tokens."""
        differences, choose = METHODS[method]
        budget = make_budget("num_tokens", tokens, self.grid, 1, exact=True, clips=None)
        starts = choose(self.differences[differences], math.inf, budget)
        return lengths_from_starts(F.pad(starts, (0, 0, 0, 0, 1, 0), value=True))

    def lengths_at(self, rule: str, threshold: float) -> Tensor:
        """Find run lengths `(1, N)` by a rule at a threshold."""
        return RunRule(threshold, rule=rule).run_lengths(self.differences[rule])

    def errors(self, lengths: Tensor) -> dict[str, float | int | None]:
        """Measure what stands for the clip's tubelets; PSNR is None if nothing is lost."""
        marked = (lengths > 0).view(1, *self.grid)[:, 1:]
        errors = F.pad(run_errors(self.differences["anchor"], marked), (0, 0, 0, 0, 1, 0)).flatten().double()
        lost = float(np.square(np.subtract(self.frames, reconstruct(self.frames, lengths), dtype=np.float32)).mean())
        found = {"mean": errors.mean(), "rms": errors.square().mean().sqrt(), "percentile_99": errors.quantile(0.99)}
        values = {name: float(value) for name, value in found.items()} | {"largest": float(errors.max())}
        values |= {"psnr": 10 * math.log10(255**2 / lost)} if lost else {}
        rounded = {name: float(f"{value:.5g}") for name, value in values.items()}
        return {"psnr": None, **rounded, "tokens": int((lengths > 0).sum()), "positions": lengths.numel()}


def measure(
    clip: Clip, shares: Sequence[float], thresholds: Sequence[float]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what sets the tokens, the method and the errors of a clip."""
    positions, least = math.prod(clip.grid), math.prod(clip.grid[1:])
    wanted = {f"share {share:.4g}": round(share * positions) for share in shares}
    for threshold in thresholds:
        wanted[f"threshold {threshold:g}"] = int((clip.lengths_at("threshold", threshold) > 0).sum())
    for at, tokens in wanted.items():
        if tokens < least:  # the first tubelets alone are more
            continue
        for method in METHODS:
            yield at, method, clip.errors(clip.lengths(method, tokens))
    for threshold in thresholds:
        yield f"threshold {threshold:g}", OWN_TOKENS, clip.errors(clip.lengths_at("anchor", threshold))


def averages(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Average over the clips; the share of the tokens comes on top."""
    found = []
    for row in rows:
        values = {name: [value for value in row[name] if value is not None] for name in ("tokens", *MEASURES)}
        means = {name: fmean(each) if each else None for name, each in values.items()}
        found.append({**row, **means, "share": means["tokens"] / row["positions"]})
    return found


COLUMNS = (
    column("tokens set by", "at"),
    Column("tokens", lambda row: f"{row['tokens']:,.0f} ({row['share']:.1%})"),
    column("method", "method"),
    *(column(f"{name} error", key, "{:.4f}") for name, key in (("mean", "mean"), ("RMS", "rms"))),
    *(column(name, key, "{:.3f}") for name, key in (("99th percentile", "percentile_99"), ("largest", "largest"))),
    column("PSNR, dB", "psnr", "{:.2f}"),
)


def markdown(record: Row) -> str:
    """Make a table for each sampling."""
    settings, text = record["settings"], ""
    for sampling, clips in settings["clips"].items():
        rows = [row for row in averages(record["rows"]) if row["sampling"] == sampling]
        text += f"## {sampling}\n\nFrames x stride; means over {len(clips)} clips of {settings['files']} files.\n\n"
        text += f"{table(rows, COLUMNS)}\n"
    return text + (
        "Error of a tubelet: mean absolute difference of normalised pixels to the token that stands for it, over all "
        "tubelets of a clip, tokens themselves (0) among them. PSNR: of the frames in which every tubelet is shown as its "
        "token. At a share each clip has that share of its tokens; at a threshold as many as the threshold rule computes of "
        f'it, but for "{OWN_TOKENS}". Left out: shares below one frame, and clips too short for a sampling.\n\n'
        "Optimal: no runs of as many tokens have a lower sum of error ** p. By difference: by ViT-B's patch embedding, with "
        "random weights, which nearly keep distances. Random keeps the first tubelet of each place, as the others do, so "
        "that every tubelet has a token before it; random masking draws these, too.\n"
    )


def pictures(record: Row, folder: Path) -> list[Path]:
    """Draw the errors over the share of the tokens, for each sampling."""
    paths = []
    for sampling in dict.fromkeys(row["sampling"] for row in record["rows"]):
        rows = [row for row in averages(record["rows"]) if row["sampling"] == sampling and "share" in row["at"]]
        for key, title in (("rms", "root mean square error"), ("percentile_99", "99th percentile of the error")):
            series = []
            for method in dict.fromkeys(row["method"] for row in rows):
                own = sorted((row["share"], row[key]) for row in rows if row["method"] == method)
                series.append(Series(method, *map(list, zip(*own, strict=True))))
            path = folder / f"keeps_{sampling.replace(' ', '')}_{key}.png"
            titles = (f"What stands for each tubelet, {sampling} frames", "share of the tokens", title)
            paths.append(draw(path, series, titles))
    return paths
