"""The options by which users bring their own data and models."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from benchmark.commands.options import make_console, whole
from benchmark.errors import InputError
from benchmark.visible import visible

if TYPE_CHECKING:
    from benchmark.own import Brought
    from benchmark.suites.definition import Suite


def number(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


#: Classes that are named.
MOST_NAMED = 12
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="A folder of pictures, one folder a class (or train/, val/ and test/ with these), or any with a CSV file.",
    ),
]
AttributesOption = Annotated[
    Path | None,
    typer.Option(
        help="A CSV file of the pictures: file, and if known label, split (train, val, test) and attributes.",
    ),
]
AttributeOption = Annotated[
    str,
    typer.Option(help="The column that is the bias, or says where the artefact is."),
]
NameOption = Annotated[str, typer.Option(help="What to call the data; the folder's name if left out.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="The network: one of our own, or one of torchvision's or timm's, for example resnet18.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Its weights, a safetensors file of its state; trained here if left out. Classes are numbered by name.",
    ),
]
PretrainedOption = Annotated[
    bool,
    typer.Option("--pretrained", help="What is trained here starts from published weights."),
]
ForgetClassOption = Annotated[str | None, typer.Option(help="The class to forget; several with commas.")]
LayerOption = Annotated[str, typer.Option(help="Whose output is corrected, where it is not known.")]
SizeOption = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Pictures become squares of so many pixels; 224, but for small squares, which stay as they are.",
    ),
]
FitOption = Annotated[str, typer.Option(help="crop: the middle of a picture; squeeze: all of it.")]
NormaliseOption = Annotated[str, typer.Option(help="imagenet, none, or means and deviations: m,m,m/s,s,s.")]
GreyOption = Annotated[bool, typer.Option("--grey", help="Pictures have one channel.")]
EpochsOption = Annotated[
    int,
    typer.Option(parser=whole, metavar="N", help="Epochs of whatever is trained from scratch."),
]
RateOption = Annotated[
    float | None,
    typer.Option(parser=number, metavar="X", help="Its highest learning rate."),
]
BatchOption = Annotated[int, typer.Option(parser=whole, metavar="N", help="Its batch size.")]


@dataclass(frozen=True)
class OwnOptions:
    """What a user brings, as options of a command: ``data`` with the rest, or nothing."""

    data: DataOption = None
    attributes: AttributesOption = None
    attribute: AttributeOption = ""
    name: NameOption = ""
    model: ModelOption = None
    weights: WeightsOption = None
    pretrained: PretrainedOption = False
    forget_class: ForgetClassOption = None
    layer: LayerOption = ""
    size: SizeOption = None
    fit: FitOption = "crop"
    normalise: NormaliseOption = "imagenet"
    grey: GreyOption = False
    epochs: EpochsOption = 20
    lr: RateOption = None
    batch_size: BatchOption = 64


def brings_own(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter ``own`` is OwnOptions: typer, which reads signatures, sees an option for each field."""
    told, types = inspect.signature(command, eval_str=True), get_type_hints(OwnOptions, include_extras=True)
    others = [one.replace(kind=Parameter.KEYWORD_ONLY) for name, one in told.parameters.items() if name != "own"]
    options = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
        for field in dataclasses.fields(OwnOptions)
    ]

    @wraps(command)
    def with_options(**given: Any) -> None:
        command(own=OwnOptions(**{option.name: given.pop(option.name) for option in options}), **given)

    seen = told.replace(parameters=[*others, *options])
    with_options.__signature__ = seen  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: one.annotation for name, one in seen.parameters.items()}
    return with_options


def brought(own: OwnOptions, task: str | None) -> Brought | None:
    """What was brought, if ``--data`` was given; InputError for options that then are missing, or have no effect."""
    from benchmark.own import Brought

    if own.data is None:
        for field in dataclasses.fields(own):
            if getattr(own, field.name) != field.default:
                raise InputError(f"--{field.name.replace('_', '-')} has no effect without --data FOLDER")
        return None
    if not task or not own.model:
        missing, example = ("--task", "class-forget") if not task else ("--model", "resnet18")
        raise InputError(f"--data needs {missing}, for example {missing} {example}")
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if getattr(own, name) < least:
            raise InputError(f"{name.replace('_', '-')} must be at least {least}, not {getattr(own, name)}")
    if own.lr is not None and not 0 < own.lr < 100:
        raise InputError(f"lr must be above 0 and below 100, not {own.lr}")
    given = dataclasses.asdict(own)
    forget = (given.pop("forget_class") or "").strip()
    return Brought(given.pop("data"), task, given.pop("model"), forget=forget, **given)


def added(own: Brought, suite: str, scenarios: str | None, *, keep: bool = True) -> Suite:
    """The suite of what was brought; InputError for what cannot be chosen with it."""
    from benchmark.own import add

    if suite not in ("embedded", "own") or scenarios:
        wrong = "scenarios" if scenarios else "suite"
        raise InputError(f"--{wrong} has no effect with --data, which is a scenario of its own of the suite own")
    suite_of_it = add(own, keep=keep)
    _say(suite_of_it)
    return suite_of_it


def _say(suite: Suite) -> None:
    """What was made of the pictures, so that a wrong label or split is seen before anything runs."""
    from rich.markup import escape

    from benchmark.data.folder import ignored
    from benchmark.data.manifest import read

    (scenario,) = suite.scenarios.values()
    found, attribute = read(scenario.settings.data)
    names = ", ".join(found.classes[:MOST_NAMED]) + (", ..." if len(found.classes) > MOST_NAMED else "")
    by = f"; {attribute}: {', '.join(found.attributes[attribute].values)}" if attribute else ""
    console = make_console()
    classes = f"{len(found.classes)} classes, in the order of outputs: {names}{by}"
    told = f"{len(found.files):,} pictures, {found.counts}; {classes}"
    console.print(escape(visible(told)), soft_wrap=True)
    left = [file for file in ignored(Path(found.folder)) if not file.lower().endswith(".csv")]
    if left:
        console.print(
            escape(visible(f"{len(left):,} other files are left alone, the first is {left[0]}")), soft_wrap=True
        )
    if scenario.settings.weights:
        console.print(
            "was your network trained on any of the test pictures? Then its accuracies and every membership attack say "
            "nothing: give the split that it was trained by (column split), or train by this one: "
            f"amendbench data split {escape(scenario.settings.data.partition('@')[0])} > split.csv",
            soft_wrap=True,
        )
    else:
        console.print("no weights were given: a base model is trained for each seed")
