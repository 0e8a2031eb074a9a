# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""V-JEPA 2 checkpoints as Meta writes them, and what such models compute: literal and in float64.

Written from the definitions in facebookresearch/vjepa2, src/models: vision_transformer.py, predictor.py, attentive_pooler.py
and utils/modules.py. Nothing here knows how hf_rlt calls anything.
"""

import math

import torch
from torch import Tensor

from .reference_layouts import gelu, layer_norm, random_weights, tubelets

WIDTH, HEADS, DEPTH, HIDDEN, PATCH = 128, 16, 2, 320, 8  # heads of 8: 3 x 2 channels are rotated, 2 are not
PRED_WIDTH, PRED_HEADS, PRED_DEPTH, MASKS, CLASSES = 384, 12, 1, 12, 5


def block_shapes(block: str, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }.items():
        found |= {f"{block}.{name}.weight": (rows, columns), f"{block}.{name}.bias": (rows,)}
    norms = {f"{block}.{name}.{part}": (width,) for name in ("norm1", "norm2") for part in ("weight", "bias")}
    return found | norms


def encoder(seed: int = 0) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (WIDTH, 3, 2, PATCH, PATCH)}
    shapes |= {"patch_embed.proj.bias": (WIDTH,), "norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    for i in range(DEPTH):
        shapes |= block_shapes(f"blocks.{i}", WIDTH, HIDDEN)
    return random_weights(shapes, seed)


def predictor(seed: int = 1) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "predictor_embed.weight": (PRED_WIDTH, WIDTH),
        "predictor_embed.bias": (PRED_WIDTH,),
    }
    shapes |= {f"mask_tokens.{i}": (1, 1, PRED_WIDTH) for i in range(MASKS)}
    shapes |= {"predictor_norm.weight": (PRED_WIDTH,), "predictor_norm.bias": (PRED_WIDTH,)}
    shapes |= {"predictor_proj.weight": (WIDTH, PRED_WIDTH), "predictor_proj.bias": (WIDTH,)}
    for i in range(PRED_DEPTH):
        shapes |= block_shapes(f"predictor_blocks.{i}", PRED_WIDTH, 4 * PRED_WIDTH)
    return random_weights(shapes, seed)


def probe(blocks: int = 2, seed: int = 2) -> dict[str, Tensor]:
    cross = "pooler.cross_attention_block"
    shapes = {name: shape for name, shape in block_shapes(cross, WIDTH, 4 * WIDTH).items() if ".attn." not in name}
    shapes |= {f"{cross}.xattn.q.weight": (WIDTH, WIDTH), f"{cross}.xattn.q.bias": (WIDTH,)}
    shapes |= {f"{cross}.xattn.kv.weight": (2 * WIDTH, WIDTH), f"{cross}.xattn.kv.bias": (2 * WIDTH,)}
    for i in range(blocks):
        shapes |= block_shapes(f"pooler.blocks.{i}", WIDTH, 4 * WIDTH)
    shapes |= {"pooler.query_tokens": (1, 1, WIDTH), "linear.weight": (CLASSES, WIDTH), "linear.bias": (CLASSES,)}
    return random_weights(shapes, seed)


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)


def rotated(x: Tensor, places: list[int], side: int) -> Tensor:
    """Rotate the channels `(n, size)` of a head, token by token and channel by channel."""
    size = x.shape[1]
    part, found = 2 * (size // 3 // 2), x.clone()
    for token, place in enumerate(places):
        for axis, position in enumerate((place // side**2, place % side**2 // side, place % side)):
            for channel in range(part):
                here = axis * part + channel
                frequency = 1 / 10000 ** ((channel % (part // 2)) / (part / 2))  # tiled, though pairs are rotated
                other = -x[token, here + 1] if channel % 2 == 0 else x[token, here - 1]
                angle = position * frequency
                found[token, here] = x[token, here] * math.cos(angle) + other * math.sin(angle)
    return found


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    logits = q @ k.T / math.sqrt(q.shape[1])
    weights = torch.exp(logits - logits.max(-1, keepdim=True).values)
    return weights / weights.sum(-1, keepdim=True) @ v


def block(
    w: dict[str, Tensor], name: str, x: Tensor, heads: int, eps: float, places: list[int] | None, side: int
) -> Tensor:
    """Return the tokens `(n, D)` after a block; with `places` its attention is rotary."""
    width, context = x.shape[1], []
    qkv, size = linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x, eps)), x.shape[1] // heads
    for head in range(heads):
        q, k, v = (qkv[:, part * width + head * size : part * width + (head + 1) * size] for part in range(3))
        if places is not None:
            q, k = rotated(q, places, side), rotated(k, places, side)
        context.append(attend(q, k, v))
    x = x + linear(w, f"{name}.attn.proj", torch.cat(context, -1))
    return x + mlp(w, name, x, eps)


def mlp(w: dict[str, Tensor], name: str, x: Tensor, eps: float) -> Tensor:
    return linear(w, f"{name}.mlp.fc2", gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x, eps))))


def doubled(w: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in w.items()}


def features(w: dict[str, Tensor], clip: Tensor) -> Tensor:
    """Return the tokens `(N, D)` that the encoder makes of a clip `(F, 3, H, W)`."""
    w, clip, side = doubled(w), clip.double(), clip.shape[-1] // PATCH
    x = tubelets(clip, PATCH, 2) @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    for i in range(DEPTH):
        x = block(w, f"blocks.{i}", x, HEADS, 1e-6, list(range(len(x))), side)
    return norm(w, "norm", x, 1e-6)


def predictions(w: dict[str, Tensor], x: Tensor, context: list[int], targets: list[int], side: int) -> Tensor:
    """Return what the predictor makes of the tokens `x` `(N, D)` at `context` for the places `targets`: `(n, D)`."""
    w = doubled(w)
    masks = w["mask_tokens.1"][0].repeat(len(targets), 1)
    y = torch.cat([linear(w, "predictor_embed", x[context]), masks])
    for i in range(PRED_DEPTH):
        y = block(w, f"predictor_blocks.{i}", y, PRED_HEADS, 1e-6, context + targets, side)
    return linear(w, "predictor_proj", norm(w, "predictor_norm", y, 1e-6)[len(context) :])


def logits(w: dict[str, Tensor], x: Tensor, eps: float) -> Tensor:
    """Return the logits `(K,)` that a probe, whose norms have `eps`, makes of the tokens `(N, D)`."""
    w, cross = doubled(w), "pooler.cross_attention_block"
    for i in range(len([name for name in w if name.endswith("norm1.weight") and ".blocks." in name])):
        x = block(w, f"pooler.blocks.{i}", x, HEADS, eps, None, 0)
    query, size, context = w["pooler.query_tokens"][0], WIDTH // HEADS, []
    q, kv = linear(w, f"{cross}.xattn.q", query), linear(w, f"{cross}.xattn.kv", norm(w, f"{cross}.norm1", x, eps))
    for head in range(HEADS):
        own = slice(head * size, (head + 1) * size)
        context.append(attend(q[:, own], kv[:, :WIDTH][:, own], kv[:, WIDTH:][:, own]))
    query = query + torch.cat(context, -1)
    return linear(w, "linear", query + mlp(w, cross, query, eps))[0]
