# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""PyTorch's attention for packs, `attn_implementation="torch_varlen"`: on a GPU, without the flash-attn package.

Where it cannot be used (on a CPU, in float32, on GPUs before Ampere, with dropout), clips are attended one by one with sdpa.
"""

import inspect
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

VARLEN = "torch_varlen"
CAPABILITY = (8, 0)
HEAD_STEP = 8  # of head sizes that flash kernels take
HALF = (torch.float16, torch.bfloat16)


@cache
def available() -> bool:
    """Return whether this PyTorch has what is needed of it: its first version had no `scale`."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return torch.version.hip is None and "scale" in inspect.signature(varlen_attn).parameters


def default_attention() -> str | None:
    """Return the backend of models that ask for none: this one if torch and the GPU have it, else transformers' own."""
    gpu = torch.cuda.is_available() and torch.cuda.get_device_capability() >= CAPABILITY
    return VARLEN if gpu and available() else None


def takes_varlen(tokens: Tensor) -> bool:
    """Return whether attention over tokens like these can use it; nothing is read from the device."""
    if tokens.device.type != "cuda" or not available():
        return False
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else tokens.dtype
    return dtype in HALF and torch.cuda.get_device_capability(tokens.device) >= CAPABILITY


def varlen_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within the clips of a pack, which `cu_seq_lens_q/k` and `max_length_q/k` describe; else as sdpa does.

    States are `(B, heads, n, head size)`, the result is `(B, n, heads, head size)`.
    """
    if "cu_seq_lens_q" not in kwargs:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    from torch.nn.attention.varlen import varlen_attn

    # Contiguous: cuDNN computes wrong results for addresses that are not multiples of 16 bytes, and says nothing.
    # One dtype: rotary tables make float32 of what autocast had made half, as only sdpa is told to undo.
    size, dtype = value.shape[-1], value.dtype
    packs = (F.pad(each[0].transpose(0, 1).to(dtype), (0, -size % HEAD_STEP)) for each in (query, key, value))
    query, key, value = (each.contiguous() for each in packs)
    ends, longest = (kwargs["cu_seq_lens_q"], kwargs["cu_seq_lens_k"]), (kwargs["max_length_q"], kwargs["max_length_k"])
    found: Any = varlen_attn(query, key, value, *ends, *longest, scale=scaling)
    return found[None, ..., :size], None


AttentionInterface.register(VARLEN, varlen_attention)
AttentionMaskInterface.register(VARLEN, sdpa_mask)
