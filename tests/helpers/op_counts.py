# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Count what torch does: nothing is timed, and no GPU is needed."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "is_nonzero", "equal"}


class OpCounts(TorchDispatchMode):
    """Counts operations, the bytes that they write, and what makes a device and the host wait for each other.

    Written is every result that is not a view of what was there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.waits: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = [arg for arg in args if isinstance(arg, torch.Tensor)]
        out = function(*args, **(kwargs or {}))
        schema = function._schema.name.split("::")[1]
        self.counts[schema] += 1
        for result in out if isinstance(out, (list, tuple)) else [out]:
            if not isinstance(result, torch.Tensor):
                continue
            view = any(result.untyped_storage()._cdata == arg.untyped_storage()._cdata for arg in given)
            if schema.endswith("_") or not view:
                self.written[schema] += result.nbytes
            devices = {arg.device.type for arg in given}
            if schema in WAITS or (devices and result.device.type not in devices):
                self.waits.append(f"{schema} {sorted(devices)} to {result.device.type}")
        return out
