"""The command that applies one method to a user's model and saves what comes out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from benchmark.commands.options import DeviceOption, app, make_console, whole, within
from benchmark.commands.own import OwnOptions, added, brings_own, brought
from benchmark.errors import InputError, unknown

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter; may be given several times."),
]


@app.command(
    epilog="Examples: amendbench amend --data images/ --model resnet18 --weights mine.safetensors --task class-forget "
    "--forget-class tench --method svd-forgetting --out amended | "
    "amendbench amend --data images/ --attributes attributes.csv --attribute ruler --model resnet18 --weights "
    "mine.safetensors --task bias-correction --method rr-clarc --set lam=100 --retrain --out corrected"
)
@brings_own
def amend(
    task: Annotated[str, typer.Option(help="What is to be done, for example class-forget.")],
    method: Annotated[str, typer.Option(help="By which method: a name that amendbench list tells, or file.py:name.")],
    out: Annotated[Path, typer.Option(help="The folder that is made: weights, model card, records.")],
    own: OwnOptions,
    set_: SetOption = None,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train the reference, too: most metrics mean little without it.")
    ] = False,
    seed: Annotated[int, typer.Option(parser=whole, metavar="N", help="Of whatever is random.")] = 0,
    device: DeviceOption = "cpu",
    threads: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="Threads on a CPU; one a core if left out.")
    ] = None,
) -> None:
    """Apply one method to your own model; save the amended weights with a model card and the records."""
    if own.data is None:
        raise InputError("--data is missing: a folder of pictures, which the method reads and the metrics are told by")
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")
    mine = brought(own, task)
    assert mine is not None
    from benchmark.discovery.methods import METHODS
    from benchmark.environment import cores
    from benchmark.files import check_writable
    from benchmark.running.session import check_device
    from benchmark.suites.definition import methods_of

    check_device(device)
    many = within(len(cores()) if threads is None else threads, 1, 1024, "threads")
    check_writable(out.absolute().parent)
    from benchmark.suites.choosing import invited, with_methods

    _, named = invited(None, [method])
    if len(named) != 1:
        raise InputError(f"method {method!r} names {len(named)} methods ({', '.join(named)}); name one")
    (method,) = named
    if not METHODS.has(method, task):
        raise unknown(f"method of {task}", method, methods_of(task))
    suite = msgspec.structs.replace(with_methods(added(mine, "own", None, keep=False), [method]), threads=many)
    from benchmark.own.amended import Amendment, NotWeights, amend, prepared

    (scenario,) = suite.scenarios.values()
    parameters = assigned(set_ or [], method, task)
    command = shlex.join(["amendbench", *sys.argv[1:]])
    wanted = prepared(Amendment(suite, method, parameters, seed, device, retrain, out, command))
    console = make_console()
    console.print(f"[bold]{scenario.name}[/]: {method} on {device}, seed {seed}; into {out}")
    try:
        records = amend(wanted, lambda line: console.print(f"  {line}"))
    except NotWeights as error:
        console.print(f"[red]nothing was written[/]: {method}: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted; nothing was written")
        raise typer.Exit(130) from None
    failed = [record for record in records.values() if record.failure is not None]
    for record in failed:
        assert record.failure is not None
        console.print(f"[red]{record.cell.method}: {record.status}[/]: {record.failure.message[:300]}")
    if failed:
        console.print("nothing was written")
        raise typer.Exit(1)
    console.print(f"wrote {out}: amended.safetensors, MODEL_CARD.md, amendment.json, records/")


def assigned(told: list[str], method: str, task: str) -> dict[str, Any]:
    """Hyper-parameters from texts NAME=VALUE; InputError for one that is none of the method's, or of another type."""
    from benchmark.discovery.methods import METHODS

    known = {p.name: p for p in METHODS.get(method, task).parameters}
    found: dict[str, Any] = {}
    for text in told:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text!r} is not NAME=VALUE")
        if name not in known:
            raise unknown(f"hyper-parameter of {method}", name, known)
        found[name] = _typed(value, known[name].type, name)
    return found


def _typed(value: str, kind: str, name: str) -> Any:
    if kind == "bool":
        if value not in ("true", "false"):
            raise InputError(f"--set {name}: {value!r} is neither true nor false")
        return value == "true"
    try:
        return {"int": int, "float": float, "str": str}[kind](value)
    except ValueError:
        raise InputError(f"--set {name}: {value!r} is no {kind}") from None
