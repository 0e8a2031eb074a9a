# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""What the rendered sets share: pictures to render from, and a folder that is there complete or not at all."""

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from PIL import Image

from ..errors import HfRltError
from ..jobs.atomic import atomic_dir

SPLITS = ("train", "validation")
SETTINGS_FILE = "settings.json"
NOISE = 1.5  # standard deviation of the sensor noise, in grey levels; RLT's default threshold is about 5.7


@dataclass(frozen=True)
class RenderSettings(ABC):
    """What to render; the same settings always give the same pixels."""

    train_clips: int  # spread evenly over the classes
    validation_clips: int
    frames: int  # per clip
    side: int = 64  # width and height of a frame, even
    seed: int = 0

    set_name: ClassVar[str]
    classes: ClassVar[tuple[str, ...]]
    format: ClassVar[int]  # to be raised when the same settings render other pixels
    rate: ClassVar[int]  # frames per second

    def __post_init__(self) -> None:
        few = min(self.train_clips, self.validation_clips) < len(self.classes) or self.frames < 2
        if few or self.side < 32 or self.side % 2:  # H.264 wants an even one
            least = f"Expected at least {len(self.classes)} clips, 2 frames and an even side from 32 on"
            raise HfRltError(f"{least}, received {self}.")

    @abstractmethod
    def clip(self, name: str, split: str, index: int) -> np.ndarray:
        """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""

    @property
    def title(self) -> str:
        """The name of the set, also of its folder."""
        return "digits" if self.set_name == "standard" else f"digits-{self.set_name}"

    def signature(self) -> dict:
        """Return what the pixels depend on."""
        own = {} if self.set_name == "standard" else {"set": self.set_name}
        return {**own, "format": self.format, "classes": list(self.classes), **asdict(self)}


def cache_folder() -> Path:
    """Return the user's cache folder of this package: `~/.cache/hf_rlt` unless XDG_CACHE_HOME is set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hf_rlt"


def render_set(
    folder: str | Path | None, settings: RenderSettings, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Render `train/CLASS/*.mp4` and `validation/CLASS/*.mp4` unless they are there already; return the folder.

    Without a folder, the set goes to `cache_folder()`. An interrupted run leaves nothing half done. `progress` is called
    with (clips written, clips in all).

    Raises:
        HfRltError: if the folder holds something else, or scikit-learn is missing.
    """
    folder = Path(folder or cache_folder() / settings.title)
    if _is_complete(folder, settings):
        return folder
    if folder.exists() and any(folder.iterdir()) and _set_in(folder) != settings.set_name:
        expected = f"expected an empty folder or the rendered set {settings.set_name!r}"
        raise HfRltError(f"{folder}: {expected}, found other files: pass another folder.")
    try:
        with atomic_dir(folder) as draft:
            _render_all(draft, settings, progress)
            (draft / SETTINGS_FILE).write_text(json.dumps(settings.signature(), indent=2) + "\n")
            if _is_complete(folder, settings):
                raise FileExistsError(folder)
    except OSError:
        if not _is_complete(folder, settings):  # else another process was faster
            raise
    return folder


def _read_signature(folder: Path) -> dict | None:
    try:
        return json.loads((folder / SETTINGS_FILE).read_text())
    except (OSError, ValueError):
        return None


def _is_complete(folder: Path, settings: RenderSettings) -> bool:
    return _read_signature(folder) == settings.signature()


def _set_in(folder: Path) -> str | None:
    """Return the name of the set in a folder, None if there is none."""
    found = _read_signature(folder)
    return found.get("set", "standard") if isinstance(found, dict) and "classes" in found else None


def _render_all(folder: Path, settings: RenderSettings, progress: Callable[[int, int], None] | None) -> None:
    counts = (settings.train_clips, settings.validation_clips)
    clips = [(split, index) for split, number in zip(SPLITS, counts, strict=True) for index in range(number)]
    for done, (split, index) in enumerate(clips, start=1):
        name = settings.classes[index % len(settings.classes)]
        path = folder / split / name / f"{index:05d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, settings.clip(name, split, index), settings.rate)
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


def place(digit: Image.Image, side: int, size: float, angle: float, shift_x: float, shift_y: float) -> Image.Image:
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


def digit_image(split: str, rng: np.random.Generator) -> Image.Image:
    """Return a handwritten digit, 48 x 48 pixels with an empty border; the last fifth of them is for validation."""
    images, _ = _sources()
    limit = len(images) * 4 // 5
    chosen = images[rng.integers(0, limit) if split == "train" else rng.integers(limit, len(images))]
    image = Image.fromarray((chosen / chosen.max() * 255).astype(np.uint8)).resize((40, 40), Image.Resampling.BICUBIC)
    framed = Image.new("L", (48, 48))  # an empty border: bilinear sampling fades out instead of cutting off
    framed.paste(image, (4, 4))
    return framed


def background(split: str, side: int, rng: np.random.Generator, width: int | None = None) -> np.ndarray:
    """Return a dimmed crop `(side, width or side, 3)` float32 of a photograph; the right third is for validation."""
    photo, width = _sources()[1][rng.integers(0, 2)], width or side
    border = photo.width * 2 // 3
    left, right = (0, border) if split == "train" else (border, photo.width)
    rows = int(rng.integers(side, min(2 * side, (right - left) * side // width, photo.height) + 1))
    columns = rows * width // side
    x, y = int(rng.integers(left, right - columns + 1)), int(rng.integers(0, photo.height - rows + 1))
    crop = photo.resize((width, side), Image.Resampling.BOX, box=(x, y, x + columns, y + rows))
    return np.asarray(crop, np.float32) * np.float32(0.5)
