"""What is read from source is what Python would import, and hyper-parameters are checked before a run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmark.contracts import Access, MethodInfo, Parameter
from benchmark.discovery.methods import METHODS, MethodRegistry, check_parameters, load, methods_of
from benchmark.errors import InputError

HEAD = "from benchmark.contracts import Access, method\n"


def methods_in(source: str) -> list[MethodInfo]:
    return list(methods_of(HEAD + source, "methods.example", "paper"))


def test_methods_lie_where_their_kind_says() -> None:
    """That source and import agree, and that a method asks for what is offered: checking/test_contract.py."""
    for info in METHODS.values():
        homes = {"paper": "methods.", "ablation": "methods.ablations."}
        at_home = info.module.startswith(homes.get(info.kind, "baselines."))
        assert at_home or info.shares, "only what shares a stage with a paper's methods lies in the paper's file"


def test_names_that_scripts_depend_on() -> None:
    assert {"original", "retrain", "logit-mask", "finetune", "svd-forgetting", "svd-forgetting+search"} <= set(METHODS)
    assert [METHODS.get(n, "class-forget").kind for n in ("svd-forgetting", "finetune", "retrain", "logit-mask")] == [
        "paper", "baseline", "reference", "cheat",
    ]  # fmt: skip


def test_everything_that_a_declaration_says_is_read() -> None:
    (info,) = methods_in(
        '@method("m+v", tasks=("class-forget", "other"), paper="p", kind="cheat", version=3,\n'
        '        access=Access(retain="xy", max_samples={"retain": 7}))\n'
        "def f(problem, *, lr: float = -1e-3, steps: int = 2, on: bool = True, mode: str = 'a'):\n"
        '    """First line.\n\n    More.\n    """\n'
    )
    assert info == MethodInfo(
        name="m+v",
        kind="cheat",
        tasks=("class-forget", "other"),
        paper="p",
        access=Access(retain="xy", max_samples={"retain": 7}),
        version=3,
        parameters=(
            Parameter("lr", "float", -1e-3),
            Parameter("steps", "int", 2),
            Parameter("on", "bool", True),
            Parameter("mode", "str", "a"),
        ),
        module="methods.example",
        function="f",
        summary="First line.",
    )


def test_defaults_of_a_declaration_and_functions_that_are_no_methods() -> None:
    found = methods_in(
        '@method("m", tasks="t", paper="", access=Access())\ndef f(problem): pass\n'
        '@other("n")\ndef g(problem, *, x): pass\n'
        "def h(problem, *, x): pass\n"
    )
    assert [(m.name, m.kind, m.tasks, m.version, m.parameters, m.summary) for m in found] == [
        ("m", "paper", ("t",), 1, (), "")
    ]


@pytest.mark.parametrize(
    ("declaration", "signature", "reason"),
    [
        ('NAME, tasks="t", paper="", access=Access()', "problem", "literals only, not NAME"),
        ('"m", tasks="t", paper=PAPER, access=Access()', "problem", "literals only, not PAPER"),
        ('"m", tasks=f"{x}", paper="", access=Access()', "problem", "literals only"),
        ('"m", tasks="t", paper="", access=ACCESS', "problem", "literals only, not ACCESS"),
        ('"m", tasks="t", paper="", access=Access(retain=FIELDS)', "problem", "malformed"),
        ('"m", tasks="t", paper="", access=Access(retain="xz")', "problem", "'xz' is not made of xyam"),
        ('"m", tasks="t", paper="", access=Access(retain="")', "problem", "is not made of xyam"),
        ('"m", tasks="t", paper="", access=Access()', "problem, *, lr=0.1", "hyper-parameter lr needs a type"),
        ('"m", tasks="t", paper="", access=Access()', "problem, *, lr: float", "hyper-parameter lr needs a type"),
        ('"m", tasks="t", paper="", access=Access()', "problem, *, lr: list = 1", "hyper-parameter lr needs a type"),
        ('"m", tasks="t", paper="", access=Access()', "problem, *, lr: float = LR", "malformed"),
    ],
)
def test_what_cannot_be_read_without_importing_is_refused(declaration: str, signature: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        methods_in(f"@method({declaration})\ndef f({signature}): pass\n")


def test_a_positional_hyper_parameter_is_refused() -> None:
    """It would be neither listed nor recorded nor checked."""
    with pytest.raises(ValueError, match="lr"):
        methods_in('@method("m", tasks="t", paper="", access=Access())\ndef f(problem, lr: float = 0.1): pass\n')


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("svd-forgetting", {"alpha": 1.0}, "'alpha'; did you mean .*alpha_[rf]"),
        ("svd-forgetting", {"zzz": 1.0}, "'zzz'; known: alpha_f, alpha_r"),
        ("svd-forgetting", {"alpha_r": "100"}, "alpha_r must be float, not '100'"),
        ("svd-forgetting", {"alpha_r": True}, "alpha_r must be float, not True"),
        ("svd-forgetting", {"alpha_r": None}, "alpha_r must be float, not None"),
        ("svd-forgetting", {"alpha_r": math.nan}, "alpha_r must be a finite number, not nan"),
        ("svd-forgetting", {"alpha_f": math.inf}, "alpha_f must be a finite number, not inf"),
        ("svd-forgetting", {"window": 2.5}, "window must be int, not 2.5"),
        ("svd-forgetting", {"window": True}, "window must be int, not True"),
        ("svd-forgetting+search", {"prune": 1}, "prune must be bool, not 1"),
        ("retrain", {"lr": 0.1}, "'lr'; known: none"),
    ],
)
def test_wrong_hyper_parameters_name_place_field_and_value(method: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^my place: .*{said}"):
        check_parameters(METHODS.get(method, "class-forget"), given, "my place")


def test_given_hyper_parameters_are_laid_over_the_defaults_in_their_type() -> None:
    info = METHODS.get("svd-forgetting")
    full = check_parameters(info, {"alpha_r": 7}, "here")
    assert full == {**info.defaults(), "alpha_r": 7.0}
    assert type(full["alpha_r"]) is float


def test_load_refuses_a_function_that_is_not_that_method() -> None:
    info = METHODS.get("finetune", "class-forget")
    impostor = MethodInfo(**{**vars(info), "name": "something-else"})
    with pytest.raises(ValueError, match="is not declared as method 'something-else'"):
        load(impostor)


def test_two_tasks_may_have_different_methods_of_one_name() -> None:
    one, other = (MethodInfo("m", "baseline", (task,), "", Access(), 1, (), task, "f", "") for task in ("a", "b"))
    registry = MethodRegistry(lambda: [one, other])
    assert (registry.get("m", "a"), registry.get("m", "b")) == (one, other)
    assert registry.has("m", "a")
    assert not registry.has("m", "c")
    assert list(registry) == ["m"]
    with pytest.raises(ValueError, match="several methods are named 'm': those of a, b"):
        registry.get("m")
    with pytest.raises(InputError, match="unknown method 'm'; known: none"):
        registry.get("m", "c")
    with pytest.raises(ValueError, match="two methods are named 'a/m'"):
        MethodRegistry(lambda: [one, one]).get("m")
