# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A small labelled video set, rendered once: handwritten digits that move, turn, grow or wait over real photographs.

The label is what happens, which no single frame shows: position, size and angle are periodic (a digit that leaves on the
left returns on the right), so in each frame they have the same uniform distribution in every class. `waits_short` and
`waits_long` differ only in how long the digit stands still, which is a run length.

Digits (`load_digits`, from the UCI handwritten digits) and photographs (`load_sample_images`) come with scikit-learn:
nothing is fetched. Training and validation share no digit image and no background pixel.
"""

from dataclasses import dataclass

import numpy as np

from .rendered import NOISE, SPLITS, RenderSettings, background, digit_image, place

CLASSES = ("grows", "moves_left", "moves_right", "shrinks", "stays", "turns", "waits_long", "waits_short")
SMALLEST, LARGEST = 18.0, 30.0  # side of a digit, in pixels


@dataclass(frozen=True)
class DigitsSettings(RenderSettings):
    """The standard set: 8 classes at 25 frames per second."""

    train_clips: int = 1600
    validation_clips: int = 320
    frames: int = 32

    set_name, classes, format, rate = "standard", CLASSES, 1, 25

    def clip(self, name: str, split: str, index: int) -> np.ndarray:
        """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""
        return render_clip(name, split, index, self)


def render_clip(name: str, split: str, index: int, settings: DigitsSettings | None = None) -> np.ndarray:
    """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""
    settings = settings or DigitsSettings()
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    side, half = settings.side, settings.side // 2
    scene = background(split, side, rng)
    digit = digit_image(split, rng)
    colour = rng.uniform(200, 255, 3).astype(np.float32)
    x, y, sizes, angles = _path(name, settings, rng)
    frames = np.empty((settings.frames, side, side, 3), np.uint8)
    for t in range(settings.frames):
        centred = np.asarray(place(digit, side, sizes[t], angles[t], x[t] % 1, y[t] % 1), np.float32) / 255
        alpha = np.roll(centred, (int(y[t]) - half, int(x[t]) - half), (0, 1))[..., None]
        noise = rng.standard_normal(scene.shape, np.float32) * np.float32(NOISE)
        frames[t] = np.clip(scene + (colour - scene) * alpha + noise + np.float32(0.5), 0, 255)
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
