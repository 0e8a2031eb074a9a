# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Selection by difference, and ToMe and STA on VideoMAE, one clip at a time, written from their descriptions with loops.

Nothing here imports hf_rlt.
"""

import math

import torch
from torch import Tensor


def keys_and_attention(block, x: Tensor, sizes: list[float] | None) -> tuple[Tensor, Tensor]:
    """Return `(n, D)` x plus attention, and the `(n, d)` keys averaged over heads, of length 1.

    `sizes`: if given, key j counts sizes[j] times.
    """
    inner = block.attention.attention
    normed = block.layernorm_before(x)
    heads, width = inner.num_attention_heads, inner.attention_head_size
    q, k, v = (layer(normed).view(-1, heads, width) for layer in (inner.query, inner.key, inner.value))
    out = torch.zeros_like(q)
    counts = torch.tensor(sizes or [1.0] * len(x), dtype=x.dtype)
    for h in range(heads):
        logits = q[:, h] @ k[:, h].T / math.sqrt(width)
        weights = counts * torch.exp(logits - logits.max())
        out[:, h] = weights / weights.sum(1, keepdim=True) @ v[:, h]
    attended = block.attention.output.dense(out.flatten(1))
    mean = k.mean(1)
    return x + attended, torch.stack([row / row.norm() for row in mean])


def mlp(block, x: Tensor) -> Tensor:
    return x + block.output.dense(block.intermediate(block.layernorm_after(x)))


def embedded(model, clip: Tensor) -> Tensor:
    """Return the `(N, D)` tokens of a `(F, C, H, W)` clip, with stock VideoMAE's own embeddings."""
    return model.videomae.embeddings(clip[None], None)[0]


def head(model, pooled: Tensor) -> Tensor:
    return model.classifier(model.fc_norm(pooled))


def tome(
    model, tokens: Tensor, schedule: list[int], proportional: bool, spans: list[float] | None = None
) -> tuple[Tensor, list[list[int]], Tensor]:
    """Return logits `(K,)`, the groups of original tokens that were merged, and the tokens left.

    Between attention and MLP of each block: tokens are split alternately, each of A finds its most similar of B, the r
    best pairs are merged into B by their weighted mean; what is left is [unmerged A from the most similar on, B].
    `spans`: how many tubelets each token stands for as a key, one if not given; means weigh tokens, not tubelets.
    """
    spans = list(spans or [1.0] * len(tokens))
    x, sizes, groups = tokens, [1.0] * len(tokens), [[i] for i in range(len(tokens))]
    for block, wanted in zip(model.videomae.encoder.layer, schedule, strict=True):
        x, metric = keys_and_attention(block, x, spans if proportional else None)
        r = min(wanted, len(x) // 2)
        if r:
            a, b = list(range(0, len(x), 2)), list(range(1, len(x), 2))
            edges = []
            for i in a:
                similar = [float(metric[i] @ metric[j]) for j in b]
                edges.append((max(similar), i, b[similar.index(max(similar))]))
            edges.sort(key=lambda edge: -edge[0])
            sums = [x[i] * sizes[i] for i in range(len(x))]
            for _, i, j in edges[:r]:
                sums[j] = sums[j] + sums[i]
                sizes[j] += sizes[i]
                spans[j] += spans[i]
                groups[j] = groups[j] + groups[i]
            order = [i for _, i, _ in edges[r:]] + b
            x = torch.stack([sums[i] / sizes[i] for i in order])
            sizes, groups = [sizes[i] for i in order], [groups[i] for i in order]
            spans = [spans[i] for i in order]
        x = mlp(block, x)
    pooled = sum(size * row for size, row in zip(sizes, x, strict=True)) / sum(sizes)
    return head(model, pooled), groups, x


def sta(model, tokens: Tensor, slots: int, r: int) -> tuple[Tensor, list[int], Tensor]:
    """Return logits `(K,)`, the original indices of the tokens left, and the tokens left.

    After blocks 0, depth / 3 and 2 depth / 3, with `slots`, slots / 2 and slots / 4 time slots, visited forward, backward,
    forward, r tokens of each slot leave.
    """
    x, places = tokens, list(range(len(tokens)))
    depth = len(model.videomae.encoder.layer)
    for number, block in enumerate(model.videomae.encoder.layer):
        x, metric = keys_and_attention(block, x, None)
        x = mlp(block, x)
        for stage in range(3):
            if number == stage * depth // 3 and r:
                kept = sta_stage(x, metric, slots // 2**stage, r, backward=stage == 1)
                x, places = x[kept], [places[i] for i in kept]
    return head(model, x.mean(0)), places, x


def sta_stage(x: Tensor, metric: Tensor, slots: int, r: int, backward: bool) -> list[int]:
    """Return the indices of the tokens that stay."""
    size = len(x) // slots
    order = list(range(slots))[::-1] if backward else list(range(slots))
    result: dict[int, list[int]] = {}
    previous_keys: list[Tensor] = []
    previous_weights: list[float] | None = None
    for visit, slot in enumerate(order):
        own = list(range(slot * size, (slot + 1) * size))
        if visit == 0:
            even, odd = own[::2], own[1::2]
            match = {i: max(float(metric[i] @ metric[j]) for j in odd) for i in even}
            ranked = odd + sorted(even, key=lambda i: match[i])
            previous_keys = [metric[i] for i in ranked]
            result[slot] = ranked[: size - r]
            continue
        strength = [float(x[i].abs().sum()) for i in own]
        semantic = [(value - min(strength)) / (max(strength) - min(strength)) for value in strength]
        raw = [[float(metric[i] @ key) for key in previous_keys] for i in own]
        shares = [[0.0] * len(previous_keys) for _ in own]
        for column in range(len(previous_keys)):
            total = sum(math.exp(raw[row][column]) for row in range(size))
            for row in range(size):
                shares[row][column] = math.exp(raw[row][column]) / total
        weights = previous_weights or [1.0] * len(previous_keys)
        score = [sum(share * weight for share, weight in zip(row, weights, strict=True)) for row in shares]
        final = [score[row] * (1 - semantic[row]) for row in range(size)]
        stays = sorted(range(size), key=lambda row: final[row])[: size - r]
        total = sum(score[row] for row in stays)
        previous_weights = [score[row] / total for row in stays]
        previous_keys = [metric[own[row]] for row in stays]
        result[slot] = [own[row] for row in stays]
    return [i for slot in range(slots) for i in result[slot]]


def by_difference(projection, clip: Tensor, groups: list[tuple[list[int], int]]) -> list[int]:
    """Return the run lengths of a `(F, C, H, W)` clip, place by place in each tubelet in time.

    `projection`: the Conv3d of a stock model's patch embeddings.
    `groups`: tubelets in time, and how many of all their tokens are computed, those with the largest distance of the patch
    embedding to that of the tubelet before. The first tubelets are computed, too.
    """
    size, height, width = projection.kernel_size
    grid = clip.shape[0] // size, clip.shape[2] // height, clip.shape[3] // width
    vectors, distance = {}, {}
    for t in range(grid[0]):
        for h in range(grid[1]):
            for w in range(grid[2]):
                frames = clip[t * size : (t + 1) * size]
                tubelet = frames[:, :, h * height : (h + 1) * height, w * width : (w + 1) * width].transpose(0, 1)
                vectors[t, h, w] = (projection.weight * tubelet).flatten(1).sum(1) + projection.bias
                if t:
                    distance[t, h, w] = float((vectors[t, h, w] - vectors[t - 1, h, w]).square().sum().sqrt())
    computed = {place for place in vectors if place[0] == 0}
    for tubelets, count in groups:
        ranked = sorted((place for place in distance if place[0] in tubelets), key=lambda place: -distance[place])
        computed.update(ranked[:count])
    lengths = []
    for t, h, w in vectors:
        length = 1
        while (t + length, h, w) in vectors and (t + length, h, w) not in computed:
            length += 1
        lengths.append(length if (t, h, w) in computed else 0)
    return lengths


def proportional_rlt(model, tokens: Tensor, spans: list[float]) -> Tensor:
    """Return logits `(K,)` of computed tokens, of which token j counts spans[j] times as a key and once in the mean."""
    x = tokens
    for block in model.videomae.encoder.layer:
        x, _ = keys_and_attention(block, x, spans)
        x = mlp(block, x)
    return head(model, x.mean(0))
