# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""A harder rendered set: what happens is brief, blinks, drifts slower than the threshold sees, or the camera pans."""

import colorsys
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from .rendered import NOISE, SPLITS, RenderSettings, background, digit_image, place

GROUPS = {
    "brief": (
        *("darts_down", "darts_down_left", "darts_left", "darts_right", "darts_up", "darts_up_right"),
        *("shakes", "waits", "wanders"),
    ),
    "drift": ("brightens", "darkens", "stays"),
    "flicker": ("blinks_once", "blinks_twice", "flickers", "switches"),
    "pan": ("pans_left_following", "pans_left_passing", "pans_right_following", "pans_right_passing"),
}
CLASSES = tuple(sorted(name for names in GROUPS.values() for name in names))
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}
FADES = {"brightens": 1, "darkens": -1, "stays": 0}
PAN = 0.9  # fastest pan, in pixels per frame
PATCH = 8
WAY = 3 * PATCH  # how far a digit darts, and shakes to each side, in pixels
QUIET = 5  # frames before anything happens, so that the first tubelet never tells
FADE = 23  # grey levels: a sixth from one tubelet to the next; the default threshold is 5.7


@dataclass(frozen=True)
class HardDigitsSettings(RenderSettings):
    """The hard set: 20 classes at 50 frames per second."""

    train_clips: int = 3000
    validation_clips: int = 400
    frames: int = 64

    set_name, classes, format, rate = "hard", CLASSES, 1, 50

    def clip(self, name: str, split: str, index: int) -> np.ndarray:
        """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""
        return render_clip(name, split, index, self)


@dataclass
class Thing:
    """A picture on its way: where it is, how large and how bright in each frame."""

    picture: Image.Image
    colour: np.ndarray  # (3,) grey levels
    size: float  # pixels
    x: np.ndarray  # (F,) pixels, as y; what leaves on one side returns on the other
    y: np.ndarray
    alpha: np.ndarray  # (F,)
    _drawn: tuple = (None, None, None)  # mask `(box, box, 1)` and the part of a pixel that it was drawn for

    def draw(self, frame: np.ndarray, t: int) -> None:
        """Draw the thing into a `(H, W, 3)` float32 frame."""
        side, box = len(frame), 2 * math.ceil(self.size / 2) + 2
        x, y = self.x[t] % side, self.y[t] % side
        if (x % 1, y % 1) != self._drawn[:2]:
            picture = place(self.picture, box, self.size, 0, x % 1, y % 1)
            self._drawn = (x % 1, y % 1, np.asarray(picture, np.float32)[..., None] / 255)
        here = np.ix_(*((int(at) - box // 2 + np.arange(box)) % side for at in (y, x)))
        below = frame[here]
        frame[here] = below + (self.colour - below) * (self._drawn[2] * np.float32(self.alpha[t]))

    def state(self, t: int) -> tuple[float, float, float]:
        """Return what its picture depends on in frame `t`."""
        return self.x[t], self.y[t], self.alpha[t]


def render_clip(name: str, split: str, index: int, settings: HardDigitsSettings | None = None) -> np.ndarray:
    """Render `(F, H, W, 3)` uint8 frames of one clip of class `name`, a function of the arguments only."""
    settings = settings or HardDigitsSettings()
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    side, group, time = settings.side, GROUP_OF[name], np.arange(settings.frames)
    x, y = rng.uniform(0, side, 2)
    if group in ("brief", "flicker"):
        # In the middle of a patch, to which its moves lead as well: easier, and tells nothing.
        x, y = x // PATCH * PATCH + PATCH / 2, y // PATCH * PATCH + PATCH / 2
    pan = time * (rng.uniform(0.6, 1) * PAN * {"pans_l": -1, "pans_r": 1}.get(name[:6], 0))
    things = [_distractor(x, y, pan, side, rng)]
    light = _drift(name, x, y, settings, rng) if group == "drift" else None
    if light is None:
        things.append(_digit(name, split, x, y, pan, side, rng))
    room = int(np.ceil(settings.frames * PAN)) + 1
    scene = background(split, side, rng, side + room).mean(2, keepdims=True)
    scene = 60 + 0.5 * scene if light is None else 40 + 0.2 * scene
    offset = pan - pan.min()
    frames = np.empty((settings.frames, side, side, 3), np.uint8)
    before: tuple | None = None
    for t in range(settings.frames):
        state = (offset[t], *(thing.state(t) for thing in things))
        if state != before:  # most of the time nothing changes but the noise
            left, part = int(offset[t]), np.float32(offset[t] % 1)
            window = scene[:, left : left + side] * (1 - part) + scene[:, left + 1 : left + 1 + side] * part
            clean, before = np.repeat(window, 3, axis=2), state
            for thing in things:
                thing.draw(clean, t)
        row, column = rng.integers(0, 256, 2)
        frame = clean + _noise(side)[row : row + side, column : column + side]
        if light is not None:
            frame += light[t]
        frames[t] = np.clip(frame, 0, 255, out=frame)
    return frames


@cache
def _noise(side: int) -> np.ndarray:
    """Draw the sensor noise of which each frame gets a piece: to draw it anew would take as long as all the rest."""
    shape = (256 + side, 256 + side, 3)
    return np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(NOISE) + np.float32(0.5)


def _digit(name: str, split: str, x: float, y: float, pan: np.ndarray, side: int, rng: np.random.Generator) -> Thing:
    """Make the coloured digit of a class that does not drift."""
    time, still = np.arange(len(pan)), np.zeros(len(pan))
    length = int(rng.integers(16, 23) if GROUP_OF[name] == "brief" else rng.integers(12, 17))
    first, second = _pulses(len(pan), length, rng)
    once = first if rng.integers(0, 2) else second
    shake = once * rng.choice([-1, 1]) * np.where(once.cumsum() > length / 2, -1, 1)
    dart, wander = once.cumsum() / length, 2 * WAY * time / len(pan) * np.exp(1j * rng.uniform(0, 2 * np.pi))
    right, down = {
        "darts_down": (still, WAY * dart),
        "darts_down_left": (-WAY * dart, WAY * dart),
        "darts_left": (-WAY * dart, still),
        "darts_right": (WAY * dart, still),
        "darts_up": (still, -WAY * dart),
        "darts_up_right": (WAY * dart, -WAY * dart),
        "shakes": (WAY * shake, still),
        "wanders": (wander.real, wander.imag),
    }.get(name, (still, still))
    flash = {
        "blinks_once": once,
        "blinks_twice": first + second,
        "flickers": np.floor(time / rng.uniform(6, 8) + rng.uniform(0, 2)),
        "switches": (once.cumsum() > 0).astype(float),
    }.get(name, still)
    darkest, size = 0.2 if GROUP_OF[name] == "flicker" else 0.7, rng.uniform(26, 34)
    level = (rng.integers(0, 2) + flash) % 2 if GROUP_OF[name] == "flicker" else rng.uniform(0, 1)
    alpha = darkest + (1 - darkest) * level + still
    picture, colour = digit_image(split, rng), _colour(rng)
    return Thing(picture, colour, size, x + right - pan * name.endswith("_passing"), y + down, alpha)


def _pulses(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Draw two pulses `(2, F)` of 0 and 1, one in each half of the clip, with 7 frames or more between them."""
    time, half = np.arange(count), count // 2
    latest = max(half - length - 3, QUIET + 1)
    starts = rng.integers(QUIET, latest), half + rng.integers(3, max(half - length - 2, 4))
    return np.array([(time >= start) & (time < start + length) for start in starts]).astype(float)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour that is not grey."""
    return np.array(colorsys.hsv_to_rgb(rng.uniform(0, 0.15), rng.uniform(0.8, 1), 1), np.float32) * 240


def _distractor(x: float, y: float, pan: np.ndarray, side: int, rng: np.random.Generator) -> Thing:
    """Make a grey shape that waits, moves, hops or flickers, in a column or a row far from what counts."""
    count, time = len(pan), np.arange(len(pan))
    along, alpha = np.full(count, rng.uniform(0, side)), np.full(count, rng.uniform(0.5, 1))
    kind = rng.integers(0, 4)
    if kind == 1:
        along += time * rng.uniform(0.3, 0.8) * rng.choice([-1, 1])
    elif kind == 2:
        along += rng.uniform(5, 8) * rng.choice([-1, 1]) * _pulses(count, int(rng.integers(5, 13)), rng)[0]
    elif kind == 3:
        alpha *= 0.4 + 0.6 * (np.floor(time / rng.uniform(6, 18) + rng.uniform(0, 2)) % 2)
    across = side / 2 + rng.uniform(-4, 4)
    at = (across + x + 0 * along, along) if rng.integers(0, 2) else (along, across + y + 0 * along)
    colour = np.full(3, rng.choice([20, 200]) + rng.uniform(-20, 20), np.float32)
    return Thing(_shape(rng), colour, rng.uniform(12, 18), at[0] - pan, at[1], alpha)


def _shape(rng: np.random.Generator) -> Image.Image:
    """Draw a disc, a ring, a square or a triangle, in 48 x 48 pixels with an empty border as digits have it."""
    image = Image.new("L", (48, 48))
    pen, box = ImageDraw.Draw(image), (6, 6, 41, 41)
    kind = rng.integers(0, 4)
    if kind == 0:
        pen.ellipse(box, fill=255)
    elif kind == 1:
        pen.ellipse(box, outline=255, width=8)
    elif kind == 2:
        pen.rectangle(box, fill=255)
    else:
        pen.polygon([(24, 5), (43, 41), (5, 41)], fill=255)
    return image


def _drift(name: str, x: float, y: float, settings: HardDigitsSettings, rng: np.random.Generator) -> np.ndarray:
    """Make the light `(F, H, W, 1)` of a soft ball that brightens by `FADE` in all, darkens or stays as it is."""
    grid = np.arange(settings.side, dtype=np.float32)
    right, down = ((grid - at + settings.side / 2) % settings.side - settings.side / 2 for at in (x, y))
    edge = np.clip((23 - np.hypot(right[None, :], down[:, None])) / 21, 0, 1)
    ramp = np.maximum(np.arange(settings.frames) - QUIET, 0) / max(settings.frames - QUIET, 1)
    strength = rng.uniform(40, 160) + FADES[name] * FADE * ramp
    return strength[:, None, None, None] * (edge * edge * (3 - 2 * edge))[..., None]
