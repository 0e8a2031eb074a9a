# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The command line of the benchmarks, `hf-rlt benchmark`. What they measure is in the files beside this one."""

from pathlib import Path
from typing import Annotated

import typer

from hf_rlt.cli.console import user_errors
from hf_rlt.tokens import find

from . import report as reports
from .record import begin, save

app = typer.Typer(help="Measure, and write JSON, Markdown and pictures.", no_args_is_help=True)


@app.callback()
def start() -> None:
    """Measure, and write JSON, Markdown and pictures."""
    begin()


OutputDir = Annotated[Path, typer.Option(help="Where NAME.json, NAME.md and pictures go.")]
OUTPUT_DIR = Path("outputs/benchmark")
FPS = [7.5, 15.0, 30.0]
THRESHOLDS = [0.05, 0.1, 0.2]
CLIPS = [1, 5]
VideoDir = Annotated[Path | None, typer.Option(help="Where an annotation file's videos are.")]
OnBadVideo = Annotated[str, typer.Option(help="raise, or skip and count.")]
Workers = Annotated[int, typer.Option(help="Loading processes.", min=0)]


@app.command()
@user_errors()
def report(
    files: Annotated[list[Path], typer.Argument(help="Records that the other commands wrote.")],
    output_dir: Annotated[Path | None, typer.Option(help="Instead of each file's own folder.")] = None,
) -> None:
    """Make tables and pictures again, from JSON alone."""
    for file in files:
        show(file, output_dir)


@app.command()
@user_errors()
def tokens(
    data: Annotated[list[Path], typer.Argument(help="Folders of videos, nested or flat, or annotation files.")],
    fps: Annotated[list[float], typer.Option(help="Frames a second of a clip; may be given several times.")] = FPS,
    num_frames: Annotated[int, typer.Option(help="Frames in a clip.", min=2)] = 16,
    threshold: Annotated[float, typer.Option(help="RLT's threshold.", min=0)] = 0.1,
    video_dir: VideoDir = None,
    on_bad_video: OnBadVideo = "raise",
    limit: Annotated[int | None, typer.Option(help="Videos of each set, evenly spread over it.", min=1)] = None,
    workers: Workers = 2,
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Tokens before and after RLT, for each data set and frame rate.

    Counts are kept in OUTPUT_DIR/counts: interrupted, the same command goes on.
    """
    from .tokens import measure

    settings = {"fps": fps, "num_frames": num_frames, "threshold": threshold, "limit": limit}
    counts = output_dir / "counts"
    rows = measure(data, fps, num_frames, threshold, on_bad_video, video_dir, limit, workers, counts, say)
    show(save(output_dir, "tokens", rows, {"data": [str(path) for path in data], **settings}))


@app.command()
@user_errors()
def grey(
    clip: Annotated[Path, typer.Argument(help="A video.")],
    threshold: Annotated[list[float], typer.Option(help="RLT's; may be given several times.")] = THRESHOLDS,
    frame_stride: Annotated[int, typer.Option(help="Distance of the clip's frames in the video.", min=1)] = 4,
    columns: Annotated[int, typer.Option(help="Frames shown, evenly spread over the clip's 16.", min=1, max=16)] = 4,
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Draw a clip, and below it what RLT computes at each threshold: the rest is grey."""
    from .grey import measure

    settings, rows = measure(clip, threshold, frame_stride, columns)
    show(save(output_dir, "grey", rows, settings))


@app.command()
@user_errors()
def reading(
    files: Annotated[list[Path], typer.Argument(help="Videos.")],
    clips: Annotated[list[int], typer.Option(help="Clips of each; may be given several times.", min=1)] = CLIPS,
    num_frames: Annotated[int, typer.Option(help="Frames in a clip.", min=1)] = 16,
    frame_stride: Annotated[int, typer.Option(help="Distance of a clip's frames in the video.", min=1)] = 4,
    rounds: Annotated[int, typer.Option(help="Measurements of each reader, in turn.", min=1)] = 5,
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Time from a video file to the frames of its clips, beside transformers, torchcodec and decord2 where installed."""
    from .reading import measure

    settings, rows = measure(files, clips, num_frames, frame_stride, rounds, say)
    show(save(output_dir, "reading", rows, settings))


@app.command()
@user_errors()
def throughput(
    model: Annotated[str, typer.Argument(help="Folder or Hub id; or base, large, huge: random weights of this shape.")],
    videos: Annotated[list[str], typer.Argument(help="Videos, or folders of videos.")],
    repeat: Annotated[int, typer.Option(help="Times that each video is taken.", min=1)] = 1,
    rounds: Annotated[int, typer.Option(help="Measurements of each, in turn.", min=1)] = 3,
    batch_size: Annotated[int, typer.Option(help="Clips computed together, at most.", min=1)] = 8,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens computed together, at most.", min=1)] = None,
    decoders: Annotated[
        int | None, typer.Option("--workers", help="Decoding processes. Default: one for each of their cores.", min=1)
    ] = None,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    output_dir: OutputDir = OUTPUT_DIR,
) -> None:
    """Videos per second of `hf-rlt predict`, beside decoding alone and the model alone. Nothing else may run meanwhile."""
    from hf_rlt.inference import Options

    from .throughput import measure, open_shape_or_model

    files = [Path(video) for video in find(videos)]
    network, processor = open_shape_or_model(model, bf16)
    options = Options(batch_size=batch_size, max_tokens=max_tokens, workers=decoders)
    settings, rows = measure(network, processor, files, options, repeat, rounds, say)
    show(save(output_dir, "throughput", rows, {"model": model, **settings}))


def _fine_tuning(kind: str, text: str) -> None:
    """Adds the command for a kind of fine-tuning table."""

    @app.command(kind, help=text, context_settings={"allow_extra_args": True})
    @user_errors()
    def command(
        context: typer.Context,
        train: Annotated[Path | None, typer.Option(help="Folder or annotation file; the digits if not given.")] = None,
        validation: Annotated[Path | None, typer.Option(help="The same; part of --train if not given.")] = None,
        video_dir: VideoDir = None,
        model: Annotated[str | None, typer.Option(help="To start from; a small one from scratch if not given.")] = None,
        variants: Annotated[str | None, typer.Option(help="Only these, with commas between.")] = None,
        seeds: Annotated[str, typer.Option(help="With commas between.")] = "0,1,2",
        threshold: Annotated[float, typer.Option(help="RLT's threshold.", min=0)] = 0.1,
        random_ratio: Annotated[
            float | None, typer.Option(help="Tokens random masking keeps; as RLT if not given.")
        ] = None,
        tome_r: Annotated[
            int | None,
            typer.Option(help="Tokens ToMe merges in each block; to leave as many as RLT if not given.", min=0),
        ] = None,
        max_steps: Annotated[int | None, typer.Option(help="Instead of the epochs.", min=1)] = None,
        train_clips: Annotated[int, typer.Option(help="Of the digits.", min=8)] = 6400,
        validation_clips: Annotated[int, typer.Option(help="Of the digits.", min=8)] = 320,
        time: Annotated[bool, typer.Option("--time", help="Measure seconds per step; nothing else may run.")] = False,
        time_steps: Annotated[int, typer.Option(help="Steps of each timing.", min=1)] = 60,
        time_rounds: Annotated[int, typer.Option(help="Timings of each variant, in turn.", min=1)] = 3,
        script: Annotated[Path | None, typer.Option(help="The training script; the checkout's if not given.")] = None,
        launch: Annotated[str | None, typer.Option(help='Such as "accelerate launch --config_file FILE".')] = None,
        output_dir: OutputDir = OUTPUT_DIR,
    ) -> None:
        from . import finetune_command as run

        digits = (train_clips, validation_clips) if train is None else None
        data = run.Data(train, validation, video_dir, model, digits)
        chosen = run.choose(kind, variants, seeds)
        asked = run.Asked(kind, *chosen, threshold, random_ratio, tome_r, max_steps, tuple(context.args))
        job = run.make_job(asked, data, script, launch, output_dir, say)
        if time:
            run.measure(job, asked, time_steps, time_rounds, say)
        else:
            run.train(job, asked.variants, asked.seeds, say)
        show(run.collect(job, asked, data, output_dir))


_fine_tuning(
    "finetune", "Fine-tune dense, with ToMe, random masking and RLT: accuracy and time. After --: the script's own."
)
_fine_tuning("ablation", "RLT with and without random masking and length embedding. After --: the script's own.")


def say(line: str) -> None:
    """Returns nothing; prints what is being done, apart from the result."""
    typer.echo(line, err=True)


def show(file: Path, output_dir: Path | None = None) -> None:
    """Returns nothing; writes the Markdown and pictures of a record beside it, and prints the table."""
    text, written = reports.write(file, output_dir)
    typer.echo(text)
    typer.echo("Written: " + ", ".join(str(path) for path in written))
