"""Every method that is registered keeps its contract, and each way of breaking it is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.checking.contract import Finding, check_file, check_method, failures
from benchmark.contracts import MethodInfo
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.suites.choosing import methods_of, name_files

#: What takes long, in little: how a method does its work does not depend on how much of it.
LITTLE = {
    **dict.fromkeys(("epochs", "repair_epochs", "max_epochs"), 1),
    **dict.fromkeys(("vae_epochs", "copies", "models", "shards"), 2),
    **dict.fromkeys(("steps", "adapt_steps", "noise_steps"), 10),
    **dict.fromkeys(("adapt_images", "retain_per_class", "forget_samples"), 50),
    "images": 200,
    "max_patches": 500,
}
EVERY = [(info, task) for info in METHODS.values() for task in info.tasks]


@pytest.mark.parametrize(("info", "task"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_it_keeps_its_contract(info: MethodInfo, task: str, cache_folder: Path) -> None:
    little = {p.name: LITTLE[p.name] for p in info.parameters if p.name in LITTLE}
    found = check_method(info, [task], little, cache_folder)
    assert failures(found) == []
    assert [each for each in found if each.outcome == "note" and each.promise != "names its paper"] == []


HEAD = """
import copy
import functools
import torch
from torch import nn
from benchmark.contracts import Access, method

class Wrapped(nn.Module):
    def __init__(self, model, view=None):
        super().__init__()
        self.model, self.view = model, view

ACCESS
def bad(problem, *, lr: float = 0.1) -> nn.Module:
    \"\"\"What it does.\"\"\"
"""
DECLARED = '@method("bad", tasks="class-forget", paper="p", access=Access({}))'


@pytest.fixture
def findings(tmp_path: Path, outsiders: Callable[[], None], cache_folder: Path) -> Callable[..., list[Finding]]:
    """What is found of a method with this body."""

    def find(body: str, access: str = 'retain="xy", max_samples={"retain": 40}', head: str = HEAD) -> list[Finding]:
        path = tmp_path / "bad.py"
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        path.write_text(head.replace("ACCESS", DECLARED.format(access)) + lines)
        name_files([path])
        (info,) = methods_of(str(path))
        return check_method(info, cache=cache_folder)

    return find


def test_an_honest_method_keeps_every_promise(findings: Callable[..., list[Finding]]) -> None:
    body = "x = problem.retain.draw(40, problem.generator('x')).x\nproblem.model(x)\nreturn problem.model.eval()"
    found = findings(body)
    assert {each.outcome for each in found} == {"ok"}
    assert {(each.method, each.task) for each in found} == {("bad", "class-forget")}


@pytest.mark.parametrize(
    ("body", "broken"),
    [
        ("problem.forget.everything().x\nreturn problem.model", ["reads only what it declares"]),
        (
            "try:\n    problem.retain.everything().x\nexcept Exception: pass\nreturn problem.model",
            ["reads only what it declares", "stays within its max_samples"],
        ),
        ("return 7", ["runs with its hyper-parameters"]),
        ("return problem.model.no_such_thing", ["runs with its hyper-parameters"]),
        ("return nn.Flatten()", ["returns a network that can be used"]),
        ("return Wrapped(problem.model)", ["returns a network that can be used"]),
        ("for p in problem.model.parameters(): p.data += float('nan')\nreturn problem.model",
         ["returns a network that can be used", "answers the same again"]),
        ("Wrapped.forward = lambda self, x: self.model(x) + torch.rand(1)\nreturn Wrapped(problem.model)",
         ["answers the same again"]),
        ("Wrapped.forward = lambda self, x: self.model(x) + 0 * self.view.batch(torch.arange(1)).x.sum()\n"
         "return Wrapped(problem.model, problem.retain)",
         ["returns a network that can be used", "reads only what it declares"]),
        ("import time\nnext(problem.model.parameters()).data += time.perf_counter()\nreturn problem.model",
         ["is deterministic"]),
        ("torch.set_default_dtype(torch.float64)\nreturn problem.model", ["leaves torch's settings alone"]),
    ],
)  # fmt: skip
def test_what_is_broken_is_found(findings: Callable[..., list[Finding]], body: str, broken: list[str]) -> None:
    found = findings(body)
    assert sorted(each.promise for each in found if each.outcome == "failed") == sorted(broken)
    assert len(failures(found)) == len(broken)


@pytest.mark.parametrize(
    ("body", "promise"),
    [
        ("next(problem.model.parameters()).data += torch.rand(1)\nreturn problem.model", "takes no global randomness"),
        ("return problem.model.requires_grad_(False)", "can be trained on"),
    ],
)
def test_what_is_to_be_known_is_noted(findings: Callable[..., list[Finding]], body: str, promise: str) -> None:
    found = findings(body)
    assert [each.promise for each in found if each.outcome == "note"] == [promise]
    assert failures(found) == []


def test_the_original_is_told_from_the_copy(
    findings: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that hands out the original itself, and a method that changes what it is given."""
    from benchmark.tasks import forgetting

    monkeypatch.setattr(forgetting.copy, "deepcopy", lambda model: model)
    found = findings("next(problem.model.parameters()).data += 1\nreturn problem.model")
    assert "leaves the original alone" in {each.promise for each in found if each.outcome == "failed"}
    from benchmark.checking import tiny

    tiny._tiny.cache_clear()  # it was changed


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (HEAD.replace("\ndef bad", "\n@functools.partial(lambda f: lambda problem: f(problem))\ndef bad"), "are none"),
        (HEAD.replace("import copy", "import no_such_module"), "ModuleNotFoundError"),
        (HEAD + "    pass\n\nbad.__kwdefaults__ = {'lr': 0.2}\n\ndef rest(problem):\n", "its hyper-parameters are"),
    ],
)
def test_what_is_imported_is_compared_with_the_source(
    findings: Callable[..., list[Finding]], head: str, said: str
) -> None:
    (found,) = (each for each in findings("return problem.model", head=head) if each.outcome == "failed")
    assert found.promise == "is imported as it was read"
    assert said in found.said


def test_a_method_without_words_is_found(findings: Callable[..., list[Finding]]) -> None:
    found = findings("return problem.model", head=HEAD.replace('    """What it does."""\n', ""))
    assert [each.promise for each in found if each.outcome == "failed"] == ["says what it does"]


def test_hyper_parameters_and_tasks_that_it_does_not_have(cache_folder: Path) -> None:
    info = METHODS.get("scrub", "class-forget")
    with pytest.raises(InputError, match="unknown hyper-parameter of scrub 'epoch'"):
        check_method(info, parameters={"epoch": 1}, cache=cache_folder)
    with pytest.raises(InputError, match="scrub is no method of task 'debias-known'"):
        check_method(info, ["debias-known"], cache=cache_folder)


def test_a_file_is_checked_whole(tmp_path: Path, outsiders: Callable[[], None]) -> None:
    first = HEAD.replace("ACCESS", DECLARED.format("")) + "    return problem.model\n"
    second = first.replace("bad", "worse").replace("return problem.model", "return None")
    (tmp_path / "both.py").write_text(first + second)
    (line,) = failures(check_file(tmp_path / "both.py"))
    assert line.startswith("worse, class-forget: runs with its hyper-parameters: TypeError: worse returned NoneType")
