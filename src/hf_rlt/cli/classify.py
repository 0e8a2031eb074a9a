# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt classify`: predict the action in a few videos, and print it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import HfRltError, printable
from .console import print_line, spinner
from .options import AsJson, Model, ModelOptions, TopK

if TYPE_CHECKING:
    from ..inference.runner import Prediction
    from ..models.run_rule import RunRule

DEFAULT_MODEL = "outputs/digits"


def classify(
    clips: Annotated[list[str], typer.Argument(help="Videos: files or addresses.")],
    settings: ModelOptions,
    model: Model = DEFAULT_MODEL,
    top_k: TopK = 3,
    as_json: AsJson = False,
) -> None:
    """Name the action in CLIPS, and how many tokens that took.

    A video that cannot be read is reported in one line; the others are classified, and the exit code is 1.
    """
    for clip in clips:
        if Path(clip).is_dir():
            raise HfRltError(f"{clip}: expected a video file, received a folder: use `hf-rlt predict`.")
    if model == DEFAULT_MODEL and not Path(model).is_dir():
        raise HfRltError(f"{model}: found no such folder: train a model with examples/finetune.py, or give --model.")
    from ..data.text_files import json_name
    from ..inference.decoder import Options, VideoJob
    from ..inference.pipeline import run
    from ..inference.runner import Runner
    from ..jobs.worker_pool import Failure, Task
    from ..tokens.count_many import problem_of

    network, processor, _ = settings.load(model)
    runner = Runner(network, processor, Options(batch_size=1, num_workers=0, top_k=top_k))
    console, done, bad = Console(stderr=True), 0, 0
    tasks = (Task(VideoJob(clip, block=number)) for number, clip in enumerate(clips))
    with spinner(console) as progress:
        line = progress.add_task(f"1 of {len(clips)}: {printable(clips[0])}")
        for task in (task for batch in run(tasks, runner) for task in batch.tasks):
            clip, found = task.item.video, task.result
            if isinstance(found, Failure):
                bad, problem = bad + 1, problem_of(found, clip)
                print_line(progress.console, f"{clip}: {problem}")
                if as_json:
                    typer.echo(json.dumps({"video": json_name(clip), "error": problem}))
            else:
                several, rule = len(clips) > 1, processor.run_rule
                typer.echo(_json(json_name(clip), found, rule) if as_json else _text(clip, found, rule, several))
            done += 1
            progress.update(line, description=f"{done} of {len(clips)} done")
    if bad:
        raise typer.Exit(1)


def _json(video: str, found: "Prediction", rule: "RunRule") -> str:
    scores = [{"label": label, "score": score} for label, score in found.scores or []]
    counts = {name: getattr(found, name) for name in ("tokens_computed", "tokens_left", "tokens")}
    return json.dumps({"video": video, "scores": scores, "rule": rule.describe(), **counts})


def _text(video: str, found: "Prediction", rule: "RunRule", several: bool) -> str:
    lines = [printable(video)] if several else []
    lines += [f"{score:6.1%}  {printable(label)}" for label, score in found.scores or []]
    left = f", {found.tokens_left} left at the end" if found.tokens_left < found.tokens_computed else ""
    share = found.tokens_computed / found.tokens
    by = f", {rule.describe()}" if rule.drops else ""
    lines.append(f"{found.tokens_computed} of {found.tokens} tokens computed ({share:.1%}{by}){left}")
    return "\n".join(lines)
