"""What the commands share: arguments that look the same everywhere, and output for people or machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

VIDEOS = Path("data/videos")
LABELS = Path("data/labels")
MANIFEST = Path("manifests/videos.csv")
PIPELINE = Path("pipelines/embedded.yaml")


def command(
    commands: Any, function: Callable[[argparse.Namespace], int], text: str, *, name: str = ""
) -> argparse.ArgumentParser:
    """A command that runs ``function`` and is called like it, unless ``name`` says otherwise."""
    sub: argparse.ArgumentParser = commands.add_parser(
        name or function.__name__.replace("_", "-"), help=text, description=text[0].upper() + text[1:] + "."
    )
    sub.set_defaults(run=function)
    return sub


def settings(sub: argparse.ArgumentParser, example: str) -> None:
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change one setting, for example {example}; may be repeated",
    )


def json_output(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="machine-readable output, alone on stdout")


def count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number

    parse.__name__ = "number"  # what argparse calls it in "invalid number value"
    return parse


def show(options: argparse.Namespace, as_json: Callable[[], Any], as_text: Callable[[], str]) -> None:
    print(json.dumps(as_json(), indent=1) if options.json else as_text())


def say(text: str) -> None:
    print(text, file=sys.stderr)
