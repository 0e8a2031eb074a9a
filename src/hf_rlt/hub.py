# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Model cards."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData


def write_card(
    folder: str | Path, dataset: str, metrics: dict[str, float], base_model: str | None, threshold: str
) -> None:
    """Returns nothing; writes README.md with the metadata that the Hub reads.

    Args:
        folder: of the model.
        dataset: name of the data set it was trained and evaluated on.
        metrics: with `eval_accuracy` and `eval_tokens_computed`.
        base_model: what it was fine-tuned from, if anything.
        threshold: as given by the user.
    """
    name = Path(folder).resolve().name
    result = EvalResult(
        task_type="video-classification",
        dataset_type=dataset,
        dataset_name=dataset,
        metric_type="accuracy",
        metric_value=metrics["eval_accuracy"],
    )
    data = ModelCardData(
        model_name=name,
        library_name="transformers",
        pipeline_tag="video-classification",
        base_model=base_model,
        tags=["video-classification", "rlt", "run-length-tokenization", "videomae"],
        metrics=["accuracy"],
        eval_results=[result],
    )
    text = f"""---
{data.to_yaml()}
---

# {name}

RLT-VideoMAE trained on `{dataset}` with threshold {threshold}: top-1 {metrics["eval_accuracy"]:.1%}, and
{metrics["eval_tokens_computed"]:.1%} of the tokens of a validation clip computed on average.

```python
import hf_rlt  # registers the Auto classes
from transformers import pipeline

pipeline("video-classification", model="{name}")("clip.mp4")
```
"""
    ModelCard(text).save(Path(folder) / "README.md")
