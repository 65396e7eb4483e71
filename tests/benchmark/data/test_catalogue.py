"""The catalogue of data sets: its facts are those that loaders go by, and no result depends on the rest."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmark.data import DATA, OWN, catalogue, correction, described, faces, hub, imagenet, isic, manifest, natural
from benchmark.data import svhn as house_numbers
from benchmark.data.catalogue import Citation, Facts
from benchmark.data.collar import COLLAR
from benchmark.data.text import CIVIL_COMMENTS
from benchmark.discovery import source
from benchmark.errors import InputError

DOCS = Path(__file__).parents[3] / "docs" / "data.md"
PUBLISHED = [
    natural.WATERBIRDS, natural.CELEBA, natural.BFFHQ, CIVIL_COMMENTS, COLLAR, correction.ISIC_2019,
    correction.BONE_AGE, correction.IMAGENET_TENCH, imagenet.PHOTOGRAPHS, faces.AFHQ,
    *(faces._published(feature) for feature in faces.FEATURES),
]  # fmt: skip


def test_every_data_set_has_facts_and_every_fact_a_data_set() -> None:
    assert sorted(catalogue._known()) == sorted(DATA)
    assert {DATA.get(name).name for name in DATA} == {*DATA}


@pytest.mark.parametrize("name", DATA)
def test_facts_agree_with_what_results_depend_on(name: str) -> None:
    told, facts = DATA.get(name), DATA.get(name).facts
    assert len(facts.classes) in (0, told.num_classes)
    assert len(facts.attributes) == (2 if told.artefact else told.attributes)
    assert bool(facts.folders) == (facts.kind not in ("packaged", "generated"))
    assert bool(facts.layout) == bool(facts.folders)
    assert facts.downloads or facts.kind != "local" or facts.get
    assert facts.licence
    assert facts.splits
    if facts.here:
        assert [*facts.here] == ["train", "selection", "test"]
        assert bool(facts.here["selection"]) == told.selection
        assert sum(facts.here.values()) <= sum(facts.splits.values())
    for citation in facts.citations:
        assert isinstance(citation, Citation)


def test_loaders_go_by_the_same_folders_and_classes() -> None:
    for repository in (*hub.REPOSITORIES.values(), house_numbers.HUB):
        assert repository.folder in DATA.get(repository.name).facts.paths
    assert DATA.get("svhn").facts.folders[0] == house_numbers.FOLDER
    for told in PUBLISHED:
        assert told.classes in (DATA.get(told.name).facts.classes, ())
        assert told.attributes in (DATA.get(told.name).facts.attributes, ())
    assert {told.name for told in PUBLISHED} | {"isic-2017", "isic-2017-official", "isic-2017-patches"} == {
        name for name in DATA if DATA.get(name).facts.kind == "local"
    }
    told = DATA.get("isic-2017").facts
    assert (told.classes, told.attributes) == (isic.CLASSES, isic.ATTRIBUTES)


def test_digests_of_results_do_not_cover_the_catalogue() -> None:
    covered = source.closure("benchmark.data.natural")
    assert "benchmark.data" in covered
    assert not {"benchmark.data.catalogue", "benchmark.data.described", "benchmark.data.checked"} & {*covered}


def test_checksums_are_those_that_torchvision_compares_with() -> None:
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        pytest.skip("torchvision is not installed")
    text = (Path(found.origin).parent / "datasets" / "svhn.py").read_text()
    sums = DATA.get("svhn").facts.md5
    assert sorted(sums) == ["test_32x32.mat", "train_32x32.mat"]
    for name, told in sums.items():
        assert f'"{name}",\n            "{told}"' in text


def test_an_unknown_field_and_a_wrong_kind_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "FILE", tmp_path / "catalogue.toml")
    for line, message in (("licens = 'MIT'", "unknown key 'licens'; did you mean licence"), ("kind = 'web'", "'web'")):
        text = f"[citations]\n[data.mnist]\nkind = 'hub'\nlicence = 'MIT'\n[data.other]\nlike = 'mnist'\n{line}\n"
        (tmp_path / "catalogue.toml").write_text(text)
        catalogue._known.cache_clear()
        try:
            with pytest.raises(InputError, match=f"catalogue.toml: other: .*{message}"):
                DATA.get("mnist").facts  # noqa: B018 - a property
        finally:
            catalogue._known.cache_clear()


def test_a_set_of_ones_own_has_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path))
    look = manifest.Look(8, "crop", False, (0.5,) * 3, (0.5,) * 3)
    hats = {"hat": manifest.Attribute(("bare", "hat"), (0, 1, 0))}
    files = ("a.png", "b.png", "c.png")
    brought = manifest.named(
        manifest.Manifest("pets", str(tmp_path / "pictures"), files, (0, 1, 1), (0, 0, 2), ("cat", "dog"), hats, look)
    )
    manifest.keep(brought)
    name = f"{OWN}{brought.name}"
    assert catalogue.every_name()[-1] == name
    facts = DATA.get(f"{name}@hat").facts
    assert (facts.kind, facts.classes, facts.attributes) == ("own", ("cat", "dog"), ("bare", "hat"))
    assert facts.here == {"train": 2, "selection": 0, "test": 1}
    assert not facts.there
    (tmp_path / "pictures").mkdir()
    assert facts.there
    assert described.row(name)[:4] == (name, "yes", "2 / 0 / 1", "2")


# In words.


def test_listing_imports_no_torch() -> None:
    code = "from benchmark.data.described import row\nfrom benchmark.data import DATA\n[row(name) for name in DATA]\n"
    code += "import sys\nassert not {'torch', 'numpy', 'rich'} & {*sys.modules}"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


def test_citations_are_bibtex() -> None:
    told = described.bibtex(Citation("a2020", "A, B and C, D", "On SVHN", 2020, "ICLR, arXiv:2001.00001"))
    assert told == (
        "@misc{a2020,\n  author = {A, B and C, D},\n  title = {{On SVHN}},\n  year = {2020},\n"
        "  howpublished = {ICLR},\n  eprint = {2001.00001},\n  archiveprefix = {arXiv}\n}"
    )
    assert "howpublished" not in described.bibtex(Citation("a", "A", "B", 2020, "arXiv:2001.00001"))


def test_sizes_and_numbers() -> None:
    assert [described.size(Facts("hub", "MIT", download=n)) for n in (0, 18, 1400, 155000)] == [
        "", "18 MB", "1.4 GB", "155 GB",
    ]  # fmt: skip
    assert described.used(DATA.get("afhq-256").facts) == "15,803 or 16,130 together"
    assert described.used(DATA.get("celeba-collar").facts) == "some of 202,599"


def test_how_to_get_names_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path))
    for name in DATA:
        facts = DATA.get(name).facts
        if facts.downloads:
            assert described.how(name) == f"amendbench data get {name}"
        elif facts.kind == "local":
            assert str(tmp_path) in described.how(name)
            assert "{root}" not in described.how(name)


def test_the_table_of_the_documentation_is_the_catalogue() -> None:
    assert described.markdown() in DOCS.read_text("utf-8"), "put benchmark.data.described.markdown() into docs/data.md"
