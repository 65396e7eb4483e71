"""A site's settings: what is wrong is said, and nothing in them becomes another line of a job script."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.running.cluster import VARIABLE, Cluster, load_cluster
from benchmark.suites.resources import Resources, check_resources, resources_of

WHOLE = """
partition = "gpu,gpu-long"
account = "lab_7"
qos = "normal"
constraint = "[a100*1|h100*1]&ib"
gres = "gpu:a100"
setup = ["module load cuda/12.4", "export HF_HOME=/scratch/$USER/hf"]
parallel = 8
minutes_a_task = 7.5
max_array_size = 200
requeues = 0
signal_seconds = 120
"""


def written(folder: Path, content: str) -> Path:
    path = folder / "cluster.toml"
    path.write_text(content)
    return path


def test_every_field_is_read_and_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert load_cluster(None) == Cluster()
    path = written(tmp_path, WHOLE)
    found = load_cluster(path)
    assert (found.partition, found.constraint, found.requeues) == ("gpu,gpu-long", "[a100*1|h100*1]&ib", 0)
    assert len(found.setup) == 2
    monkeypatch.setenv(VARIABLE, str(path))
    assert load_cluster(None) == found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('partion = "gpu"', "did you mean partition"),
        ("parallel = 0", "parallel"),
        ("minutes_a_task = nan", "finite"),
        ("requeues = -1", "requeues"),
        ("max_array_size = 1.5", "max_array_size"),
        ('setup = "module load"', "setup"),
        ("partition = [", "cluster.toml"),
        ('partition = "gpu\\n#SBATCH --uid=0"', "partition"),
        ('partition = "--uid=0"', "partition"),
        ("account = \"lab' --wrap='true\"", "account"),
        ('account = ""', "account"),
        ('qos = "high\\r"', "qos"),
        ('constraint = "a100 --exclusive"', "constraint"),
        ('constraint = "a100\\u2028b"', "constraint"),
        ('gres = "gpu:$(id)"', "gres"),
        (f'partition = "{"g" * 300}"', "partition"),
        ('setup = ["#SBATCH --uid=0"]', "setup"),
        ('setup = ["true", "  #SBATCH --uid=0"]', "setup"),
        ('setup = ["true\\n#SBATCH --uid=0"]', "setup"),
        ('setup = ["true\\u0085#SBATCH --uid=0"]', "setup"),
    ],
)
def test_what_is_wrong_names_its_field(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        load_cluster(written(tmp_path, content))


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.toml"))
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        load_cluster(None)


def test_resources_fall_back_on_the_default_and_on_the_device() -> None:
    given = {"default": Resources(memory_gb=2, minutes=5), "big": Resources(memory_gb=64, gpus=2)}
    assert resources_of("big", given, "cpu") == Resources(64, 2, 5)
    assert resources_of("small", given, "cpu") == Resources(2, 0, 5)
    assert resources_of("small", given, "cuda") == Resources(2, 1, 5)
    assert resources_of("small", {}, "cuda:1") == Resources(8, 1, None)


def test_resources_of_an_unknown_scenario_name_the_near_miss() -> None:
    check_resources({"default": Resources(), "digits": Resources()}, ["digits"], "suite.toml")
    with pytest.raises(InputError, match=r"suite\.toml: resources: .*did you mean digits"):
        check_resources({"digts": Resources()}, ["digits"], "suite.toml")
