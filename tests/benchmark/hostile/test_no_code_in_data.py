"""Nothing that is read runs: no source here unpickles or evaluates, and a pickle in place of data starts nothing."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.artifacts.store import ArtifactStore
from benchmark.data.kept import restore
from benchmark.data.natural import _pixels
from benchmark.errors import InputError
from benchmark.metrics import fidelity
from benchmark.models.classifiers import build_classifier
from benchmark.models.weights import tensors_only
from benchmark.running.arrays import ArraysError, read_arrays
from benchmark.suites.definition import load_suite

SOURCE = Path(__file__).parents[3]
FILES = sorted(path for package in ("benchmark", "methods", "baselines") for path in (SOURCE / package).rglob("*.py"))
#: Modules that make code of data, or would.
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "code"}
#: Names that evaluate text.
EVALUATE = {"eval", "exec", "compile", "__import__", "execfile"}
#: Ends of calls that are fine with these words, and with no others.
WITH = {
    "torch.load": ("weights_only", True),
    "torch.hub.load_state_dict_from_url": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "AutoTokenizer.from_pretrained": ("trust_remote_code", False),
}
NEVER = {
    "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "os.system", "os.popen", "pandas.read_pickle", "pd.read_pickle", "tarfile.open",
    "shutil.unpack_archive", "ZipFile.extractall", "np.fromregex", "runpy.run_path", "logging.config.fileConfig",
}  # fmt: skip


def faults(tree: ast.AST) -> Iterator[str]:
    """What in a module's syntax tree could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    words = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
    if isinstance(node.func, ast.Name) and name in EVALUATE:
        yield name
    if any(name == never or name.endswith(f".{never}") for never in NEVER) or name.endswith(".extractall"):
        yield name
    for ending, (word, value) in WITH.items():
        if (name == ending or name.endswith(f".{ending}")) and words.get(word) is not value:
            yield f"{name} without {word}={value}"
    if words.get("shell") is True or words.get("allow_pickle") is True or words.get("weights_only") is False:
        yield f"{name}({words})"


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_no_source_runs_what_it_reads(path: Path) -> None:
    assert list(faults(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "import cloudpickle as p", "torch.load(f)", "eval(x)",
        "torch.load(f, weights_only=False)", "np.load(f)", "np.load(f, allow_pickle=True)", "yaml.load(f)",
        "torch.hub.load('a', 'b')", "subprocess.run('x', shell=True)", "f(weights_only=False)", "a.extractall('x')",
        "library.AutoTokenizer.from_pretrained(name)",
    ],
)  # fmt: skip
def test_the_look_at_the_source_sees(line: str) -> None:
    assert list(faults(ast.parse(line)))


class Bomb:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Bomb]:
    found = Bomb(tmp_path / "it-ran")
    yield found
    assert not found.mark.exists()


def test_a_bomb_goes_off_where_it_is_unpickled(tmp_path: Path) -> None:
    """What the other tests rest on."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").is_dir()


def saved_by_torch(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2), "state": bomb}, buffer)
    return buffer.getvalue()


def saved_by_numpy(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, logits=np.array([bomb], dtype=object))
    return buffer.getvalue()


def zipped(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(bomb))
        archive.writestr("../../escaped", b"")
    return buffer.getvalue()


FORMS: list[Callable[[Bomb], bytes]] = [pickle.dumps, saved_by_torch, saved_by_numpy, zipped]


@pytest.mark.parametrize("form", FORMS)
def test_bombs_in_place_of_predictions(bomb: Bomb, form: Callable[[Bomb], bytes]) -> None:
    with pytest.raises(ArraysError):
        read_arrays(form(bomb))


@pytest.mark.parametrize("form", FORMS)
def test_bombs_in_the_cache(bomb: Bomb, form: Callable[[Bomb], bytes], tmp_path: Path) -> None:
    store, tensors = ArtifactStore(tmp_path / "artifacts"), {"a": torch.ones(2)}
    store.get_or_build({"k": 1}, lambda: tensors)
    path = store.path({"k": 1})
    path.write_bytes(form(bomb))
    assert store.get_or_build({"k": 1}, lambda: tensors)["a"].tolist() == [1, 1]
    kept = tmp_path / "kept.safetensors"
    kept.write_bytes(form(bomb))
    assert restore(kept) is None


@pytest.mark.parametrize("form", FORMS)
def test_bombs_in_place_of_pictures_and_suites(bomb: Bomb, form: Callable[[Bomb], bytes], tmp_path: Path) -> None:
    path = tmp_path / "bomb.toml"
    path.write_bytes(form(bomb))
    with pytest.raises(InputError, match="bomb"):
        load_suite(str(path))
    with pytest.raises(InputError, match="picture"):
        _pixels(path, prepare=lambda picture: picture)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder of weights, and reading as in the command line and in workers."""
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    tensors_only()
    return folder


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", FORMS)
def test_bombs_in_place_of_published_weights(bomb: Bomb, form: Callable[[Bomb], bytes], hub: Path) -> None:
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    for name in ("resnet18-f37072fd.pth", "pt_inception-2015-12-05-6726825d.pth"):
        (hub / name).write_bytes(form(bomb))
    with pytest.raises(InputError, match="cannot be had"):
        build_classifier("torchvision:resnet18", 3, (3, 224, 224), pretrained=True)
    with pytest.raises(InputError, match="is not the file"):
        fidelity._weights("https://example.org/pt_inception-2015-12-05-6726825d.pth")
