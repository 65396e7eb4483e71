"""Training: the one loop that everything shares, and what batches are made of, drawn by and trained with.

Methods import the loop from here, and everything else from the module that has it.
"""

from benchmark.training.loop import (
    Sampled,
    Step,
    adam,
    at_least_float,
    class_weights,
    cross_entropy,
    epochs,
    in_precision,
    inputs_of,
    optimise,
    optimiser_of,
    paired,
    schedule_of,
    sgd,
    train_classifier,
)

__all__ = [
    "Sampled",
    "Step",
    "adam",
    "at_least_float",
    "class_weights",
    "cross_entropy",
    "epochs",
    "in_precision",
    "inputs_of",
    "optimise",
    "optimiser_of",
    "paired",
    "schedule_of",
    "sgd",
    "train_classifier",
]
