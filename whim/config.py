"""Configuration: YAML files validated by pydantic, changed by ``--set key=value``.

An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from whim.errors import UsageError


class Config(BaseModel):
    """Base of every configuration section: frozen, no unknown keys, documented fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(kind: type[ConfigT], path: Path | None, overrides: Sequence[str] = ()) -> ConfigT:
    """Read ``path`` (YAML), apply ``key.sub=value`` overrides, validate.

    Raises:
        UsageError: unreadable file, unknown key (the nearest is named), value of the wrong kind.
    """
    tree: dict[str, Any] = {}
    origin = str(path) if path else "built-in defaults"
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{path}: {error}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise UsageError(f"{path}: expected a mapping of keys to values")
        tree = loaded or {}
    for override in overrides:
        _apply(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UsageError(_explain(kind, error, origin)) from error


def config_hash(config: Config) -> str:
    """Short stable hash of every resolved value: the lineage mark in each output."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set ``a.b.0.c=value`` in a tree of dictionaries and lists; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {override}: expected key=value, for example sampling.fps=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: {error}") from error
    node: Any = tree
    *parents, last = key.split(".")
    for part in parents:
        node = (
            node[_list_index(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
        )
        if not isinstance(node, dict | list):
            raise UsageError(f"--set {override}: {part!r} holds a value, not a section")
    if isinstance(node, list):
        node[_list_index(node, last, override)] = value
    else:
        node[last] = value


def _list_index(node: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UsageError(f"--set {override}: {part!r} is not an index below {len(node)}")
    return int(part)


def _explain(kind: type[Config], error: ValidationError, origin: str) -> str:
    lines = [f"{origin}: configuration not valid"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(kind)
            dotted = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
            near = difflib.get_close_matches(dotted, known, n=1, cutoff=0.0)
            lines.append(f"  unknown key {where!r}; the nearest known key is {near[0]!r}")
        else:
            lines.append(f"  {where}: {problem['msg'].lower()} (got {problem.get('input')!r})")
    return "\n".join(lines)


def _known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a configuration class; list items add no index."""
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        dotted = f"{prefix}{name}"
        keys.append(dotted)
        for nested in _nested_models(field.annotation):
            keys.extend(_known_keys(nested, f"{dotted}."))
    return keys


def _nested_models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _nested_models(argument)]
