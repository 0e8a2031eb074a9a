# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""The fine-tuning job on frames that are decoded once for all runs.

python -m benchmarks.common.decoded_job FOLDER [the job's arguments]

The frames in FOLDER are those that the job would decode, and training is the same; only the first run reads the videos.
"""

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hf_rlt.training import finetune
from hf_rlt.training.resume import FinishedError


def load_frames(folder: Path, data: Any, resized: bool) -> np.ndarray:
    """Load the frames `(N, 1, F, H, W, 3)` of a data set's clips; decode them unless a run before has done so.

    The file is mapped into memory, which runs at the same time share.

    Args:
        folder: where frames are kept.
        data: a `TrainDataset` or `EvalDataset` with one view of each video.
        resized: whether its frames are resized as they are read.
    """
    processor, sources = data.processor, [str(source) for source in data.clips.sources]
    settings = (processor.num_frames, processor.frame_stride, processor.sampling, processor.crop_size, resized, sources)
    path = folder / f"{hashlib.sha256(repr(settings).encode()).hexdigest()[:16]}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}")
        first = processor.decode(sources[0], [0.5], resized)
        frames = np.lib.format.open_memmap(draft, "w+", first.dtype, (len(sources), *first.shape))
        for index, source in enumerate(sources):
            frames[index] = processor.decode(source, [0.5], resized)
        frames.flush()
        draft.rename(path)  # complete or not there at all
    return np.load(path, mmap_mode="c")


def main(folder: Path, words: list[str]) -> None:
    """Run the job of a command line."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        job = finetune.make_job(words)
    except FinishedError:  # all results are there
        return
    trainer = job.trainer
    trainer.train_dataset.cache = dict(enumerate(load_frames(folder, trainer.train_dataset, resized=False)))
    trainer.eval_dataset.cache = dict(enumerate(load_frames(folder, trainer.eval_dataset, resized=True)))
    finetune.run(job)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
