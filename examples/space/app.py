# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A page on which a person sees what RLT does to a video: python examples/space/app.py

HF_RLT_MODEL names another classifier than the built-in one: a folder or a Hub id.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import gradio as gr
from analysis import Analyser, Analysis
from transformers.utils import logging

from hf_rlt.data.file_names import VIDEO_SUFFIXES

HERE = Path(__file__).parent
BUILT_IN = HERE / "digits"
MAX_FILE_SIZE = "64mb"
KEPT = 8  # pictures on the disk, beside the page's own copies
SUFFIXES = sorted(VIDEO_SUFFIXES | {".m4a"})
INTRODUCTION = """# Don't look twice

A video transformer computes every patch of every frame again. **Run-Length Tokenization** keeps one token for a run of
patches that do not change: what is grey on the right is never computed
([paper](https://arxiv.org/abs/2411.05222)).
"""
ABOUT_BUILT_IN = """The model here is the small one that `hf_rlt` trains in three minutes: it tells apart what handwritten
digits *do*. Of any other video its classes say nothing; what RLT drops, and the time it saves, are real.
"""
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def table(found: Analysis) -> str:
    """Format the measurements as Markdown."""
    dense, rlt = found.seconds["dense"], found.seconds["RLT"]
    label = max(found.scores, key=lambda name: found.scores[name])
    rows = [
        ("", "computes everything", "RLT"),
        ("---", "---:", "---:"),
        ("tokens", f"{found.total:,}", f"{found.tokens:,} ({found.tokens / found.total:.1%})"),
        ("forward pass", f"{1000 * dense:,.0f} ms", f"{1000 * rlt:,.0f} ms ({dense / rlt:.1f} x as fast)"),
        ("first answer", found.dense_label, label),
    ]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
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


def answer(analyse: Analyser, drawings: Path, video: str | None, threshold: float) -> tuple:
    """Return message, picture, numbers and scores of a video, as updates of the page."""
    hidden = gr.update(value=None, visible=False)
    if not video:
        return gr.update(value="Choose a video.", visible=True), hidden, hidden, hidden
    try:
        found = analyse(video, threshold, new_folder(drawings))
    except (ValueError, OSError, MemoryError) as error:
        return gr.update(value=f"**Cannot be read.** {problem(error, video)}", visible=True), hidden, hidden, hidden
    shown = (str(found.picture), table(found), found.scores)
    return gr.update(value="", visible=False), *(gr.update(value=value, visible=True) for value in shown)


def build(name: str | Path = BUILT_IN) -> gr.Blocks:
    """Return the page for a classifier."""
    analyse, drawings = Analyser(name), tempfile.TemporaryDirectory(prefix="hf_rlt-")

    def show(video: str | None, threshold: float) -> tuple:
        return answer(analyse, Path(drawings.name), video, threshold)

    with gr.Blocks(title="Run-Length Tokenization", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown(INTRODUCTION + ("" if Path(name) != BUILT_IN else "\n" + ABOUT_BUILT_IN))
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                video = gr.File(label="A video", file_types=SUFFIXES, elem_id="video", height=120)
                threshold = gr.Slider(
                    0,
                    1,
                    value=analyse.threshold,
                    step=0.01,
                    label="Threshold",
                    info="How much a patch may change, in standard deviations, and still count as the same.",
                    elem_id="threshold",
                )
                clips = sorted(str(path) for path in (HERE / "clips").glob("*.mp4"))
                gr.Examples([[clip] for clip in clips], [video], label="Or pick one")
            with gr.Column(scale=3, min_width=300):
                outputs = _outputs()
        gr.on(
            [video.change, threshold.change],
            show,
            [video, threshold],
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
    scores = gr.Label(label="What it shows, with RLT", num_top_classes=5, visible=False, elem_id="scores")
    return [message, picture, numbers, scores]


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Shows what RLT does to a video.")
    parser.add_argument("--port", type=int, help="to serve on (default: the first free one from 7860)")
    args = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    page = build(os.environ.get("HF_RLT_MODEL") or BUILT_IN)
    page.launch(server_port=args.port, max_file_size=MAX_FILE_SIZE, theme=THEME, footer_links=[])


if __name__ == "__main__":
    main()
