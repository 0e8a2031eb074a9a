# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Classify the videos of a list with Ray Data.

python examples/cluster/ray_predict.py LIST.txt MODEL OUT

LIST.txt has a path on each line, which all machines can read. Decoding runs on CPUs, the model on GPUs where there are any.
"""

import sys

import ray

from hf_rlt.inference import Options
from hf_rlt.inference.batch import RLTBatchDecoder, RLTBatchPredictor

listed, model, out = sys.argv[1:]
ray.init(ignore_reinit_error=True)
gpus = int(ray.cluster_resources().get("GPU", 0))
options = Options(num_workers=1)  # a thread for each decoder; Ray runs as many decoders as there are cores

videos = ray.data.read_text(listed).rename_columns({"text": "path"})
stage = {"fn_constructor_args": [model, options], "batch_size": 8, "batch_format": "pyarrow", "num_cpus": 0.5}
decoders = ray.data.ActorPoolStrategy(min_size=1, max_size=1024)
decoded = videos.map_batches(RLTBatchDecoder, compute=decoders, **stage)
models = ray.data.ActorPoolStrategy(size=max(gpus, 1))
predicted = decoded.map_batches(RLTBatchPredictor, compute=models, num_gpus=1 if gpus else None, **stage)
predicted.write_parquet(out)
