# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Serve a page that shows what RLT does to a video.

Run `python examples/space/app.py`. HF_RLT_MODEL names another classifier than the built-in one: a folder or a Hub id.
"""

import argparse
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
from analysis import Analyser, Analysis
from transformers.utils import logging

from hf_rlt.data.file_names import VIDEO_SUFFIXES
from hf_rlt.hub.card_text import cell, markdown_table

HERE = Path(__file__).parent
BUILT_IN = HERE / "digits"
MAX_FILE_SIZE = "64mb"
KEPT = 8  # pictures on the disk, beside the page's own copies
SUFFIXES = sorted(VIDEO_SUFFIXES | {".m4a"})
INTRODUCTION = """# Don't look twice

A video transformer computes every patch of every frame again. **Run-Length Tokenization** keeps one token per run of
unchanged patches: what is grey on the right is never computed
([paper](https://arxiv.org/abs/2411.05222)).
"""
ABOUT_BUILT_IN = """The model is the small one that `hf_rlt` trains in three minutes. It knows what handwritten digits
*do*, so its answers are shown for the clips of digits alone; the dropped patches and the time saved are real for every
video.
"""
SLIDERS = {
    "threshold": ("Threshold", "How much a patch may change, in standard deviations, and still count as unchanged."),
    "num_tokens": ("Share of tokens", "How many of the clip's patches are computed: those that change most."),
}
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def speed(found: Analysis) -> str:
    """Say how much faster RLT is."""
    ratio = found.seconds["dense"] / found.seconds["RLT"]
    return f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"


def headline(found: Analysis) -> str:
    """Say in one line what RLT gains."""
    skipped = f"{1 - found.tokens / found.total:.0%} skipped"
    return f"## {skipped}, {speed(found)}" if found.seconds else f"## {skipped}"


def table(found: Analysis, answers: bool) -> str:
    """Format the measurements as Markdown, with the model's answers if they mean something."""
    dense, rlt = (f"{1000 * found.seconds[kind]:,.0f} ms" for kind in ("dense", "RLT"))
    label = max(found.scores, key=lambda name: found.scores[name])
    rows = [
        ("Tokens", f"{found.total:,}", f"{found.tokens:,} ({found.tokens / found.total:.1%})"),
        ("Forward pass", dense, f"{rlt} ({speed(found)})"),
    ]
    if answers:
        rows.append(("Top prediction", cell(found.dense_label), cell(label)))
    text = markdown_table(("", "Dense", "RLT"), rows, align="lrr")
    return f"{text}\n\nLongest run: {found.longest_run} of {found.tubelets} tubelets."


def problem(error: BaseException, video: str) -> str:
    """Return an error as one line that names the uploaded file, but not its path on the server."""
    name = Path(video).name
    if isinstance(error, MemoryError):
        return f"{name}: the server has not enough memory for it."
    text = " ".join(str(error).replace(video, name).split())
    return text if text.startswith(" ".join(name.split())) else f"{name}: {text}"


def new_folder(parent: Path) -> str:
    """Return a new folder for a picture; delete old ones, which the page has long copied."""
    for old in sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)[: 1 - KEPT]:
        shutil.rmtree(old)
    return tempfile.mkdtemp(dir=parent)


def answer(
    analyse: Analyser, drawings: Path, video: str | None, value: float, knows: Callable[[str], bool]
) -> Iterator:
    """Yield message, picture, numbers and scores of a video at a value of the slider, as updates of the page.

    The picture comes first; the model is timed after. `knows` says whether the model's answers mean something for a video.
    """
    hidden = gr.update(value=None, visible=False)
    if not video:
        yield gr.update(value="Choose a video.", visible=True), hidden, hidden, hidden
        return
    try:
        for found in analyse(video, value, new_folder(drawings)):
            answers = bool(found.seconds) and knows(video)
            numbers = gr.update(value=table(found, answers), visible=True) if found.seconds else hidden
            scores = gr.update(value=found.scores, visible=True) if answers else hidden
            yield (
                gr.update(value=headline(found), visible=True),
                gr.update(value=str(found.picture), visible=True),
                numbers,
                scores,
            )
    except (ValueError, OSError, MemoryError) as error:
        yield gr.update(value=f"**Cannot be read.** {problem(error, video)}", visible=True), hidden, hidden, hidden


def is_of_digits(video: str) -> bool:
    """Return whether a video is one of the page's own clips of digits, whatever it is called."""
    return any(filecmp.cmp(video, clip, shallow=False) for clip in (HERE / "clips").glob("digit_*.mp4"))


def build(name: str | Path = BUILT_IN) -> gr.Blocks:
    """Return the page for a classifier."""
    analyse, drawings = Analyser(name), tempfile.TemporaryDirectory(prefix="hf_rlt-")
    knows = is_of_digits if Path(name) == BUILT_IN else lambda video: True

    def show(video: str | None, value: float) -> Iterator:
        yield from answer(analyse, Path(drawings.name), video, value, knows)

    with gr.Blocks(title="Run-Length Tokenization", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(INTRODUCTION + ("" if Path(name) != BUILT_IN else "\n" + ABOUT_BUILT_IN))
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                clips = sorted(str(path) for path in (HERE / "clips").glob("*.mp4"))
                video = gr.File(clips[0], label="Video", file_types=SUFFIXES, elem_id="video", height=120)
                label, info = SLIDERS[analyse.setting]
                slider = gr.Slider(
                    analyse.least, 1, value=analyse.start, step=0.01, label=label, info=info, elem_id="slider"
                )
                gr.Examples([[clip] for clip in clips], [video], label="Or pick one")
            with gr.Column(scale=3, min_width=300):
                outputs = _outputs()
        gr.on(
            [page.load, video.change, slider.change],
            show,
            [video, slider],
            outputs,
            trigger_mode="always_last",  # of the events of a slider that is being dragged
            concurrency_limit=1,  # or they would slow each other's forward pass down
            api_visibility="private",
        )
    return page


def _outputs() -> list[gr.Component]:
    """Return the parts of the page that `answer` fills."""
    message = gr.Markdown("Choose a video.", elem_id="message")
    picture = gr.Image(
        show_label=False,
        alt_text="The clip, and beside it the same clip with everything grey that is not computed",
        visible=False,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id="picture",
    )
    numbers = gr.Markdown(visible=False, elem_id="numbers")
    scores = gr.Label(label="Prediction (RLT)", num_top_classes=5, visible=False, elem_id="scores")
    return [message, picture, numbers, scores]


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Show what RLT does to a video.")
    parser.add_argument("--port", type=int, help="Port. Default: the first free one from 7860.")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    page = build(os.environ.get("HF_RLT_MODEL") or BUILT_IN)
    page.launch(server_port=args.port, max_file_size=MAX_FILE_SIZE, theme=THEME, footer_links=[])


if __name__ == "__main__":
    main()
