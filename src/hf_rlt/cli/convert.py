# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""`hf-rlt convert`: from a VideoMAE checkpoint in any layout to an RLT-VideoMAE folder."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..data.text_files import json_name
from ..errors import HfRltError, printable
from .console import spinner
from .options import finite

if TYPE_CHECKING:
    from ..conversion import Conversion


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="VideoMAE or RLT-VideoMAE folder or Hub id; or a file: VideoMAE's or VideoMAEv2's .pth, RLT's .ckpt, or "
            ".safetensors with their weights."
        ),
    ],
    out: Annotated[str, typer.Argument(help="Folder to write: new or empty.")],
    labels: Annotated[
        str | None, typer.Option(help="File with the class names: one a line, or JSON. Default: the source's own.")
    ] = None,
    threshold: Annotated[
        str, typer.Option(help="A number, none (dense), or model: the source's own, 0.1 where it has none.")
    ] = "model",
    num_frames: Annotated[
        int | None, typer.Option(help="Frames of a clip in training. Default: what the source tells, or 16.", min=1)
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels of a clip's side. Default: what the source tells, or 224.", min=1)
    ] = None,
    num_attention_heads: Annotated[
        int | None, typer.Option(help="For widths that no published VideoMAE has.", min=1)
    ] = None,
    frame_stride: Annotated[
        int | None, typer.Option(help="Distance of a clip's frames. Default: the source's own, or 4.", min=1)
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(help="clip (strided) or uniform (over the whole video). Default: the source's own.")
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="mean or first token, for pre-trained sources. Default: the source's own.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16. Default: the source's own.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in OUT; other files there stay.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Convert SOURCE to an RLT-VideoMAE folder OUT, check it against the source, and say what was done.

    Files are read without running code in them. Nothing is written unless every weight found its place.
    """
    from ..conversion import ConversionSettings
    from ..conversion import convert as run

    settings = ConversionSettings(
        labels=labels,
        num_frames=num_frames,
        image_size=image_size,
        num_attention_heads=num_attention_heads,
        threshold=_threshold(threshold),
        frame_stride=frame_stride,
        sampling=sampling,
        pooling=pooling,
        dtype=dtype,
    )
    with spinner(Console(stderr=True)) as line:
        task = line.add_task("", total=None)
        done = run(source, out, settings, overwrite, lambda step: line.update(task, description=step))
    names = {"source": json_name(done.source), "out": json_name(done.out)}
    print(json.dumps({**done.to_dict(), **names}, indent=2)) if as_json else _show(done)


def _threshold(text: str) -> float | str | None:
    if text.lower() == "none":
        return None
    try:
        return text if text == "model" else finite(float(text))
    except ValueError:
        raise HfRltError(f"--threshold: expected a number, none or model, received {text!r}.") from None


def _show(done: "Conversion") -> None:
    shape = done.config
    table = Table(show_header=False, box=None)
    table.add_row("Source", printable(f"{done.source}: {done.kind}"))
    table.add_row(
        "Written",
        f"{printable(done.out)}: {done.architecture}, {done.parameters / 1e6:,.1f} M parameters, {done.dtype}",
    )
    table.add_row(
        "Shape",
        f"{shape['num_hidden_layers']} blocks of width {shape['hidden_size']}, {shape['num_attention_heads']} heads; "
        f"{shape['num_frames']} frames of {shape['image_size']} pixels, tubelets of {shape['tubelet_size']} frames of "
        f"{shape['patch_size']} pixels",
    )
    table.add_row("Classes", "none: fine-tune it first" if done.num_labels is None else str(done.num_labels))
    table.add_row("Threshold", "none (dense)" if done.threshold is None else f"{done.threshold:g}")
    for name, lines in (("Note", done.notes), ("Checked", done.checks)):
        for line in lines:
            table.add_row(name, printable(line))
    Console(markup=False).print(table)
