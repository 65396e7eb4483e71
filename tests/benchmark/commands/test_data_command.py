"""amendbench data: lists, what a suite needs, what is said of each set, and every way to use it wrongly."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from benchmark.data import DATA
from benchmark.suites.definition import load_suite

ALL = [*DATA]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root where there is nothing."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def call(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["data", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_list_has_every_set_and_says_what_is_here(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "celeba").mkdir(parents=True)
    assert call("list") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("name ")
    assert [row.split()[0] for row in rows] == ALL
    here = {row.split()[0] for row in rows if row.split()[1] == "yes"}
    assert here == {
        "mnist-5k",
        "cmnist-5k",
        "digits",
        "four-gaussians",
        "eight-gaussians",
        "celeba-blond",
        "celeba-collar",
    }
    (svhn,) = [row for row in rows if row.startswith("svhn ")]
    for part in ("73,257 / 0 / 26,032", "246 MB", "non-commercial use only", "house numbers"):
        assert part in svhn


def test_the_list_of_a_suite_is_what_its_scenarios_need(capsys: pytest.CaptureFixture[str]) -> None:
    needed = {str(scenario.settings.data) for scenario in load_suite("embedded").scenarios.values()}
    for arguments in (["--suite", "embedded", "--json"], ["--json", "--suite=embedded"]):
        assert call("list", *arguments) == 0
        assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == needed


def test_programs_get_all_facts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert [*entries] == ALL
    told = entries["cifar-100"]
    assert (told["there"], told["num_classes"], told["shape"]) == (False, 100, [3, 32, 32])
    assert told["paths"] == [str(root / "uoft-cs" / "cifar100" / "cifar100")]
    assert told["get"] == "amendbench data get cifar-100"
    assert len(told["classes"]) == 100
    assert entries["isic-2017-patches"]["artefact"]


def test_the_list_is_quick() -> None:
    """Processor time, because others may use this machine; torch alone takes more than a second."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(
        [sys.executable, "-m", "benchmark", "data", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert told.returncode == 0, told.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.9


@pytest.mark.parametrize("name", ALL)
def test_a_set_is_shown_with_what_to_cite(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("show", name) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{name}\n")
    assert DATA.get(name).facts.licence in told
    assert told.count("@misc{") == len(DATA.get(name).facts.citations)


def test_checking_says_what_is_missing_and_how_to_get_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "digits", "digits") == 0
    assert capsys.readouterr().out == "right    digits: 1,097 train, 300 selection, 400 test\n"
    assert call("check", "digits", "svhn") == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["right", "missing"]
    assert told[1].endswith("amendbench data get svhn")
    assert not root.exists()


def test_checking_what_a_suite_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("check", "--suite", "smoke") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"right"}


def test_a_wrong_file_is_worse_than_a_missing_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "svhn").mkdir(parents=True)
    (root / "svhn" / "train_32x32.mat").write_bytes(b"half of it")
    assert call("check", "svhn", "cifar-10") == 2
    wrong, missing = capsys.readouterr().out.splitlines()
    assert wrong.startswith("wrong    svhn: ")
    assert "train_32x32.mat" in wrong
    assert missing.startswith("missing  cifar-10: ")
    assert (root / "svhn" / "train_32x32.mat").read_bytes() == b"half of it"


def test_getting_what_is_here_or_cannot_be_downloaded(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("get", "digits") == 0
    assert capsys.readouterr().out == "digits comes with a package: nothing to get\n"
    assert call("get", "waterbirds") == 1
    told = capsys.readouterr().out
    for part in ("terms of CUB-200-2011", "about 500 MB", f"tar -xz -C {root}/waterbirds", "metadata.csv"):
        assert part in told
    (root / "waterbirds" / "waterbird_complete95_forest2water2").mkdir(parents=True)
    assert call("get", "waterbirds") == 0
    assert "waterbirds is there" in capsys.readouterr().out


def test_getting_downloads_whole_or_not_at_all(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("datasets")

    class Split:
        def to_parquet(self, path: str) -> None:
            Path(path).write_text("rows")

    def refuse(*arguments: object, **options: object) -> None:
        raise ConnectionError("there is no network")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert call("get", "cifar-100") == 2
    told = capsys.readouterr().err
    assert "(there is no network)" in told
    assert "amendbench data get cifar-100" in told
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **options: {"train": Split(), "test": Split()})
    assert call("get", "cifar-100") == 0
    folder = root / "uoft-cs" / "cifar100" / "cifar100"
    assert str(folder) in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{split}-00000-of-00001.parquet" for split in ("test", "train")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "mnist"], "data list takes --suite SUITE and --json, and got 'mnist'"),
        (["list", "--suites", "x"], "and got '--suites'"),
        (["list", "--suite"], "--suite needs a suite's name"),
        (["list", "--suite", "standart"], "unknown suite 'standart'; did you mean standard"),
        (["check", "mnits"], "unknown data set 'mnits'; did you mean mnist"),
        (["check", "digits", "--suite", "smoke"], "names of data sets or --suite, not both"),
        (["check", "digits", "cifar"], "unknown data set 'cifar'; did you mean cifar-10 or cifar-100"),
        (["get", "image-net"], "unknown data set 'image-net'; did you mean imagenet"),
        (["show", "own:pets-00000000"], "unknown data set 'own:pets-00000000'"),
        (["shw"], "No such command 'shw'"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_without_a_command_it_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    told = capsys.readouterr().out
    for name in ("list", "check", "get", "show"):
        assert f"\n  {name} " in told
