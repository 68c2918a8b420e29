"""The catalogue: what ships is whole, and what is missing or misspelt is named."""

from pathlib import Path

import pytest

from whim.errors import MissingWeightError, UsageError
from whim.models.catalog import load_catalog, weight_path
from whim.models.pull import pull
from whim.perception.registry import ADAPTERS, adapter

pytestmark = pytest.mark.usefixtures("cache")


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest is 'pedestrian-ssdlite'"):
        pull(["pedestrian-ssd"])


def test_a_missing_weight_gives_command_and_licence() -> None:
    with pytest.raises(MissingWeightError, match=r"licence MIT.*run: whim models pull pedestrian-ssdlite"):
        weight_path("pedestrian-ssdlite")


def test_the_shipped_catalogue_is_whole() -> None:
    entries = {entry.name: entry for entry in load_catalog()}
    assert len(entries) == len(load_catalog())
    assert all(entry.licence_url.startswith("https://") for entry in entries.values())
    needed = {name for use in ADAPTERS for name in adapter(use).weights}
    assert needed == {name for name, entry in entries.items() if entry.role != "demo"}
    assert not entries["mediapipe-hand-landmarker"].stands_in
    assert entries["handtrack-ssd320"].stands_in


def test_a_bad_catalogue_is_named(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text("entries: [{name: x}]")
    with pytest.raises(UsageError, match=r"catalog\.yaml"):
        load_catalog(path)
