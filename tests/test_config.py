"""Configuration: YAML, overrides, and errors that name the nearest key."""

from pathlib import Path

import pytest
from pydantic import Field

from whim.config import Config, config_hash, load_config
from whim.errors import UsageError


class Inner(Config):
    fps: float = Field(default=5.0, gt=0)
    names: tuple[str, ...] = ()


class Item(Config):
    use: str
    weight: float = 1.0


class Outer(Config):
    sampling: Inner = Inner()
    items: tuple[Item, ...] = ()
    limit: int | None = None


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return path


def test_file_then_overrides(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "sampling: {fps: 2}\nitems: [{use: a}, {use: b}]\n")
    config = load_config(Outer, path, ["sampling.names=[x, y]", "items.1.weight=0.5", "limit=null"])
    assert config.sampling == Inner(fps=2, names=("x", "y"))
    assert [item.weight for item in config.items] == [1.0, 0.5]


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_config(Outer, yaml_file(tmp_path, "")) == Outer()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sampling.fsp=3", r"unknown key 'sampling.fsp'; the nearest known key is 'sampling.fps'"),
        ("samplng.fps=3", r"nearest known key is 'sampling"),
        ("sampling.fps=-1", r"sampling.fps: input should be greater than 0"),
        ("sampling.fps=fast", r"sampling.fps: .*number.*got 'fast'"),
        ("sampling.fps", r"expected key=value"),
        ("=3", r"expected key=value"),
        ("sampling.fps.deep=3", r"holds a value, not a section"),
        ("items.0.weight=1", r"not an index below 0"),
        ("limit={", r"--set limit="),
    ],
)
def test_wrong_overrides_say_what_is_wrong(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(Outer, None, ["sampling.fps=1", "items=[]", override])


@pytest.mark.parametrize("text", ["- a list", "a: [", "just text", "unknown_thing: 1"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"pipeline\.yaml"):
        load_config(Outer, yaml_file(tmp_path, text))


def test_the_hash_follows_the_values_alone(tmp_path: Path) -> None:
    spelled_out = load_config(Outer, yaml_file(tmp_path, "sampling: {fps: 5.0}\n"))
    assert config_hash(spelled_out) == config_hash(Outer())
    assert config_hash(Outer(limit=1)) != config_hash(Outer())
