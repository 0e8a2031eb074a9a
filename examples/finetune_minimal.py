# Copyright 2026 The hf_rlt authors. Licensed under the Apache License, Version 2.0.
"""Fine-tune VideoMAE with RLT using nothing but `Trainer`; `hf-rlt finetune` does the same and more.

python examples/finetune_minimal.py clips/train clips/val MCG-NJU/videomae-base OUT

The folders have a subfolder of videos for each class.
"""

import sys

import numpy as np
from transformers import Trainer, TrainingArguments

from hf_rlt import RLTVideoMAEForVideoClassification, RLTVideoProcessor
from hf_rlt.data import ClipCollator, EvalDataset, TrainDataset, from_folder


def accuracy(predicted):
    """Return the share of clips whose likeliest class is right."""
    logits = predicted.predictions[0] if isinstance(predicted.predictions, tuple) else predicted.predictions
    return {"accuracy": float(np.mean(logits.argmax(-1) == predicted.label_ids))}


def main(train_dir, validation_dir, name, output_dir):
    """Train for ten epochs, keep the best, and save it with its processor."""
    train = from_folder(train_dir)
    validation = from_folder(validation_dir, train.names)

    processor = RLTVideoProcessor.from_pretrained(name)
    model = RLTVideoMAEForVideoClassification.from_pretrained(
        name,
        threshold=0.1,
        id2label=dict(enumerate(train.names)),
        label2id={label: number for number, label in enumerate(train.names)},
        ignore_mismatched_sizes=True,  # a new head
    )
    args = TrainingArguments(
        output_dir,
        num_train_epochs=10,
        per_device_train_batch_size=8,
        learning_rate=5e-5,
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_steps=10,
        remove_unused_columns=False,  # the collator makes the model's inputs
    )
    trainer = Trainer(
        model,
        args,
        data_collator=ClipCollator(processor),
        train_dataset=TrainDataset(train, processor, random_clips=True),
        eval_dataset=EvalDataset(validation, processor),
        processing_class=processor,
        compute_metrics=accuracy,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main(*sys.argv[1:])
