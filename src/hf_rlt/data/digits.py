# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A small labelled video set, rendered once: handwritten digits that move, turn, grow or wait over real photographs.

The label is what happens, which no single frame shows: position, size and angle are periodic (a digit that leaves on the
left returns on the right), so in each frame they have the same uniform distribution in every class. `waits_short` and
`waits_long` differ only in how long the digit stands still, which is a run length.

Digits (`load_digits`, from the UCI handwritten digits) and photographs (`load_sample_images`) come with scikit-learn:
nothing is fetched. Training and validation share no digit image and no background pixel.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ..errors import HfRltError
from ..jobs.atomic import atomic_dir

CLASSES = ("grows", "moves_left", "moves_right", "shrinks", "stays", "turns", "waits_long", "waits_short")
SPLITS = ("train", "validation")
SETTINGS_FILE = "settings.json"
FORMAT = 1  # raise it when the same settings render other pixels
SMALLEST, LARGEST = 18.0, 30.0  # side of a digit, in pixels
NOISE = 1.5  # standard deviation of the sensor noise, in grey levels; RLT's default threshold is about 5.7


@dataclass(frozen=True)
class DigitsSettings:
    """What to render; the same settings always give the same pixels."""

    train_clips: int = 1600  # spread evenly over the classes
    validation_clips: int = 320
    frames: int = 32  # per clip, at 25 fps
    side: int = 64  # width and height of a frame, even
    seed: int = 0

    def __post_init__(self) -> None:
        few = min(self.train_clips, self.validation_clips) < len(CLASSES) or self.frames < 2
        if few or self.side < 32 or self.side % 2:  # H.264 wants an even one
            raise HfRltError(f"Expected at least 8 clips, 2 frames and an even side from 32 on, received {self}.")


def default_folder() -> Path:
    """Return the user's cache folder for the rendered set: `~/.cache/hf_rlt/digits` unless XDG_CACHE_HOME is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf_rlt" / "digits"


def render_digits(
    folder: str | Path | None = None,
    settings: DigitsSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render `train/CLASS/*.mp4` and `validation/CLASS/*.mp4` unless they are there already; return the folder.

    An interrupted run leaves nothing half done. `progress` is called with (clips written, clips in all).

    Raises:
        HfRltError: if the folder holds something else, or scikit-learn is missing.
    """
    folder, settings = Path(folder or default_folder()), settings or DigitsSettings()
    if _is_complete(folder, settings):
        return folder
    if folder.exists() and any(folder.iterdir()) and not (folder / SETTINGS_FILE).is_file():
        raise HfRltError(
            f"{folder}: expected an empty folder or rendered digits, found other files: pass another folder."
        )
    try:
        with atomic_dir(folder) as draft:
            _render_all(draft, settings, progress)
            (draft / SETTINGS_FILE).write_text(json.dumps(_signature(settings), indent=2) + "\n")
            if _is_complete(folder, settings):
                raise FileExistsError(folder)
    except OSError:
        if not _is_complete(folder, settings):  # else another process was faster
            raise
    return folder


def _is_complete(folder: Path, settings: DigitsSettings) -> bool:
    try:
        return json.loads((folder / SETTINGS_FILE).read_text()) == _signature(settings)
    except (OSError, ValueError):
        return False


def _signature(settings: DigitsSettings) -> dict:
    return {"format": FORMAT, "classes": list(CLASSES), **asdict(settings)}


def _render_all(folder: Path, settings: DigitsSettings, progress: Callable[[int, int], None] | None) -> None:
    counts = (settings.train_clips, settings.validation_clips)
    clips = [(split, index) for split, number in zip(SPLITS, counts, strict=True) for index in range(number)]
    for done, (split, index) in enumerate(clips, start=1):
        name = CLASSES[index % len(CLASSES)]
        path = folder / split / name / f"{index:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, render_clip(name, split, index, settings))
        if progress is not None:
            progress(done, len(clips))


def write_video(path: str | Path, frames: np.ndarray, rate: int = 25) -> None:
    """Write `(F, H, W, 3)` uint8 frames as H.264, on one thread so the bytes are reproducible."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=rate, options={"preset": "ultrafast", "crf": "18", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def render_clip(name: str, split: str, index: int, settings: DigitsSettings | None = None) -> np.ndarray:
    """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""
    settings = settings or DigitsSettings()
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    side, half = settings.side, settings.side // 2
    background = _background(split, side, rng)
    digit = _digit(split, rng)
    colour = rng.uniform(200, 255, 3).astype(np.float32)
    x, y, sizes, angles = _path(name, settings, rng)
    frames = np.empty((settings.frames, side, side, 3), np.uint8)
    for t in range(settings.frames):
        centred = np.asarray(_place(digit, side, sizes[t], angles[t], x[t] % 1, y[t] % 1), np.float32) / 255
        alpha = np.roll(centred, (int(y[t]) - half, int(x[t]) - half), (0, 1))[..., None]
        noise = rng.standard_normal(background.shape, np.float32) * np.float32(NOISE)
        frames[t] = np.clip(background + (colour - background) * alpha + noise + np.float32(0.5), 0, 255)
    return frames


def _path(name: str, settings: DigitsSettings, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return x, y, size and angle of the digit in each frame; every class draws the same numbers in the same order."""
    time = np.arange(settings.frames, dtype=np.float64)
    still = np.zeros_like(time)
    start_x, start_y = rng.uniform(0, settings.side, 2)
    size_phase, angle = rng.uniform(0, 1), rng.uniform(0, 360)
    pixels, turn, growth = rng.uniform(0.8, 1.4), rng.uniform(6, 10), rng.uniform(0.025, 0.035)
    wait = settings.frames * (rng.uniform(0.12, 0.22) if name == "waits_short" else rng.uniform(0.55, 0.65))
    wait_start = rng.uniform(0.1, 0.9) * (settings.frames - wait)
    moved = np.minimum(time, wait_start) + np.maximum(time - wait_start - wait, 0)
    either_way = rng.choice([-1.0, 1.0])
    x, y, phase, turned = {
        "grows": (still, still, time * growth, still),
        "shrinks": (still, still, -time * growth, still),
        "moves_left": (-time * pixels, still, still, still),
        "moves_right": (time * pixels, still, still, still),
        "stays": (still, still, still, still),
        "turns": (still, still, still, time * turn * either_way),
        "waits_short": (still, moved * pixels * either_way, still, still),
        "waits_long": (still, moved * pixels * either_way, still, still),
    }[name]
    sizes = SMALLEST * (LARGEST / SMALLEST) ** ((size_phase + phase) % 1)
    return (start_x + x) % settings.side, (start_y + y) % settings.side, sizes, angle + turned


def _place(digit: Image.Image, side: int, size: float, angle: float, shift_x: float, shift_y: float) -> Image.Image:
    """Draw the digit at the centre of a `side` square, turned clockwise by `angle` degrees, and shifted."""
    scale, radians, middle = digit.width / size, math.radians(angle), digit.width / 2
    cos, sin = math.cos(radians) * scale, math.sin(radians) * scale
    x, y = side // 2 + shift_x, side // 2 + shift_y
    matrix = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    return digit.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


@cache
def _sources() -> tuple[np.ndarray, list[Image.Image]]:
    try:
        from sklearn.datasets import load_digits, load_sample_images
    except ImportError as error:
        raise HfRltError("The digits come from scikit-learn: install it with `pip install hf_rlt[train]`.") from error
    return load_digits().images, [Image.fromarray(image) for image in load_sample_images().images]


def _digit(split: str, rng: np.random.Generator) -> Image.Image:
    images, _ = _sources()
    limit = len(images) * 4 // 5
    chosen = images[rng.integers(0, limit) if split == "train" else rng.integers(limit, len(images))]
    image = Image.fromarray((chosen / chosen.max() * 255).astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
    framed = Image.new("L", (48, 48))  # an empty border: bilinear sampling fades out instead of cutting off
    framed.paste(image, (4, 4))
    return framed


def _background(split: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a dimmed crop `(side, side, 3)` float32 of a photograph; the right third is for validation."""
    photo = _sources()[1][rng.integers(0, 2)]
    border = photo.width * 2 // 3
    left, right = (0, border) if split == "train" else (border, photo.width)
    width = int(rng.integers(side, min(2 * side, right - left, photo.height) + 1))
    x, y = int(rng.integers(left, right - width + 1)), int(rng.integers(0, photo.height - width + 1))
    crop = photo.resize((side, side), Image.Resampling.BOX, box=(x, y, x + width, y + width))
    return np.asarray(crop, np.float32) * np.float32(0.5)
