# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt convert`: checkpoints of VideoMAE and V-JEPA 2 to RLT folders."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import printable
from .console import spinner
from .options import AsJson, FrameStride, RuleOptions, Threshold

if TYPE_CHECKING:
    from ..conversion import Conversion

SOURCE_HELP = (
    "Folder or Hub id of VideoMAE or V-JEPA 2, with or without RLT, or a file of original weights (.pth, .pt, .ckpt, "
    ".safetensors)."
)


def convert(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to write. Must be new or empty.")],
    labels: Annotated[str | None, typer.Option(help="File with the class names: one per line, or JSON.")] = None,
    threshold: Threshold = "model",
    num_frames: Annotated[int | None, typer.Option(help="Frames per clip in training, if unknown.", min=1)] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of a frame in training, if unknown.", min=1)] = None,
    num_attention_heads: Annotated[int | None, typer.Option(help="Needed for unusual widths only.", min=1)] = None,
    frame_stride: FrameStride = None,
    sampling: Annotated[str | None, typer.Option(help='"clip" (strided) or "uniform" (over the whole video).')] = None,
    pooling: Annotated[str | None, typer.Option(help='"mean" or "first" token, for pre-trained sources.')] = None,
    probe: Annotated[str | None, typer.Option(help="Meta's attentive probe for an original V-JEPA 2 encoder.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16. Default: the source's own.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the output folder.")] = False,
    as_json: AsJson = False,
    *,
    rule: RuleOptions,
) -> None:
    """Convert a checkpoint to an RLT folder and check it against its source.

    No code in the source is run. Nothing is written unless every weight found its place.
    """
    from .. import conversion
    from ..data.text_files import json_name

    settings = conversion.ConversionSettings(
        labels=labels,
        num_frames=num_frames,
        image_size=image_size,
        num_attention_heads=num_attention_heads,
        rule=rule.changes(threshold),
        frame_stride=frame_stride,
        sampling=sampling,
        pooling=pooling,
        dtype=dtype,
        probe=probe,
    )
    with spinner(Console(stderr=True)) as line:
        task = line.add_task("", total=None)
        done = conversion.convert(source, output, settings, overwrite, lambda step: line.update(task, description=step))
    if as_json:
        names = {"source": json_name(done.source), "out": json_name(done.out)}
        typer.echo(json.dumps({**asdict(done), **names}, indent=2))
    else:
        _print_table(done)


def _print_table(done: "Conversion") -> None:
    table = Table(show_header=False, box=None)
    rows = [
        ("Source", f"{done.source}: {done.kind}"),
        ("Written", f"{done.out}: {done.architecture}, {done.parameters / 1e6:,.1f} M parameters, {done.dtype}"),
        (
            "Shape",
            "{num_hidden_layers} blocks of width {hidden_size}, {num_attention_heads} heads; {num_frames} frames of "
            "{image_size} pixels, tubelets of {tubelet_size} frames of {patch_size} pixels".format(**done.config),
        ),
        ("Classes", "none: fine-tune it first" if done.num_labels is None else str(done.num_labels)),
        ("Tokens", done.rule),
        *(("Note", note) for note in done.notes),
        *(("Checked", check) for check in done.checks),
    ]
    for name, text in rows:
        table.add_row(name, printable(text))
    Console(markup=False).print(table)
