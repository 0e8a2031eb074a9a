# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Say on the Space's page what an analysis found."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from analysis import Analyser, Analysis
from choices import Choice, check_choice, knows, open_model

from hf_rlt.hub.card_text import cell, markdown_table

KEPT = 8  # pictures on the disk, beside the page's own copies
HIDDEN = gr.update(value=None, visible=False)


def ratio(dense: float, rlt: float, better: str, worse: str) -> str:
    """Say how many times better or worse RLT is."""
    return f"{dense / rlt:.1f}x {better}" if dense >= rlt else f"{rlt / dense:.1f}x {worse}"


def speed(found: Analysis) -> str:
    """Say how much faster RLT is."""
    return ratio(**found.seconds, better="faster", worse="slower")


def headline(found: Analysis) -> str:
    """Say in one line what RLT gains."""
    skipped = f"{1 - found.tokens['rlt'] / found.tokens['dense']:.0%} skipped"
    return f"## {skipped}, {speed(found)}" if found.seconds else f"## {skipped}"


def table(found: Analysis, answers: bool) -> str:
    """Format the figures as Markdown, with the model's answers if they mean something."""
    frames, height, width = found.token
    tokens, flops = found.tokens, found.flops
    fewer = ratio(**flops, better="fewer", worse="more")
    rows = [
        ("Tokens", f"{tokens['dense']:,}", f"{tokens['rlt']:,} ({tokens['rlt'] / tokens['dense']:.1%})"),
        ("GFLOPs", f"{flops['dense'] / 1e9:,.3g}", f"{flops['rlt'] / 1e9:,.3g} ({fewer})"),
    ]
    if found.seconds:
        dense, rlt = (f"{1000 * seconds:,.0f} ms" for seconds in found.seconds.values())
        rows.append(("Forward pass", dense, f"{rlt} ({speed(found)})"))
    else:
        rows.append(("Forward pass", "...", "..."))
    if answers:
        label = max(found.scores, key=lambda name: found.scores[name])
        rows.append(("Top prediction", cell(found.dense_label), cell(label)))
    text = markdown_table(("", "Dense", "RLT"), rows, align="lrr")
    return f"{text}\n\nRule: {found.rule}. One token is {frames} frames of {height} x {width} pixels."


def problem(error: BaseException, what: str, name: str) -> str:
    """Return an error as one line that calls a file or model by its name, and hides its path on the server."""
    if isinstance(error, MemoryError):
        return f"{name}: the server has not enough memory for it."
    text = " ".join(str(error).replace(what, name).split())
    return text if text.startswith(" ".join(name.split())) else f"{name}: {text}"


def new_folder(parent: Path) -> str:
    """Return a new folder for a picture; delete the oldest: the page has copies of its own."""
    for old in sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)[: 1 - KEPT]:
        shutil.rmtree(old)
    return tempfile.mkdtemp(dir=parent)


def answer(drawings: Path, models: list[str], video: str | None, model: str, heat: bool, *choice: Any) -> Iterator:
    """Yield message, picture, figures and scores of a video, as updates of the page: the picture first, then the times.

    Args:
        drawings: a folder for the pictures.
        models: the names of those that a visitor need not ask the Hub for.
        video: a file, if there is one.
        model: one of the names, or a Hub id.
        heat: whether runs are coloured by their length.
        *choice: the fields of a `Choice`.
    """
    if not video:
        yield "Choose a video.", HIDDEN, HIDDEN, HIDDEN
        return
    try:
        check_choice(model, models)
        analyse = Analyser(*open_model(model))
    except Exception as error:  # whatever a stranger's files lead to
        yield f"**Cannot be opened.** {problem(error, model, model)}", HIDDEN, HIDDEN, HIDDEN
        return
    try:
        for found in analyse(video, Choice(*choice).settings(), new_folder(drawings), heat):
            answers = bool(found.seconds) and knows(model, video)
            scores = gr.update(value=found.scores, visible=True) if answers else HIDDEN
            picture = gr.update(value=str(found.picture), visible=True)
            yield headline(found), picture, gr.update(value=table(found, answers), visible=True), scores
    except (ValueError, OSError, MemoryError) as error:
        yield f"**Cannot be read.** {problem(error, video, Path(video).name)}", HIDDEN, HIDDEN, HIDDEN
