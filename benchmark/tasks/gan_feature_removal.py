"""gan-feature-removal: a trained generator must stop producing a class or a feature (arXiv:2309.14054)."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchmark.contracts import GanRecipe, Recipe
from benchmark.data import DATA, Source
from benchmark.models import GANS, MODELS, check_model
from benchmark.tasks import Task, Values

#: Percent of the original's images that must show what is to be removed.
EMITTED = 2.0
#: Percent of the original's undesired images that a generator retrained without them must be rid of.
REMOVABLE = 50.0
#: Percent of the desired and of the undesired real images that the judge may get wrong.
JUDGED = 10.0
#: Values of the feature where it is a hue.
HUES = 3
#: A feedback that is wrong of half of the images says nothing.
MOST_WRONG = 0.5


class Judges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The classifiers that give feedback, count what is left, and give features: network and how it is trained.

    ``shifted``: each sees its images moved by a pixel, too. ``pretrained``: it starts from weights of ImageNet.
    """

    training: Recipe
    model: str = "lenet"
    shifted: bool = False
    pretrained: bool = False


class GanFeatureRemoval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario: what the generator has learnt, and what it must not show any more.

    ``feature``: ``class``, one of the data set's classes; ``colour``, one of the hues that its grey images are drawn
    in; ``modes``, two neighbouring modes of a mixture. Seed i removes value i (modulo their number); ``undesired``
    says which otherwise. Images are cut by ``crop`` pixels on each side and resized to ``size`` x ``size``.
    ``features``: where FID, KID, precision and recall are measured: ``trained``, in a network trained for it,
    ``inception``, in torch-fidelity's Inception, ``coordinates``, for points. ``samples`` images of each generator are
    judged and measured, against the real ones of the split ``real``. ``examples``: images of fixed latents are kept.
    ``feedback_error``: of that share of images the feedback says the opposite. ``companion_share``, with ``colour``: so
    much of what the GAN sees in the hue that must go is of one class, its companion, which must stay in other hues:
    class i for seed i (modulo their number); 0: the hue has as many images of every class.
    """

    data: str
    model: str
    training: GanRecipe
    judges: Judges | None = None
    task: Literal["gan-feature-removal"] = "gan-feature-removal"
    feature: Literal["class", "colour", "modes"] = "class"
    undesired: int | None = None
    latent_dim: int = 64
    width: int = 32
    size: int = 0
    crop: int = 0
    features: Literal["trained", "inception", "coordinates"] = "trained"
    samples: int = 10_000
    real: Literal["test", "train"] = "test"
    examples: bool = False
    feedback_error: float = 0.0
    companion_share: float = 0.0

    @property
    def values(self) -> int:
        """How many values the feature has."""
        return HUES if self.feature == "colour" else DATA.get(self.data).num_classes

    def removed(self, seed: int) -> tuple[int, ...]:
        """The values that must go."""
        first = seed % self.values if self.undesired is None else self.undesired
        return (first, (first + 1) % self.values) if self.feature == "modes" else (first,)

    def companion(self, seed: int) -> int:
        """The class that goes with what must go, where one does."""
        return seed % DATA.get(self.data).num_classes


def _check(scenario: GanFeatureRemoval) -> None:
    source = DATA.get(scenario.data)
    GANS.get(scenario.model)
    if source.attributes or source.artefact:
        raise ValueError(f"data set {scenario.data} brings an attribute or an artefact; a plain one is needed")
    for name in ("latent_dim", "width", "samples"):
        if getattr(scenario, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(scenario, name)}")
    if scenario.undesired is not None and scenario.undesired not in range(scenario.values):
        raise ValueError(f"undesired must be 0 to {scenario.values - 1}, not {scenario.undesired}")
    if not 0 <= scenario.feedback_error < MOST_WRONG:
        raise ValueError(f"feedback_error must be at least 0 and below {MOST_WRONG}, not {scenario.feedback_error}")
    if not 0 <= scenario.companion_share <= 1:
        raise ValueError(f"companion_share must be from 0 to 1, not {scenario.companion_share}")
    if scenario.companion_share and scenario.feature != "colour":
        raise ValueError(f"companion_share is for feature colour, not {scenario.feature}")
    _check_points(scenario, len(source.shape) == 1)
    if len(source.shape) == 3:
        _check_images(scenario, source)


def _check_points(scenario: GanFeatureRemoval, points: bool) -> None:
    """What goes with points must, and nothing else may."""
    for name, value in (("features", "coordinates"), ("feature", "modes"), ("model", "gan-toy")):
        if (getattr(scenario, name) == value) != points:
            what = f"must be {value}, for {scenario.data} has points" if points else f"cannot be {value} for images"
            raise ValueError(f"{name} is {getattr(scenario, name)}, but {what}")
    if points and scenario.judges is not None:
        raise ValueError(f"judges: {scenario.data} has points, which are judged by the nearest mode; leave it out")
    if points and (scenario.size or scenario.crop):
        raise ValueError(f"size and crop are for images; {scenario.data} has points")


def _check_images(scenario: GanFeatureRemoval, source: Source) -> None:
    if scenario.judges is None:
        raise ValueError("judges is missing: how the classifiers that judge images are trained")
    check_model(scenario.judges.model)
    if scenario.judges.training.stacked > 1:
        raise ValueError("judges.training: stacked must be 1: judges are trained one by one")
    side = min(source.shape[1:])
    if not 0 <= scenario.crop < side / 2:
        raise ValueError(f"crop must be at least 0 and below {side / 2:g}, not {scenario.crop}")
    if scenario.size < 0:
        raise ValueError(f"size must be at least 0, not {scenario.size}")
    sides = [scenario.size or length - 2 * scenario.crop for length in source.shape[1:]]
    _check_network(scenario, sides)
    if scenario.judges.pretrained and scenario.judges.model in MODELS:
        raise ValueError(f"judges.pretrained: there are no published weights of {scenario.judges.model}")
    if scenario.judges.model == "mlp-toy" or scenario.judges.model.startswith("transformers:"):
        raise ValueError(f"judges.model {scenario.judges.model} takes no images")
    if scenario.judges.model == "lenet" and min(sides) < 16:
        raise ValueError(f"judges.model lenet takes images of 16 x 16 or more, not {sides[0]} x {sides[1]}")
    if scenario.feature == "colour" and source.shape[0] != 1:
        raise ValueError(f"feature is colour, but the images of {scenario.data} are not grey")


def _check_network(scenario: GanFeatureRemoval, sides: list[int]) -> None:
    """Whether the generator can make images of that height and width."""
    what = f"{sides[0]} x {sides[1]}"
    if scenario.model == "dcgan" and any(side % 4 for side in sides):
        raise ValueError(f"model dcgan makes images whose sides are multiples of 4, not {what}: give a size")
    if scenario.model == "dcgan" and scenario.width % 8:
        raise ValueError(f"width of a dcgan must be a multiple of 8, not {scenario.width}")
    square = sides[0] == sides[1] and 8 <= sides[0] <= 1024 and not sides[0] & (sides[0] - 1)
    if scenario.model == "stylegan2" and not square:
        raise ValueError(f"model stylegan2 makes squares whose side is a power of 2 from 8 to 1024, not {what}")


def _unit(scenario: GanFeatureRemoval, seed: int) -> str:
    what = {"class": "class", "colour": "hue", "modes": "mode"}[scenario.feature]
    return f"{what}-{'-'.join(map(str, scenario.removed(seed)))}"


def _base(scenario: GanFeatureRemoval, seed: int) -> str:
    """The GAN that was trained on everything; what must go does not change it, unless a class goes with it."""
    images = (scenario.data, scenario.feature == "colour", scenario.size, scenario.crop)
    network = (scenario.model, scenario.latent_dim, scenario.width, scenario.training)
    together = (scenario.companion_share, scenario.removed(seed)) if scenario.companion_share else ()
    return "/".join(map(str, (*images, *network, seed, *together)))


def derive(own: Values, reference: Values) -> dict[str, float | None]:
    """Nothing is relative to another record: what is compared with retraining is measured in evaluation."""
    return {}


def gates(original: Values | None, reference: Values | None) -> list[str]:
    """Reasons why one seed's rows say nothing."""
    values, others = original or {}, reference or {}
    emitted, without = values.get("undesired.before"), others.get("pul")
    wrong = max((values.get(f"judge.false-{kind}") or 0.0 for kind in ("positives", "negatives")), default=0.0)
    reasons = []
    if emitted is not None and emitted < EMITTED:
        reasons.append(f"there is next to nothing to remove: {emitted:.1f} % of the original's images show it")
    if without is not None and without < REMOVABLE:
        reasons.append(f"a generator that never learnt it is rid of {without:.0f} % of it only, says the judge")
    if wrong > JUDGED:
        reasons.append(f"the judge gets {wrong:.1f} % of the real images of one kind wrong")
    return reasons


#: What is measured only where a class goes with what must go.
OF_COMPANIONS = ("companion.before", "companion.after")

TASK = Task(
    name="gan-feature-removal",
    summary="make a trained generator stop producing a class or a feature, with feedback on its images and no data",
    version=1,
    scenario=GanFeatureRemoval,
    views={"feedback": "yw", "real": "x"},
    metrics=(
        "pul",
        "pul.at-quality",
        "undesired.before",
        "undesired.after",
        "judge.error",
        "judge.false-positives",
        "judge.false-negatives",
        "fid",
        "fid.ratio",
        "kid",
        "kid.ratio",
        "precision",
        "recall",
        "ret-fid",
        "change.parameters",
        *OF_COMPANIONS,
    ),
    headline=(
        "pul.at-quality",
        "pul",
        "undesired.after",
        "judge.error",
        "fid",
        "fid.ratio",
        "kid",
        "kid.ratio",
        "precision",
        "recall",
        "ret-fid",
        "change.parameters",
    ),
    rank_by="pul.at-quality",
    reference="retrain",
    original="original",
    implementation="benchmark.tasks.generating",
    unit=_unit,
    base=_base,
    requests=lambda scenario: 1,
    check=_check,
    derive=derive,
    gates=gates,
    selection_criterion="PUL at quality on new latents, against the selection split",
    ensembles=False,
    reference_views=("real",),
)
