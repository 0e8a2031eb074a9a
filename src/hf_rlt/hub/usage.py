# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Write the part of a model card that shows how to load the model. The tests run this code as it stands on a card."""

import json

from .handler import EndpointHandler
from .model_facts import ModelFacts


def usage(facts: ModelFacts, repo_id: str | None) -> str:
    """Return the ways to load a model: with hf_rlt, with the repository's own code, with plain transformers."""
    folder = (
        json.dumps(facts.name).replace("<", "\\u003c").replace("`", "\\u0060")
    )  # neither our marker nor the end of the code block
    name = f'name = "{repo_id}"' if repo_id else f"name = {folder}  # the folder, or its id on the Hub"
    ways = [_installed(name, facts.kind), _remote(name) if facts.carries_code else "", _plain(name, facts)]
    return "\n\n".join(way for way in ways if way)


def _installed(name: str, kind: str) -> str:
    share = '    print((inputs["run_lengths"] > 0).float().mean())  # share of the tokens computed\n'
    return f"""With hf_rlt (`pip install hf_rlt`), as any model of transformers:

```python
import hf_rlt  # registers the Auto classes
from transformers import AutoModelForVideoClassification, AutoVideoProcessor, pipeline

{name}
print(pipeline("video-classification", model=name)("clip.mp4"))

processor = AutoVideoProcessor.from_pretrained(name)
model = AutoModelForVideoClassification.from_pretrained(name)
inputs = processor("clip.mp4", return_tensors="pt")
{share.strip() if kind == "rlt_videomae" else ""}
print(model(**inputs).logits.shape)
```""".replace("\n\nprint(model", "\nprint(model")


def _remote(name: str) -> str:
    return f"""\
Without hf_rlt (`pip install "transformers>=5.18,<6" torch torchvision av`). It runs code of this repository: read it
first, and pin `revision`:

```python
from transformers import pipeline

{name}
print(pipeline("video-classification", model=name, trust_remote_code=True)("clip.mp4"))
```"""


def _plain(name: str, facts: ModelFacts) -> str:
    differs = []
    if facts.config.get("length_embedding"):
        differs.append("the run-length embedding is left out")
    if facts.config.get("position_grid"):
        differs.append("positions are not interpolated")
    same = f"Scores differ, since {' and '.join(differs)}." if differs else "The weights are the same."
    return f"""With plain transformers, as VideoMAE that computes every token. {same} It warns about the model type:

```python
from transformers import VideoMAEForVideoClassification

{name}
dense = VideoMAEForVideoClassification.from_pretrained(name)
```"""


def endpoint() -> str:
    """Describe how to call the handler beside the model, and its limits."""
    limits = EndpointHandler
    return f"""`handler.py` answers requests like this one with labels and scores:

```json
{{"inputs": "<a video file in base64>", "parameters": {{"top_k": 5, "threshold": 0.1}}}}
```

It refuses files over {limits.MAX_MEGABYTES:g} MiB, {limits.MAX_SECONDS:g} seconds, {limits.MAX_FRAMES:,.0f} frames, \
{limits.MAX_PIXELS:,.0f} pixels per frame
or {limits.MAX_TOTAL_PIXELS:,.0f} pixels in all frames up to the clip, and what takes more than \
{limits.MAX_DECODING_SECONDS:g} seconds to read; the
environment's `HF_RLT_MAX_MEGABYTES`, `HF_RLT_MAX_SECONDS`, `HF_RLT_MAX_FRAMES`, `HF_RLT_MAX_PIXELS`,
`HF_RLT_MAX_TOTAL_PIXELS` and `HF_RLT_MAX_DECODING_SECONDS` change that. It needs transformers 5.18 or newer. Where the
platform's container has an older one, deploy a container of your own
that runs `pip install -r requirements.txt` and `python handler.py` in the model's folder."""
