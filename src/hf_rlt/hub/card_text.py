# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write the text of a model card, using only what the folder and the metadata say."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from .card_metadata import NON_COMMERCIAL, base_models, from_videomae
from .model_facts import RLT, ModelFacts
from .results import RLTCardData, cell, code, table
from .usage import endpoint, usage

PAPER = "[Choudhury et al., *Don't Look Twice*, NeurIPS 2024](https://arxiv.org/abs/2411.05222)"
VIDEOMAE = "[VideoMAE](https://arxiv.org/abs/2203.12602)"
CITATION = """@inproceedings{choudhury2024rlt,
  title = {Don't Look Twice: Faster Video Transformers with Run-Length Tokenization},
  author = {Choudhury, Rohan and Zhu, Guanglei and Liu, Sihan and Niinuma, Koichiro and Kitani, Kris M. and Jeni, László A.},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2024},
  note = {arXiv:2411.05222}
}"""
REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")
MOST_CLASSES = 20  # more are not listed


def card_text(facts: ModelFacts, data: RLTCardData, repo_id: str | None = None) -> str:
    """Return the card's text in Markdown, without metadata.

    Args:
        facts: of the model's folder.
        data: the card's metadata.
        repo_id: on the Hub, if known; else the examples name the folder.
    """
    sections: list[tuple[str, Callable[[], str]]] = [
        ("Use", lambda: usage(facts, repo_id)),
        ("Inference Endpoints", lambda: endpoint() if facts.has_handler else ""),
        ("Results", lambda: _results(data)),
        ("Training", lambda: _training(facts, data)),
        ("Threshold", lambda: _threshold(facts)),
        ("Limits", lambda: _limits(facts)),
        ("Licence", lambda: _license(data)),
        ("Citation", lambda: f"The method is that of {PAPER}:\n\n```bibtex\n{CITATION}\n```"),
    ]
    parts = [f"# {cell(data.model_name or facts.name)}", _summary(facts, data), _properties(facts)]
    for title, write in sections:
        content = write()
        if content:
            parts.append(f"## {title}\n\n{content}")
    return "\n\n".join(parts)


def _summary(facts: ModelFacts, data: RLTCardData) -> str:
    count = len(facts.labels)
    what = _rlt(facts) if facts.kind == RLT else f"{VIDEOMAE} with {_baseline(facts)}"
    links = " and ".join(_link(name) for name in base_models(data.base_model))
    made = "Fine-tuned from" if facts.training else "Made from the weights of"
    text = f"A video classifier for {count:,} classes: {what}" if count else what
    return f"{text} {made} {links}." if links else text


def _link(name: str, kind: str = "") -> str:
    """Return a link to a repository, or just the name if it cannot be one."""
    return f"[{name}](https://huggingface.co/{kind}{name})" if REPOSITORY.fullmatch(name) else cell(name)


def _baseline(facts: ModelFacts) -> str:
    config = facts.config
    names = {
        "random_masking_videomae": "random masking",
        "tome_videomae": "Token Merging (ToMe)",
        "sta_videomae": "Semantic-aware Temporal Accumulation (STA)",
    }
    says = {
        "random_masking_videomae": f"{100 * config.get('token_keep_ratio', 1.0):g} % of the tokens are computed, drawn anew "
        f"at each call{_on_top(facts)}.",
        "tome_videomae": f"Its blocks merge so many tokens: {_merged(config)}{_on_top(facts)}.",
        "sta_videomae": f"{config.get('r', 0)} tokens leave each time slot in each of three stages.",
    }
    return f"{names[facts.kind]}, a baseline that RLT is compared with, not an RLT model. {says[facts.kind]}"


def _rlt(facts: ModelFacts) -> str:
    if facts.threshold is None:
        return f"{VIDEOMAE} as an RLT model with threshold none: every token is computed."
    tubelet, patch = facts.config.get("tubelet_size", 2), facts.config.get("patch_size", 16)
    return (
        f"{VIDEOMAE} with Run-Length Tokenization (RLT, {PAPER}). A tubelet, {patch} x {patch} pixels of {tubelet} frames, "
        f"is not computed if it hardly differs from the one before it at the same place (threshold {facts.threshold:g}): "
        "what stands still costs nothing."
    )


def _merged(config: Mapping[str, Any]) -> str:
    r, inflection = config.get("r", 0), config.get("inflection", 0)
    each = ", ".join(map(str, r)) if isinstance(r, list) else f"{r} each"
    return f"{each} (on average, inflection {inflection:g})" if inflection else each


def _on_top(facts: ModelFacts) -> str:
    return "" if facts.threshold is None else f", of those that RLT computes (threshold {facts.threshold:g})"


def _properties(facts: ModelFacts) -> str:
    frames, height, width = facts.clip
    grid, processor, config = facts.grid, facts.processor, facts.config
    rate = ""
    if processor.get("sampling") == "uniform":
        rate = ", spread over the whole video"
    elif processor.get("fps"):
        rate = f", at {processor['fps']:g} frames per second"
    elif processor.get("frame_stride"):
        rate = f", {processor['frame_stride']} frames of the video apart"
    tokens = grid[0] * grid[1] * grid[2]
    lines = [
        f"Clip: {frames} frames of {height} x {width} pixels{rate}",
        f"Tokens of a clip: {tokens:,} ({grid[0]} x {grid[1]} x {grid[2]})",
    ]
    if "hidden_size" in config and "num_hidden_layers" in config:
        lines.append(f"Network: {config['num_hidden_layers']} blocks of width {config['hidden_size']}")
    if config.get("length_embedding"):
        lines.append("Run lengths: a learned embedding of its run length is added to each token")
    if config.get("proportional_attention"):
        lines.append("Proportional attention: a token that stands for k tubelets counts k times as a key")
    if config.get("position_grid"):
        lines.append(f"Positions: interpolated from a grid of {' x '.join(map(str, config['position_grid']))} tubelets")
    if 0 < len(facts.labels) <= MOST_CLASSES:
        lines.append(f"Classes: {', '.join(cell(label) for label in facts.labels)}")
    return "\n".join(f"- {line}" for line in lines)


def _results(data: RLTCardData) -> str:
    if not data.eval_results:
        return ""
    if all(result.source_url for result in data.eval_results):
        return table(data.eval_results)
    return (
        f"{table(data.eval_results)}\n\n"
        'Views are temporal clips x crops of a video; its scores are the mean of the views\' softmax. "Tokens computed" is '
        "the mean share of a view's tokens: it and the accuracies depend on the videos, the views and the threshold, not on "
        "the machine."
    )


def _training(facts: ModelFacts, data: RLTCardData) -> str:
    known = facts.training
    if not known:
        return ""
    rows = {
        "Data": ", ".join(_link(name, "datasets/") for name in base_models(data.datasets)),
        "Steps": f"{known['steps']:,.0f}" if "steps" in known else "",
        "Epochs": f"{known['epochs']:.4g}" if "epochs" in known else "",
        "Clips per step and device": f"{known['batch']:,.0f}" if "batch" in known else "",
        "Highest learning rate logged": f"{known['learning_rate']:.3g}" if "learning_rate" in known else "",
        "Mean training loss": f"{known['loss']:.4g}" if "loss" in known else "",
        "Tokens computed in training": f"{100 * known['tokens']:.1f} %" if "tokens" in known else "",
    }
    return "\n".join(f"- {title}: {value}" for title, value in rows.items() if value)


def _threshold(facts: ModelFacts) -> str:
    if facts.kind != RLT:
        return ""
    own = "none" if facts.threshold is None else f"{facts.threshold:g}"
    dense = "" if facts.config.get("length_embedding") else ", which is VideoMAE"
    return (
        f"This model's is {own}. It is the mean absolute difference of normalised pixels up to which a tubelet counts as "
        "unchanged: a larger one computes fewer tokens; above 0.1 accuracy falls (the paper's section 4). "
        f"`AutoVideoProcessor.from_pretrained(name, threshold=None)` leaves every token to be computed{dense}."
    )


def _limits(facts: ModelFacts) -> str:
    lines = []
    if facts.kind == RLT:
        lines += [
            "The gain is a property of the content: a static camera leaves few tokens to compute; hand-held or cut-rich "
            "video may leave nearly all, and then RLT costs a little and gains nothing.",
            "The threshold compares neighbouring tubelets: slow drift below it is never seen.",
        ]
        if not facts.training and facts.threshold is not None:
            lines.append(
                "Nothing here says that these weights were trained with RLT. Without that they lose accuracy where it drops "
                "most; fine-tuning with RLT helps, and so does `from_pretrained(name, proportional_attention=True)`."
            )
    frames = facts.clip[0]
    lines.append(f"A video with fewer frames than a clip of {frames} spans repeats its last frame.")
    lines.append("Scores are over the classes above only: a video of none of them gets one all the same.")
    return "\n".join(f"- {line}" for line in lines)


def _license(data: RLTCardData) -> str:
    if not data.license:
        return ""
    if data.license == NON_COMMERCIAL and from_videomae(data.base_model):
        return "CC BY-NC 4.0, inherited from VideoMAE's published weights: not for commercial use."
    names = [str(name) for name in (data.license if isinstance(data.license, list) else [data.license])]
    return ", ".join(cell(name) if name[:1].isalpha() and " " in name else code(name) for name in names)
