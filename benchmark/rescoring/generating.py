"""Re-scoring gan-feature-removal: what is removed, from the judge's kept scores of the same latents' images."""

from __future__ import annotations

from benchmark.contracts import Measured
from benchmark.metrics import removal
from benchmark.rescoring.kept import Kept
from benchmark.rescoring.reported import Claim
from benchmark.running.arrays import ArraysError
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval

#: What takes features, the judge, or the generator.
NOT_KEPT = {
    "pul.at-quality": "features",
    "judge.error": "the judge",
    "judge.false-positives": "the judge",
    "judge.false-negatives": "the judge",
    "fid": "features",
    "fid.ratio": "features",
    "kid": "features",
    "kid.ratio": "features",
    "precision": "features",
    "recall": "features",
    "ret-fid": "features",
    "change.parameters": "the amended model",
    "companion.before": "the generated images",
    "companion.after": "the generated images",
}


def rescored(scenario: GanFeatureRemoval, claim: Claim, kept: Kept) -> dict[str, Measured]:
    """Today's metrics of the judge's scores; PUL at quality with the distances that the record has.

    ArraysError where there are not as many images as the scenario makes.
    """
    scores, before = kept.values("scores"), kept.mask("before")
    if not len(scores) == len(before) == scenario.samples:
        raise ArraysError(f"{len(scores)} and {len(before)} images were judged, not {scenario.samples} twice")
    pul = removal.pul(before, scores > 0)
    found = {
        "undesired.before": removal.share(before),
        "pul": pul,
        "undesired.after": removal.share(scores > 0),
    }
    if claim.groups is not None:  # of predictions from elsewhere nobody has measured the distances
        found["pul.at-quality"] = _at_quality(claim, pul)
    if any("not finite" in flag for flag in claim.flags):  # its images show nothing
        found |= {name: Measured(None, 0) for name in ("pul", "pul.at-quality", "undesired.after")}
    return found


def _at_quality(claim: Claim, pul: Measured) -> Measured:
    """From the record's own FID and how that compares with the filtered original's."""
    fid, ratio = (claim.metrics.get(name) for name in ("fid", "fid.ratio"))
    if fid is None or ratio is None or fid.value is None or not ratio.value:
        return Measured(None, pul.n)
    return removal.at_quality(pul, Measured(fid.value, fid.n), Measured(fid.value / ratio.value, fid.n))
