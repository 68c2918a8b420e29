"""Networks, this machine, a first look: models, doctor, demo."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from whim.cli.common import command, count, json_output, show


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, models, "networks: list, pull, verify, convert")
    actions = sub.add_subparsers(dest="action", metavar="list|pull|verify|convert", required=True)
    for name, text in (
        ("list", "what there is, with licence and state"),
        ("pull", "download and build; verified by checksum"),
        ("verify", "hash what is in the cache again"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        if name != "list":
            action.add_argument(
                "names",
                nargs="*",
                metavar="NAME",
                help="networks by name (default: all of the embedded pipeline)",
            )
        if name == "pull":
            action.add_argument("--quiet", action="store_true", help="show only what failed or was skipped")
        json_output(action)

    action = actions.add_parser(
        "convert",
        help="read a published checkpoint of yours, without running its pickle",
        description="Published weights keep their licences: WiLoR's are CC-BY-NC-ND. Nothing is downloaded.",
    )
    action.add_argument("kind", choices=["wilor", "wilor-detector", "vitpose"], help="what the file is")
    action.add_argument(
        "file", metavar="FILE", type=Path, help="wilor_final.ckpt, detector.pt, or ViTPose's .pth"
    )
    action.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")

    sub = command(commands, doctor, "check this machine and installation")
    json_output(sub)

    sub = command(commands, demo, "fetch, annotate and look at real footage, start to end")
    sub.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything it makes (default: %(default)s)"
    )
    sub.add_argument(
        "--workers", type=count(0), default=2, metavar="N", help="worker processes (default: %(default)s)"
    )


def models(options: argparse.Namespace) -> int:
    """``whim models list|pull|verify|convert``."""
    from whim.models import pull as module

    if options.action == "convert":
        return _convert(options)
    if options.action == "list":
        rows = module.list_models()
        show(options, lambda: [row.to_json() for row in rows], lambda: module.render_models(rows))
        return 0
    act = module.pull if options.action == "pull" else module.verify
    results = act(options.names or None)
    if getattr(options, "quiet", False):
        results = [result for result in results if result.status in ("failed", "skipped")]
    if results:
        show(
            options, lambda: [result.to_json() for result in results], lambda: module.render_results(results)
        )
    return int(any(result.status == "failed" for result in results))


def _convert(options: argparse.Namespace) -> int:
    from whim.errors import require

    require("torch", extra="train")
    # Imported by name: each brings its own half of the training wing.
    module, function = {
        "wilor": ("whim.reconstructor.convert.released", "convert_checkpoint"),
        "vitpose": ("whim.reconstructor.convert.vitpose", "convert_vitpose"),
        "wilor-detector": ("whim.detector.released", "convert_detector"),
    }[options.kind]
    convert = getattr(importlib.import_module(module), function)
    print(convert(options.file, options.out))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """``whim doctor``."""
    from whim import doctor as module

    checks = module.examine()
    show(options, lambda: module.to_json(checks), lambda: module.render(checks))
    return module.exit_code(checks)


def demo(options: argparse.Namespace) -> int:
    """``whim demo``."""
    from whim.demo import demo as run

    return run(options.out, workers=options.workers)
