# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Serve a page that shows what RLT does to a video.

Run `python examples/space/app.py`. HF_RLT_MODEL names a classifier to open with: a folder or a Hub id.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from answers import answer
from choices import (
    AT_MOST,
    CLIPS,
    DIGITS,
    EXACTLY,
    NO_LIMIT,
    Choice,
    is_of_digits,
    model_names,
    needed_limit,
    open_model,
)
from transformers.utils import logging

from hf_rlt.data.file_names import VIDEO_SUFFIXES
from hf_rlt.models.run_rule import RULES

MAX_FILE_SIZE = "64mb"
SUFFIXES = sorted(VIDEO_SUFFIXES | {".m4a"})
GREY, HEAT = "What is skipped", "How long runs are (dark: long)"
INTRODUCTION = """# Don't look twice

A video transformer computes every patch of every frame again. **Run-Length Tokenization** keeps one token per run of
unchanged patches: what is grey beside the clip is never computed
([paper](https://arxiv.org/abs/2411.05222)).
"""
ABOUT_MODELS = "Tokens, picture and times are real with every model. Answers are shown where they mean something."
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def build(first: str | None = None) -> gr.Blocks:
    """Return the page, which opens with the model `first` if one is given."""
    drawings, models = tempfile.TemporaryDirectory(prefix="hf_rlt-"), model_names(first)

    def show(video: str | None, model: str, view: str, *choice: Any) -> Iterator:
        yield from answer(Path(drawings.name), models, video, model, view == HEAT, *choice)

    with gr.Blocks(title="Run-Length Tokenization", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                outputs = _outputs()
            with gr.Column(scale=2, min_width=280):
                inputs = _inputs(models)
        gr.on(
            [page.load, *(each.change for each in inputs)],
            show,
            inputs,
            outputs,
            trigger_mode="always_last",  # of the events of a slider that is being dragged
            concurrency_limit=1,  # or they would slow each other's forward pass down
            api_visibility="private",
        )
    return page


def _outputs() -> list[gr.Component]:
    """Return the parts of the page that `answer` fills."""
    message = gr.Markdown("Looking at the video ...", elem_id="message")
    picture = gr.Video(
        label="The clip, and beside it what is computed of it",
        show_label=False,
        visible=False,
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=["download"],
        elem_id="picture",
    )
    figures = gr.Markdown(visible=False, elem_id="figures")
    scores = gr.Label(label="Prediction (RLT)", num_top_classes=5, visible=False, elem_id="scores")
    return [message, picture, figures, scores]


def _inputs(models: list[str]) -> list[gr.Component]:
    """Return the controls: the video, the model, the view, and the fields of a `Choice`."""
    start = Choice.of(open_model(models[0])[0].config)
    clips = gr.Dataset(
        components=[gr.Video(render=False)], samples=[[clip] for clip in CLIPS], type="index", label="Pick a video"
    )
    video = gr.File(CLIPS[0], label="Or upload one", file_types=SUFFIXES, elem_id="video", height=110)
    threshold = gr.Slider(
        0,
        max(1, start.threshold),
        value=start.threshold,
        step=0.01,
        label="Threshold",
        info="How much the normalised pixels of a patch may change for it to count as unchanged.",
        elem_id="threshold",
    )
    view = gr.Radio([GREY, HEAT], value=GREY, label="Show", elem_id="view")
    with gr.Accordion("Model, rule and budget", open=False, elem_id="more"):
        model = gr.Dropdown(
            models, value=models[0], label="Model", info=ABOUT_MODELS, allow_custom_value=True, elem_id="model"
        )
        rule = gr.Radio(list(RULES), value=start.rule, label="Rule", elem_id="rule")
        limit = gr.Radio([NO_LIMIT, AT_MOST, EXACTLY], value=start.limit, label="Number of tokens", elem_id="limit")
        share = gr.Slider(
            min(0.05, start.share), 1, value=start.share, step=0.01, label="Share of the tokens", elem_id="share"
        )
    used = [limit, threshold, share]
    gr.on([rule.change, limit.change], _used, [rule, limit], used, api_visibility="private")
    clips.click(partial(_picked, models[0]), [clips, model], [video, model], api_visibility="private")
    return [video, model, view, rule, threshold, limit, share]


def _picked(first: str, number: int, model: str) -> tuple[str, str]:
    """Return a clip and the model to show it with: for digits the one that knows them, which is for nothing else."""
    if is_of_digits(CLIPS[number]):
        return CLIPS[number], DIGITS
    return CLIPS[number], first if model == DIGITS else model


def _used(rule: str, limit: str) -> tuple[Any, Any, Any]:
    """Return the limit that the rule needs, and show the sliders that it uses: threshold, and share of the tokens."""
    limit = needed_limit(rule, limit)
    return limit, gr.update(visible=limit != EXACTLY), gr.update(visible=limit != NO_LIMIT)


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Show what RLT does to a video.")
    parser.add_argument("--port", type=int, help="Port. Default: the first free one from 7860.")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    page = build(os.environ.get("HF_RLT_MODEL"))
    page.launch(server_port=args.port, max_file_size=MAX_FILE_SIZE, theme=THEME, footer_links=[])


if __name__ == "__main__":
    main()
