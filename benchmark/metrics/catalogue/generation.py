"""The catalogue's part on generators: what is left of what must go, and how close images are to real ones."""

from __future__ import annotations

from benchmark.metrics.metric import Metric

GENERATION = [
    Metric(
        "pul",
        "PUL",
        "%",
        "higher",
        "percentage of undesired images removed: by how much fewer of the same latents give an image that is judged "
        "undesired than with the original generator; negative where more do",
    ),
    Metric(
        "pul.at-quality",
        "PUL at quality",
        "%",
        "higher",
        "PUL times min(1, FID of the filtered original / FID), PUL itself where negative: what is removed, discounted "
        "by what it costs; the filtered original are those of its images that the judge does not call undesired, what "
        "a perfect filter would leave",
    ),
    Metric(
        "undesired.before", "undesired before", "%", "none", "share of the original generator's images judged undesired"
    ),
    Metric("undesired.after", "undesired after", "%", "lower", "share of the same latents' images judged undesired"),
    Metric("judge.error", "judge error", "%", "lower", "share of real test images that the judge is wrong about"),
    Metric(
        "judge.false-positives",
        "judge false positives",
        "%",
        "lower",
        "share of desired real test images that are judged undesired",
    ),
    Metric(
        "judge.false-negatives",
        "judge false negatives",
        "%",
        "lower",
        "share of undesired real test images that are judged desired",
    ),
    Metric(
        "fid",
        "FID",
        "distance",
        "lower",
        "Fréchet distance between features of generated images and of real ones without what must go. Features are "
        "those that the scenario names, torch-fidelity's Inception or a network trained for the purpose; values of "
        "different extractors do not compare",
    ),
    Metric(
        "kid",
        "KID",
        "distance",
        "lower",
        "squared maximum mean discrepancy of the same features under a cubic kernel, unbiased: it may be negative; its "
        "size depends on that of the features",
    ),
    Metric(
        "precision",
        "precision",
        "%",
        "higher",
        "share of generated images whose features lie among those of real ones: within the distance of one of them to "
        "its third-nearest neighbour",
    ),
    Metric(
        "recall",
        "recall",
        "%",
        "higher",
        "share of real images without what must go whose features lie among those of generated ones in the same sense",
    ),
    Metric(
        "ret-fid",
        "Ret-FID",
        "distance",
        "lower",
        "Fréchet distance between features of generated images and of those of a generator that was trained without "
        "what must go",
    ),
    Metric(
        "companion.before",
        "companion before",
        "%",
        "none",
        "share of the original's images not judged undesired that are of the class that went with what must go",
    ),
    Metric(
        "companion.after",
        "companion after",
        "%",
        "reference",
        "share of the images not judged undesired that are of the class that went with what must go, and must stay",
    ),
    Metric("fid.ratio", "FID / filtered", "", "lower", "FID over that of the filtered original of the same seed"),
    Metric("kid.ratio", "KID / filtered", "", "lower", "KID over that of the filtered original of the same seed"),
]
