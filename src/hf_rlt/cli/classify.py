# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt classify`: predict the action in a few videos, and print it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .console import print_line, spinner
from .options import AsJson, Fps, FrameStride, Model, NumFrames, Threshold, TopK, load_model, sampling_settings

if TYPE_CHECKING:
    from ..inference.runner import Prediction

DEFAULT_MODEL = "outputs/digits"


def classify(
    clips: Annotated[list[str], typer.Argument(help="Videos: files or URLs.")],
    model: Model = DEFAULT_MODEL,
    top_k: TopK = 3,
    threshold: Threshold = "model",
    num_frames: NumFrames = None,
    frame_stride: FrameStride = None,
    fps: Fps = None,
    as_json: AsJson = False,
) -> None:
    """Name the action in CLIPS, and how many tokens that took.

    A video that cannot be read is reported in one line; the others are classified, and the exit code is 1.
    """
    from ..data.text_files import json_name
    from ..errors import HfRltError, printable
    from ..inference.decoder import VideoJob, ViewConfig
    from ..inference.pipeline import Options, launched_rank, run
    from ..inference.runner import Runner
    from ..jobs.worker_pool import Failure, Task
    from ..tokens.count_many import problem_of

    for clip in clips:
        if not clip.startswith(("http://", "https://")) and not Path(clip).is_file():
            raise HfRltError(f"{clip}: expected a video file, found none: check the path.")
    sampling_settings(frame_stride, fps)  # raises if they contradict each other
    _check_folder(model)
    network, processor = load_model(model, threshold, num_frames, frame_stride, fps)
    runner = Runner(network.to(launched_rank()[1]), ViewConfig(processor), top_k)
    console, done, bad = Console(stderr=True), 0, 0
    tasks = (Task(VideoJob(clip, block=number)) for number, clip in enumerate(clips))
    with spinner(console) as progress:
        line = progress.add_task(f"1 of {len(clips)}: {printable(clips[0])}")
        for batch in run(tasks, runner, Options(batch_size=1, num_workers=0)):
            for job, found in batch.results:
                clip = str(job.video)
                if isinstance(found, Failure):
                    bad, problem = bad + 1, problem_of(found, clip)
                    print_line(progress.console, f"{clip}: {problem}")
                    if as_json:
                        typer.echo(json.dumps({"video": json_name(clip), "error": problem}))
                elif found is not None:
                    typer.echo(_json(json_name(clip), found) if as_json else _text(clip, found, len(clips) > 1))
                done += 1
                progress.update(line, description=f"{done} of {len(clips)} done")
    if bad:
        raise typer.Exit(1)


def _check_folder(model: str) -> None:
    """Raise HfRltError if a model that was meant as a folder does not exist, before looking for it on the Hub."""
    from ..errors import HfRltError

    path = Path(model)
    if not path.is_dir() and (model == DEFAULT_MODEL or path.is_absolute() or path.parent.is_dir()):
        raise HfRltError(
            f"{model}: expected a model folder or a Hub id, found no such folder: train one with examples/finetune.py."
        )


def _json(video: str, found: "Prediction") -> str:
    scores = [{"label": label, "score": score} for label, score in found.scores or []]
    counts = {name: getattr(found, name) for name in ("tokens_computed", "tokens_left", "tokens")}
    return json.dumps({"video": video, "scores": scores, **counts})


def _text(video: str, found: "Prediction", several: bool) -> str:
    from ..errors import printable

    lines = [printable(video)] if several else []
    lines += [f"{score:6.1%}  {printable(label)}" for label, score in found.scores or []]
    left = f", {found.tokens_left} left at the end" if found.tokens_left < found.tokens_computed else ""
    share = found.tokens_computed / found.tokens
    lines.append(f"{found.tokens_computed} of {found.tokens} tokens computed ({share:.1%}){left}")
    return "\n".join(lines)
