"""The card that goes with an amended model: what was done to it, what that cost, and what the metrics say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmark.contracts import MethodInfo
from benchmark.data.manifest import Manifest
from benchmark.metrics.catalogue import METRICS
from benchmark.reporting.text import escape
from benchmark.running.records import Record
from benchmark.tasks import Task
from benchmark.visible import visible

CARD = "MODEL_CARD.md"
#: What better means, as a column says it.
BETTER = {
    "higher": "higher is better",
    "lower": "lower is better",
    "zero": "best is 0",
    "half": "best is 0.5",
    "reference": "best is what retraining has",
    "none": "",
}


@dataclass(frozen=True)
class Card:
    """What a card tells of: records of the amended model, of the original and, where it was trained, the reference.

    ``weights`` and ``base``: SHA-256 of the amended weights' file and of the one that was given, empty if none was.
    ``data`` says what the inputs are and which classes the network's outputs stand for.
    """

    task: Task
    info: MethodInfo
    amended: Record
    original: Record | None
    reference: Record | None
    weights: str
    base: str
    command: str
    provenance: str
    data: Manifest


def model_card(card: Card) -> str:
    """The card as Markdown."""
    parts = [
        _front(card),
        *_head(card),
        "## What was done\n",
        _table(_done(card)),
        "## What it cost\n",
        _table(_cost(card)),
        "## What the metrics say\n",
        _metrics(card),
        *_warnings(card),
        "## What this does not say\n",
        *_limits(card),
        "## How to load it\n",
        _loading(card),
        "## How to make it again\n",
        "\n".join(f"    {line}" for line in visible(card.command).splitlines()) + "\n",
    ]
    return "\n".join(parts)


def _front(card: Card) -> str:
    tags = "\n".join(f"- {tag}" for tag in ("amended-model", card.task.name, card.info.name))
    return f"---\nlibrary_name: pytorch\ntags:\n{tags}\n---\n"


def _head(card: Card) -> Iterator[str]:
    cell = card.amended.cell
    yield f"# {escape(cell.scenario)}: {escape(_unit(card))}, amended by {card.info.name}\n"
    yield f"{escape(card.info.summary)} The task: {card.task.summary}.\n"


def _done(card: Card) -> Iterator[tuple[str, str]]:
    cell = card.amended.cell
    yield "task", card.task.name
    yield "amended", _unit(card)
    yield "method", f"{card.info.name}, {card.info.paper}" if card.info.paper else card.info.name
    yield "hyper-parameters", ", ".join(f"{k} = {v}" for k, v in cell.parameters.items()) or "none"
    yield "how they were chosen", card.provenance
    yield "what it may read", str(card.info.access)
    yield "network", str(cell.settings["model"])
    yield "base model", f"weights {card.base}" if card.base else "trained here, by the recipe in the record"
    yield "amended weights, SHA-256", card.weights
    yield "data", f"{cell.settings['data']}, checksum {card.amended.data}"
    yield "pictures", card.data.counts
    yield "inputs", _inputs(card.data)
    yield "classes, as outputs are numbered", ", ".join(f"{k} {name}" for k, name in enumerate(card.data.classes))
    if attribute := attribute_of(card):
        values = card.data.attributes[attribute].values
        artefact = f"; {values[1]}: the artefact is there" if card.task.name == "bias-correction" else ""
        yield "attribute", f"{attribute}: {', '.join(values)}{artefact}"
    yield "seed", str(cell.seed)
    yield "made", card.amended.created


def _unit(card: Card) -> str:
    """What was amended, with the names of its classes."""
    unit = card.amended.cell.unit
    numbers = unit.removeprefix("class-").split("-") if unit.startswith("class-") else []
    told = [card.data.classes[int(k)] for k in numbers if k.isdecimal() and int(k) < len(card.data.classes)]
    return f"{unit} ({', '.join(told)})" if told else unit


def _inputs(data: Manifest) -> str:
    """How a picture becomes an input, in words."""
    look = data.look
    how = "the shorter side resized, the middle taken" if look.fit == "crop" else "both sides resized"
    colours = "grey" if look.grey else "RGB"
    means, deviations = (", ".join(f"{value:g}" for value in part) for part in (look.mean, look.std))
    return f"{look.size} x {look.size}, {colours}, {how}; values / 255, less {means}, by {deviations}"


def attribute_of(card: Card) -> str:
    """The attribute that the task was about; empty if none."""
    return str(card.amended.cell.settings["data"]).partition("@")[2]


def _cost(card: Card) -> Iterator[tuple[str, str]]:
    cost = card.amended.cost
    yield "seconds", f"{cost.seconds:.2f}"
    if card.reference is not None and card.reference.cost.seconds > 0:
        share = cost.seconds / card.reference.cost.seconds
        yield "in proportion to retraining", f"{share:.1%} of {card.reference.cost.seconds:.2f} seconds"
    if cost.peak_bytes is not None:
        yield "peak memory", f"{cost.peak_bytes / 2**20:,.0f} MiB"
    yield "device", card.amended.environment.get("device", card.amended.cell.device)
    for request in card.amended.access:
        for view, counts in request.items():
            yield f"read of the {view} set", ", ".join(f"{n:,} {what}" for what, n in counts.items())


def _metrics(card: Card) -> str:
    """Every metric of the amended model beside the original's and the reference's."""
    beside = [record for record in (card.original, card.reference) if record is not None]
    own = _values(card, card.amended)
    others = [_values(card, record) for record in beside]
    header = ["metric", "amended", *(record.cell.method for record in beside), "n", ""]
    rows = []
    for name in (name for name in METRICS if any(values.get(name) is not None for values in (own, *others))):
        told = METRICS[name]
        count = card.amended.metrics[name].n if name in card.amended.metrics else None
        numbers = [_number(values.get(name), told.unit) for values in (own, *others)]
        counted = "" if count is None else f"{count:,}"
        rows.append([f"{told.label} (`{name}`)", *numbers, counted, BETTER[told.better]])
    return _grid(header, rows)


def _values(card: Card, record: Record) -> dict[str, float | None]:
    """The record's metrics and, where the reference was trained, the gaps to it."""
    values = record.values()
    return values if card.reference is None else values | card.task.derive(values, card.reference.values())


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.2f}{' %' if unit == '%' else ''}"


def _warnings(card: Card) -> Iterator[str]:
    original = None if card.original is None else card.original.values()
    reference = None if card.reference is None else card.reference.values()
    found = [*card.amended.flags, *card.task.gates(original, reference)]
    if found:
        yield "## Warnings\n"
        yield _list(found)


def _limits(card: Card) -> Iterator[str]:
    limits = ["One seed and one model: how much the numbers vary is not known. `amendbench bench` runs several seeds."]
    if card.base:
        limits.append(
            "Which pictures the given network was trained on is not known here. If some of the test pictures were "
            "among them, its accuracies and every membership attack say nothing."
        )
    if card.base and card.task.name.startswith("debias"):
        limits.append("The column erm is the given network after further plain training, not as it was given.")
    if card.task.name == "bias-correction":
        limits.append("Clean and attacked pictures are different ones: not all that differs is the artefact's doing.")
    if card.reference is None and card.task.name.endswith("forget"):
        limits.append(
            "The reference was not trained (`--retrain`), so that gaps to it are not told. A membership attack, a "
            "probe or relearning means little without it: networks that never saw the data do not score zero either."
        )
    limits += [
        "Test samples are of the same data set. Nothing is said of other data, or of an attacker who knows the method.",
        "No metric here is a proof that information is gone, and none is a certificate for any law or contract.",
    ]
    yield _list(limits)


def _loading(card: Card) -> str:
    settings, classes, look = card.amended.cell.settings, len(card.data.classes), card.data.look
    library, _, name = str(settings["model"]).partition(":")
    own = "from benchmark.models.classifiers import build_classifier"
    imports, build = {
        "torchvision": ("", f'torchvision.models.get_model("{name}", weights=None, num_classes={classes})'),
        "timm": ("import timm", f'timm.create_model("{name}", num_classes={classes}, in_chans={look.shape[0]})'),
    }.get(library, (own, f'build_classifier("{settings["model"]}", {classes}, {look.shape})'))
    resize = look.size if look.fit == "crop" else (look.size, look.size)
    steps = [f"T.Resize({resize})", *([f"T.CenterCrop({look.size})"] if look.fit == "crop" else [])]
    steps += [*(["T.Grayscale()"] if look.grey else []), "T.ToTensor()", f"T.Normalize({look.mean}, {look.std})"]
    lines = [
        "import safetensors.torch",
        "import torchvision",
        "import torchvision.transforms as T",
        *([imports] if imports else []),
        "",
        f"model = {build}",
        'model.load_state_dict(safetensors.torch.load_file("amended.safetensors"))',
        "model.eval()",
        f"transform = T.Compose([{', '.join(steps)}])  # of a picture in RGB",
    ]
    return "```python\n" + "\n".join(lines) + "\n```\n"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return _grid(["", ""], [[escape(name), escape(value)] for name, value in rows])


def _grid(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"
