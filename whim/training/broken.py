"""Pictures that could not be read: left out, and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from whim.training.distributed import Group

NAMED = 20
"""So many are named on the terminal; all are in the run folder's ``broken.txt``."""


class BrokenPictures:
    """Says which pictures of a run were left out, each once."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._list = folder / "broken.txt"
        self._say = say
        self._texts: dict[str, None] = {}

    def note(self, texts: Sequence[str]) -> None:
        """Pictures and why."""
        for text in texts:
            if text in self._texts:
                continue
            self._texts[text] = None
            with self._list.open("a", encoding="utf-8") as stream:
                stream.write(text + "\n")
            if len(self._texts) <= NAMED:
                self._say(f"picture left out: {text}")
            if len(self._texts) == NAMED:
                self._say(f"further ones are listed in {self._list}")

    def count(self, group: Group) -> float:
        """How many all processes of a run have met."""
        return float(len(set(group.gather(list(self._texts)))))
