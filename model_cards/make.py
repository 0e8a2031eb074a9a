# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write the cards of the checkpoints to be published: `python -m model_cards.make`.

Nothing on them was measured here. Their text has the numbers of `benchmarks.common.paper`, with their sources. Their
metadata have none: those would be read as the checkpoint's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.paper import FINE_TUNING, INFERENCE
from hf_rlt import RLTVideoMAEConfig
from hf_rlt.hub import CardSettings, ModelFacts, build_metadata, render
from hf_rlt.hub.card_metadata import RLTCardData
from hf_rlt.hub.card_text import markdown_table

ROOT = Path(__file__).parent
PAPER = ("RLT's paper, arXiv 2411.05222", "https://arxiv.org/abs/2411.05222")
CODE = ("README of the paper's code", "https://github.com/rccchoudhury/rlt")
SIZES = {"b": ("ViT-B", 768, 12), "l": ("ViT-L", 1024, 24), "h": ("ViT-H", 1280, 32)}


class Benchmark(NamedTuple):
    """A data set: its name in the paper's tables and in full, classes, views, sampling, Hub id."""

    short: str
    name: str
    classes: int
    views: str
    sampling: str
    hub_id: str | None = None


K400 = Benchmark("K400", "Kinetics-400", 400, "5 x 3", "clip")
SSV2 = Benchmark("SSv2", "Something-Something V2", 174, "2 x 3", "uniform", "HuggingFaceM4/something_something_v2")


@dataclass(frozen=True)
class Published:
    """A checkpoint to publish: size, data set, and the VideoMAE checkpoint on the Hub that it is converted from."""

    size: str
    benchmark: Benchmark
    base: str

    @property
    def name(self) -> str:
        """The repository's name."""
        return f"rlt-vit-{self.size}-{self.benchmark.short.lower()}"

    def number(self, method: str, kind: str) -> float | None:
        """Return the accuracy or change of inference without training; None where no source has one."""
        return INFERENCE.get((SIZES[self.size][0], method, self.benchmark.short), {}).get(kind)


CHECKPOINTS = (
    Published("b", K400, "MCG-NJU/videomae-base-short-finetuned-kinetics"),
    Published("l", K400, "MCG-NJU/videomae-large-finetuned-kinetics"),
    Published("h", K400, "MCG-NJU/videomae-huge-finetuned-kinetics"),
    Published("b", SSV2, "MCG-NJU/videomae-base-finetuned-ssv2"),
)


def make_card(checkpoint: Published) -> str:
    """Return the card of a checkpoint: what `hf-rlt card` writes, the paper's numbers, and how it is made."""
    benchmark = checkpoint.benchmark
    _, width, depth = SIZES[checkpoint.size]
    facts = ModelFacts(
        name=checkpoint.name,
        config=RLTVideoMAEConfig(hidden_size=width, num_hidden_layers=depth, num_labels=benchmark.classes),
        processor={"sampling": benchmark.sampling, "frame_stride": 4},
        carries_code=True,
        has_handler=True,
    )
    known = RLTCardData(model_name=checkpoint.name, datasets=[benchmark.hub_id] if benchmark.hub_id else None)
    data = build_metadata(facts, CardSettings(base_model=checkpoint.base), known)
    return render(facts, data, around=("", f"\n\n{paper_text(checkpoint)}\n\n{making(checkpoint)}\n"))


def paper_text(checkpoint: Published) -> str:
    """Return the section with the paper's tables and the protocol; an empty cell is one that no source confirms."""
    model, benchmark = SIZES[checkpoint.size][0], checkpoint.benchmark
    confirmed = checkpoint.number("dense", "accuracy") is not None
    cells = [checkpoint.number(method, "accuracy") for method in ("dense", "RLT")]
    row = (
        model,
        *("" if cell is None else f"{cell:.1f} %" for cell in cells),
        f"{checkpoint.number('RLT', 'change'):+.1f}",
    )
    said = [f"Change: a table of [the paper]({PAPER[1]})."]
    if confirmed:
        said.insert(0, f"Accuracies: [{CODE[0]}]({CODE[1]}), commit 69ec8b4.")
    said.append(
        "The two do not agree to the last digit."
        if confirmed
        else "No source at hand confirms what stands in an empty cell."
    )
    parts = [
        "## The paper's numbers",
        f"None of them was measured on this file. Inference on {benchmark.name} without training for RLT, top-1:",
        markdown_table(("", "dense", "RLT", "change, in points"), [row]),
        " ".join(said),
    ]
    if (model, "RLT") in FINE_TUNING:
        rows = []
        for method in ("dense", "RLT"):
            accuracy, hours, speedup = FINE_TUNING[model, method][benchmark.short]
            rows.append((f"{model}, {method}", f"{accuracy:.1f} %", f"{hours:.1f}", f"{speedup:.1f} x"))
        parts += [
            f"Fine-tuned with RLT, which this checkpoint is not ([the paper]({PAPER[1]}), table 1; 8 GPUs):",
            markdown_table(("", "top-1", "hours", "speed-up"), rows),
        ]
    uniform = benchmark.sampling == "uniform"
    spread = "spread uniformly over the video" if uniform else "4 frames apart"
    theirs = (
        " RLT's own code takes 4 x 3 views with random starts instead: expect small differences." if uniform else ""
    )
    protocol = (
        f"Protocol (VideoMAE's for {benchmark.name}): {benchmark.views} views (temporal clips x crops) per video, 16 frames "
        f"{spread}, 224 x 224 pixels, softmax of each view, mean over views.{theirs}"
    )
    return "\n\n".join([*parts, protocol])


def making(checkpoint: Published) -> str:
    """Return the section that says how the checkpoint is made, measured and published."""
    name, benchmark = checkpoint.name, checkpoint.benchmark
    clips, crops = benchmark.views.split(" x ")
    uniform = " --sampling uniform" if benchmark.sampling == "uniform" else ""
    return f"""## Making this checkpoint

The weights are VideoMAE's as published; nothing was trained. Whether [{checkpoint.base}]\
(https://huggingface.co/{checkpoint.base}) is the checkpoint that RLT's authors used remains to be confirmed by its logits. \
Until then the numbers above are about another file.

```bash
hf-rlt convert {checkpoint.base} --output {name}{uniform}
cp model_cards/{name}/README.md {name}/
hf-rlt evaluate --model {name} VALIDATION --num-clips {clips} --num-crops {crops} --output {name}
hf-rlt card --model {name} --repo-id USER/{name} --dataset "{benchmark.name}" --evaluation {name}/evaluation.json --handler
hf upload USER/{name} {name} .
```"""


def main() -> None:
    """Write every card beside this file."""
    for checkpoint in CHECKPOINTS:
        path = ROOT / checkpoint.name / "README.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(make_card(checkpoint), encoding="utf-8")


if __name__ == "__main__":
    main()
