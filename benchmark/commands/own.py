"""The options by which users bring their own data and models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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


PANEL = "Your own data and model"
#: What the splits are for, and how many classes are named.
PURPOSES, MOST_NAMED = ("training", "selection", "the test"), 12
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="A folder of pictures, one folder a class (or train/, val/ and test/ with these), or any with a CSV file.",
        rich_help_panel=PANEL,
    ),
]
AttributesOption = Annotated[
    Path | None,
    typer.Option(
        help="A CSV file of the pictures: file, and if known label, split (train, val, test) and attributes.",
        rich_help_panel=PANEL,
    ),
]
AttributeOption = Annotated[
    str,
    typer.Option(help="The column that is the bias, or says where the artefact is.", rich_help_panel=PANEL),
]
NameOption = Annotated[
    str, typer.Option(help="What to call the data; the folder's name if left out.", rich_help_panel=PANEL)
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="The network: one of our own, or one of torchvision's or timm's, for example resnet18.",
        rich_help_panel=PANEL,
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Its weights, a safetensors file of its state; trained here if left out. Classes are numbered by name.",
        rich_help_panel=PANEL,
    ),
]
PretrainedOption = Annotated[
    bool,
    typer.Option("--pretrained", help="What is trained here starts from published weights.", rich_help_panel=PANEL),
]
ForgetClassOption = Annotated[
    str | None, typer.Option(help="The class to forget; several with commas.", rich_help_panel=PANEL)
]
LayerOption = Annotated[
    str, typer.Option(help="Whose output is corrected, where it is not known.", rich_help_panel=PANEL)
]
SizeOption = Annotated[
    int | None,
    typer.Option(
        parser=whole,
        metavar="N",
        help="Pictures become squares of so many pixels; 224, but for small squares, which stay as they are.",
        rich_help_panel=PANEL,
    ),
]
FitOption = Annotated[
    str, typer.Option(help="crop: the middle of a picture; squeeze: all of it.", rich_help_panel=PANEL)
]
NormaliseOption = Annotated[
    str, typer.Option(help="imagenet, none, or means and deviations: m,m,m/s,s,s.", rich_help_panel=PANEL)
]
GreyOption = Annotated[bool, typer.Option("--grey", help="Pictures have one channel.", rich_help_panel=PANEL)]
EpochsOption = Annotated[
    int,
    typer.Option(parser=whole, metavar="N", help="Epochs of whatever is trained from scratch.", rich_help_panel=PANEL),
]
RateOption = Annotated[
    float | None,
    typer.Option(parser=number, metavar="X", help="Its highest learning rate.", rich_help_panel=PANEL),
]
BatchOption = Annotated[int, typer.Option(parser=whole, metavar="N", help="Its batch size.", rich_help_panel=PANEL)]


def brought(data: Path | None, task: str | None, model: str | None, given: Mapping[str, Any]) -> Brought | None:
    """What was brought, if ``--data`` was given; InputError for options that then are missing, or have no effect.

    ``given``: the other options, called as in ``benchmark.own.Brought``, with ``forget_class`` as text.
    """
    from benchmark.own import Brought

    forget = (given["forget_class"] or "").strip()
    others = {name: value for name, value in given.items() if name != "forget_class"}
    if data is None:
        usual = Brought(Path(), "", "")
        set_ = [name for name, value in others.items() if value != getattr(usual, name)]
        set_ += ["forget_class"] if forget else []
        set_ += ["model"] if model else []
        if set_:
            raise InputError(f"--{set_[0].replace('_', '-')} has no effect without --data FOLDER")
        return None
    if not task or not model:
        missing, example = ("--task", "class-forget") if not task else ("--model", "resnet18")
        raise InputError(f"--data needs {missing}, for example {missing} {example}")
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if given[name] < least:
            raise InputError(f"{name.replace('_', '-')} must be at least {least}, not {given[name]}")
    if given["lr"] is not None and not 0 < given["lr"] < 100:
        raise InputError(f"lr must be above 0 and below 100, not {given['lr']}")
    return Brought(data, task, model, forget=forget, **others)


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
    from benchmark.data.manifest import SPLITS, read

    (scenario,) = suite.scenarios.values()
    found, attribute = read(scenario.settings.data)
    counts = ", ".join(f"{found.count(split):,} for {what}" for split, what in zip(SPLITS, PURPOSES, strict=True))
    names = ", ".join(found.classes[:MOST_NAMED]) + (", ..." if len(found.classes) > MOST_NAMED else "")
    by = f"; {attribute}: {', '.join(found.attributes[attribute].values)}" if attribute else ""
    console = make_console()
    told = (
        f"{len(found.files):,} pictures, {counts}; {len(found.classes)} classes, in the order of outputs: {names}{by}"
    )
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
