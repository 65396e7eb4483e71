"""Networks with published weights: text classifiers of transformers, and what pretrained image networks need."""

from __future__ import annotations

import copy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import compat
from benchmark.compat import transformers
from benchmark.errors import InputError
from benchmark.models import LIBRARIES, MODELS
from benchmark.models.classifiers import build_classifier, published_classifier
from benchmark.models.surgery import head, logits_and_features, representation, state_hash
from benchmark.models.text import TextClassifier

needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
needs_vision = pytest.mark.skipif(
    find_spec("torchvision") is None or find_spec("timm") is None, reason="torchvision or timm is not installed"
)
#: A small network of torchvision, and the file that its weights are looked for in.
SMALL, SMALL_FILE = "shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"
SHAPE = (3, 32, 32)


# Coloured digits.


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 28, 28), (3, 8, 8)])
def test_the_mlp_of_coloured_digits(shape: tuple[int, ...]) -> None:
    model = build_classifier("cmnist-mlp", 10, shape).eval()
    width = shape[0] * shape[1] * shape[2]
    sizes = [tuple(parameter.shape) for parameter in model.parameters() if parameter.dim() > 1]
    assert sizes == [(100, width), (100, 100), (100, 100), (10, 100)]
    x = torch.randn(2, *shape).contiguous(memory_format=torch.channels_last)
    assert model(x).shape == (2, 10)
    assert torch.allclose(model(x), model(x.contiguous()), atol=1e-6)
    assert representation(model, x).shape == (2, 100)


# Text.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT with a head of its own."""
    library = transformers()
    config = library.BertConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(5)
    library.BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def tokens() -> Tensor:
    """Three texts of at most 16 tokens, (3, 2, 16)."""
    mask = (torch.arange(16) < torch.tensor([[16], [4], [9]])).long()
    return torch.stack([torch.randint(1, 11, (3, 16)) * mask, mask], dim=1)


def bert(folder: Path, classes: int = 2, seed: int = 0) -> TextClassifier:
    torch.manual_seed(seed)
    model = build_classifier(f"transformers:{folder}", classes, (2, 16))
    assert isinstance(model, TextClassifier)
    return model


@needs_transformers
def test_a_text_classifier_learns_from_tokens(folder: Path) -> None:
    model, x = bert(folder).train(), tokens()
    logits = model(x)
    assert (logits.shape, logits.dtype) == ((3, 2), torch.float32)
    F.cross_entropy(logits, torch.tensor([0, 1, 1])).backward()
    unmoved = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert unmoved == []


@needs_transformers
def test_padding_is_not_read(folder: Path) -> None:
    model, x = bert(folder).eval(), tokens()
    other = x.clone()
    other[1, 0, 4:] = 7
    assert torch.allclose(model(x), model(other), atol=1e-6)
    other[1, 0, 2] = (x[1, 0, 2] + 1) % 11
    assert not torch.allclose(model(x)[1], model(other)[1], atol=1e-6)


@needs_transformers
def test_the_head_of_a_text_classifier_is_its_last_linear_layer(folder: Path) -> None:
    model, x = bert(folder, classes=4).eval(), tokens()
    last = head(model)
    assert isinstance(last, nn.Linear)
    assert (last.in_features, last.out_features) == (8, 4)
    logits, features = logits_and_features(model, lambda part: x[part], 3, batch_size=2)
    assert features.shape == (3, 8)
    with torch.no_grad():
        assert torch.allclose(last(features), logits, atol=1e-6)
        assert torch.allclose(representation(model, x), features, atol=1e-6)
    assert torch.equal(copy.deepcopy(model)(x), model(x))


@needs_transformers
@pytest.mark.parametrize("classes", [2, 3])
def test_only_the_head_is_drawn(folder: Path, classes: int) -> None:
    library = transformers()
    saved = library.BertForSequenceClassification.from_pretrained(folder).state_dict()
    models = [bert(folder, classes, seed).state_dict() for seed in (1, 1, 2)]
    for name, tensor in models[0].items():
        old = saved[name.removeprefix("network.")]
        if name.endswith("classifier.weight"):
            assert torch.equal(tensor, models[1][name])
            assert not torch.equal(tensor, models[2][name])
            assert tensor.shape != old.shape or not torch.equal(tensor, old)
        elif not name.endswith("classifier.bias"):
            assert torch.equal(tensor, old)
            assert torch.equal(tensor, models[2][name])


@needs_transformers
def test_halved_weights_become_float32(folder: Path) -> None:
    library = transformers()
    library.BertForSequenceClassification.from_pretrained(folder).half().save_pretrained(folder)
    assert {parameter.dtype for parameter in bert(folder).parameters()} == {torch.float32}


@needs_transformers
def test_another_kind_of_network_has_its_own_head(folder: Path) -> None:
    library = transformers()
    config = library.DistilBertConfig(
        vocab_size=11, dim=8, n_layers=1, n_heads=2, hidden_dim=12, max_position_embeddings=16
    )
    library.DistilBertModel(config).save_pretrained(folder.with_name("distilbert"))
    model = bert(folder.with_name("distilbert"), classes=5).eval()
    assert model(tokens()).shape == (3, 5)
    assert representation(model, tokens()).shape == (3, 8)


@needs_transformers
def test_text_classifiers_that_cannot_be_had(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"can neither be read nor .*; name a folder that holds it instead"):
        bert(tmp_path / "nothing")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model 'transformers:.*bert' can neither be read nor be downloaded"):
        bert(folder)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2,), (1, 16)])
def test_text_classifiers_take_no_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="reads text, not inputs of shape"):
        build_classifier("transformers:bert-base-uncased", 2, shape)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[text\]'"):
        build_classifier("transformers:bert-base-uncased", 2, (2, 16))


# Images.


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing can be downloaded; the folder that torchvision looks for weights in."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise URLError("there is no network\nand a second line")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(compat.timm().models._builder, "load_state_dict_from_hf", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@needs_vision
def test_weights_of_torchvision_are_loaded_and_the_last_layer_is_drawn(offline: Path) -> None:
    torch.manual_seed(7)
    published = compat.torchvision().models.get_model(SMALL, weights=None)
    torch.save(published.state_dict(), offline / SMALL_FILE)
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(build_classifier(f"torchvision:{SMALL}", 3, SHAPE, pretrained=True))
    for name, tensor in models[0].state_dict().items():
        if name.startswith("fc."):
            assert len(tensor) == 3
        else:
            assert torch.equal(tensor, published.state_dict()[name])
            assert torch.equal(tensor, models[2].state_dict()[name])
    assert state_hash(models[0]) == state_hash(models[1]) != state_hash(models[2])
    assert head(models[0]) is models[0].fc
    assert models[0].eval()(torch.zeros(2, *SHAPE)).shape == (2, 3)
    assert next(models[0].parameters()).is_contiguous(memory_format=torch.channels_last)


@needs_vision
def test_weights_of_timm_are_loaded_and_the_last_layer_is_drawn(tmp_path: Path) -> None:
    timm = compat.timm()
    published = timm.create_model("test_resnet", num_classes=7)
    folder = tmp_path / "published"
    timm.models.save_for_hf(published, folder)
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(build_classifier(f"timm:local-dir:{folder}", 3, SHAPE, pretrained=True))
    for name, tensor in models[0].state_dict().items():
        if name != "fc.bias":
            assert torch.equal(tensor, models[1].state_dict()[name]) == (name != "fc.weight")
            assert name == "fc.weight" or torch.equal(tensor, published.state_dict()[name])
    assert head(models[0]) is models[0].fc
    assert models[0].fc.out_features == 3


@needs_vision
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            f"torchvision:{SMALL}",
            SHAPE,
            rf"cannot be had .*no network.*put them into .*{SMALL_FILE}, or set TORCH_HOME",
        ),
        (f"torchvision:{SMALL}", (1, 28, 28), "they are for images of 3 channels, not 1"),
        ("torchvision:fasterrcnn_resnet50_fpn", SHAPE, "weights of ImageNet were asked for, but there are none"),
        ("torchvision:resnet19", SHAPE, "Unknown model resnet19"),
        ("timm:resnet18", SHAPE, r"cannot be had .*no network.*HF_HOME says where"),
        ("timm:resnet19", SHAPE, r"Unknown model \(resnet19\)"),
    ],
)
def test_weights_that_cannot_be_had(offline: Path, name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=f"model '{name}': .*{message}"):
        build_classifier(name, 2, shape, pretrained=True)


@needs_vision
def test_a_damaged_file_of_weights(offline: Path) -> None:
    (offline / SMALL_FILE).write_bytes(b"no weights")
    with pytest.raises(InputError, match="its weights of ImageNet cannot be had"):
        build_classifier(f"torchvision:{SMALL}", 2, SHAPE, pretrained=True)


@needs_vision
def test_a_network_whose_last_layer_is_a_convolution(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = compat.torchvision().models
    monkeypatch.setattr(models, "get_model", lambda name, weights: nn.Sequential(nn.Linear(4, 5), nn.Conv2d(5, 2, 1)))
    with pytest.raises(InputError, match="its classification layer is not its last linear layer"):
        build_classifier("torchvision:squeezenet1_0", 2, SHAPE, pretrained=True)


@pytest.mark.parametrize("name", list(MODELS))
def test_our_own_networks_have_no_published_weights(name: str) -> None:
    with pytest.raises(InputError, match=f"model '{name}': there are no published weights of it"):
        build_classifier(name, 2, SHAPE, pretrained=True)


# Classifiers as they are published.


@needs_vision
def test_a_published_classifier_of_torchvision_has_its_own_head(offline: Path) -> None:
    torch.manual_seed(7)
    published = compat.torchvision().models.get_model(SMALL, weights=None)
    torch.save(published.state_dict(), offline / SMALL_FILE)
    torch.manual_seed(8)
    found = published_classifier(f"torchvision:{SMALL}", 1000, SHAPE).eval()
    assert state_hash(found) == state_hash(published)
    x = torch.randn(2, *SHAPE)
    assert torch.allclose(found(x), published.eval()(x), atol=1e-5)
    assert next(found.parameters()).is_contiguous(memory_format=torch.channels_last)


@needs_vision
def test_a_published_classifier_of_timm_has_its_own_head(tmp_path: Path) -> None:
    timm = compat.timm()
    published = timm.create_model("test_resnet", num_classes=7)
    timm.models.save_for_hf(published, tmp_path / "published")
    name = f"timm:local-dir:{tmp_path / 'published'}"
    assert state_hash(published_classifier(name, 7, SHAPE)) == state_hash(published)
    with pytest.raises(InputError, match="the published classifier does not tell 1,000 classes apart"):
        published_classifier(name, 1000, SHAPE)


@needs_vision
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"torchvision:{SMALL}", "its weights of ImageNet cannot be had .*no network"),
        ("timm:resnet18", "its weights of ImageNet cannot be had .*no network"),
        ("resnet-small", "there are no published weights of it"),
        ("transformers:bert-base-uncased", "there are no published weights of it"),
    ],
)
def test_published_classifiers_that_cannot_be_had(offline: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"model '{name}': {message}"):
        published_classifier(name, 1000, SHAPE)


# Names.


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_needs_a_name(library: str) -> None:
    with pytest.raises(InputError, match=f"unknown model '{library}:'"):
        build_classifier(f"{library}:", 2, SHAPE)
