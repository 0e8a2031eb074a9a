# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints as VideoMAE, VideoMAEv2 and RLT write them, and what such models compute: literal and in float64.

Written from the definitions in their modeling_finetune.py, modeling_pretrain.py and vit_helpers.py. Nothing here knows
how hf_rlt calls anything.
"""

import math

import torch
from torch import Tensor

TINY = {"width": 24, "depth": 3, "hidden": 40, "patch": 8, "tubelet": 2, "classes": 5}
HEADS, FRAMES, SIDE = 4, 8, 32
SLOTS, CELLS = FRAMES // TINY["tubelet"], (SIDE // TINY["patch"]) ** 2


def shapes(
    width, depth, hidden, patch, tubelet, classes, biases="q_bias", norm="fc_norm"
) -> dict[str, tuple[int, ...]]:
    """Return name and shape of each weight of a fine-tuned checkpoint.

    `biases`: "q_bias", "qkv.bias" or "none"; `norm`: "fc_norm" (mean pooling) or "norm" (first token).
    """
    found: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (width, 3, tubelet, patch, patch)}
    found["patch_embed.proj.bias"] = (width,)
    attention = {"q_bias": {"q_bias": (width,), "v_bias": (width,)}, "qkv.bias": {"qkv.bias": (3 * width,)}}
    for block in (f"blocks.{i}" for i in range(depth)):
        found |= {f"{block}.{name}.{part}": (width,) for name in ("norm1", "norm2") for part in ("weight", "bias")}
        found |= {f"{block}.attn.{name}": shape for name, shape in attention.get(biases, {}).items()}
        found[f"{block}.attn.qkv.weight"] = (3 * width, width)
        for name, (rows, columns) in {
            "attn.proj": (width, width),
            "mlp.fc1": (hidden, width),
            "mlp.fc2": (width, hidden),
        }.items():
            found |= {f"{block}.{name}.weight": (rows, columns), f"{block}.{name}.bias": (rows,)}
    found |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    return found | {"head.weight": (classes, width), "head.bias": (classes,)}


def random_weights(named_shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Return float32 weights, none of them zero: norms around one, everything else small."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in named_shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_norm = "norm" in name and name.endswith("weight")
        found[name] = 1 + 0.2 * noise if is_norm else 0.15 * noise
    return found


def finetuned(seed: int = 0, **changes) -> dict[str, Tensor]:
    """Return the bare state dict of a tiny fine-tuned model."""
    return random_weights(shapes(**{**TINY, **changes}), seed)


def pretrained(seed: int = 0) -> dict[str, Tensor]:
    """Return the bare state dict of a tiny pre-training model: `encoder.*` with a norm, decoder, mask token."""
    encoder = {f"encoder.{name}": value for name, value in finetuned(seed, norm="norm").items() if "head" not in name}
    small = {**TINY, "width": 12, "depth": 1, "hidden": 16, "classes": 3 * 2 * 8 * 8}
    decoder = random_weights(shapes(**small, norm="norm"), seed + 1)
    decoder = {f"decoder.{name}": value for name, value in decoder.items() if "patch_embed" not in name}
    rest = random_weights({"encoder_to_decoder.weight": (12, TINY["width"]), "mask_token": (1, 1, 12)}, seed + 2)
    return {**encoder, **decoder, **rest}


def sinusoids(positions: int, width: int) -> Tensor:
    """Return `(positions, width)` float64: the fixed table, entry by entry."""
    table = torch.zeros(positions, width, dtype=torch.float64)
    for position in range(positions):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            table[position, column] = math.sin(angle) if column % 2 == 0 else math.cos(angle)
    return table


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * weight + bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def tubelets(clip: Tensor, patch: int, tubelet: int) -> Tensor:
    """Return the tubelets `(N, 3 * tubelet * patch * patch)` of a clip `(F, 3, H, W)`, time first, then rows, columns."""
    found = []
    for t in range(0, clip.shape[0], tubelet):
        for y in range(0, clip.shape[2], patch):
            for x in range(0, clip.shape[3], patch):
                cut = clip[t : t + tubelet, :, y : y + patch, x : x + patch]
                found.append(cut.transpose(0, 1).reshape(-1))
    return torch.stack(found)


def attention(w: dict[str, Tensor], block: str, x: Tensor, heads: int) -> Tensor:
    """Return what the attention of a block adds to its tokens `(n, D)`: fused projection, keys without a bias."""
    width = x.shape[-1]
    qkv = x @ w[f"{block}.attn.qkv.weight"].T
    if f"{block}.attn.q_bias" in w:
        q_bias, v_bias = w[f"{block}.attn.q_bias"], w[f"{block}.attn.v_bias"]
        qkv = qkv + torch.cat([q_bias, torch.zeros_like(v_bias), v_bias])
    if f"{block}.attn.qkv.bias" in w:
        qkv = qkv + w[f"{block}.attn.qkv.bias"]
    size, context = width // heads, []
    for head in range(heads):
        q, k, v = (qkv[:, part * width + head * size : part * width + (head + 1) * size] for part in range(3))
        logits = (q * size**-0.5) @ k.T
        weights = torch.exp(logits - logits.max(-1, keepdim=True).values)
        context.append(weights / weights.sum(-1, keepdim=True) @ v)
    return torch.cat(context, -1) @ w[f"{block}.attn.proj.weight"].T + w[f"{block}.attn.proj.bias"]


def blocks(w: dict[str, Tensor], x: Tensor, heads: int, eps: float) -> Tensor:
    """Return tokens `(n, D)` after all blocks, norms before attention and MLP."""
    depth = len({name.split(".")[1] for name in w if name.startswith("blocks.")})
    for i in range(depth):
        block = f"blocks.{i}"
        x = x + attention(w, block, layer_norm(x, w[f"{block}.norm1.weight"], w[f"{block}.norm1.bias"], eps), heads)
        inner = layer_norm(x, w[f"{block}.norm2.weight"], w[f"{block}.norm2.bias"], eps)
        inner = gelu(inner @ w[f"{block}.mlp.fc1.weight"].T + w[f"{block}.mlp.fc1.bias"])
        x = x + inner @ w[f"{block}.mlp.fc2.weight"].T + w[f"{block}.mlp.fc2.bias"]
    return x


def embed(w: dict[str, Tensor], clip: Tensor) -> Tensor:
    """Return the tokens `(N, D)` of a clip, positions added."""
    kernel = w["patch_embed.proj.weight"]
    tokens = tubelets(clip, kernel.shape[-1], kernel.shape[2]) @ kernel.flatten(1).T + w["patch_embed.proj.bias"]
    return tokens + sinusoids(*tokens.shape)


def doubled(w: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in w.items()}


def videomae_logits(
    w: dict[str, Tensor], clips: Tensor, eps: float = 1e-6, head_eps: float | None = None, version: int = 1
) -> Tensor:
    """Return the logits `(B, K)` of VideoMAE or VideoMAEv2 in float64 for clips `(B, F, 3, H, W)`.

    With `fc_norm` in the weights: norm of the mean over tokens. With `norm`: VideoMAE takes the first of the normed
    tokens, VideoMAEv2 norms the first token.
    """
    w, head_eps, found = doubled(w), eps if head_eps is None else head_eps, []
    for clip in clips.double():
        x = blocks(w, embed(w, clip), HEADS, eps)
        if "fc_norm.weight" in w:
            pooled = layer_norm(x.mean(0), w["fc_norm.weight"], w["fc_norm.bias"], head_eps)
        elif version == 1:
            pooled = layer_norm(x, w["norm.weight"], w["norm.bias"], eps)[0]
        else:
            pooled = layer_norm(x[0], w["norm.weight"], w["norm.bias"], eps)
        found.append(w["head.weight"] @ pooled + w["head.bias"])
    return torch.stack(found)


def encoder_tokens(w: dict[str, Tensor], clips: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the tokens `(B, N, D)` of a pre-training checkpoint's encoder when no token is masked."""
    w = {name.removeprefix("encoder."): value.double() for name, value in w.items() if name.startswith("encoder.")}
    found = [blocks(w, embed(w, clip), HEADS, eps) for clip in clips.double()]
    return torch.stack([layer_norm(x, w["norm.weight"], w["norm.bias"], eps) for x in found])


def rlt_logits(w: dict[str, Tensor], clips: Tensor, threshold: float, lengths_as_authors: bool = False) -> Tensor:
    """Return the logits `(B, K)` of the RLT authors' model, clip by clip; its norms have eps 1e-5.

    A tubelet stays if the mean absolute difference of its last frame to the first frame of the one before is above the
    threshold; the first always stays. With `length_embed`, each token gets the embedding of its run length;
    `lengths_as_authors` lists the lengths place by place, as the authors' code does, while tokens stand slot by slot.
    """
    w, found = doubled(w), []
    patch, tubelet = w["patch_embed.proj.weight"].shape[-1], w["patch_embed.proj.weight"].shape[2]
    for clip in clips.double():
        slots, side = clip.shape[0] // tubelet, clip.shape[-1] // patch
        kept = torch.ones(slots, side, side, dtype=torch.bool)
        for t in range(1, slots):
            for y in range(side):
                for x in range(side):
                    here = (slice(None), slice(y * patch, (y + 1) * patch), slice(x * patch, (x + 1) * patch))
                    last, first = clip[(t + 1) * tubelet - 1][here], clip[(t - 1) * tubelet][here]
                    kept[t, y, x] = (last - first).abs().mean() > threshold
        tokens = embed(w, clip)[kept.flatten()]
        if "length_embed" in w:
            tokens = tokens + w["length_embed"][0][run_lengths(kept, lengths_as_authors) - 1]
        pooled = blocks(w, tokens, HEADS, 1e-5).mean(0)
        found.append(
            w["head.weight"] @ layer_norm(pooled, w["fc_norm.weight"], w["fc_norm.bias"], 1e-5) + w["head.bias"]
        )
    return torch.stack(found)


def run_lengths(kept: Tensor, place_by_place: bool) -> Tensor:
    """Return the run length of each kept tubelet, in the order of the tokens (slot by slot) or place by place."""
    slots, rows, columns = kept.shape
    by_place = {}
    for y in range(rows):
        for x in range(columns):
            starts = [t for t in range(slots) if kept[t, y, x]]
            for start, end in zip(starts, [*starts[1:], slots], strict=True):
                by_place[start, y, x] = end - start
    order = list(by_place) if place_by_place else sorted(by_place)
    return torch.tensor([by_place[place] for place in order])
