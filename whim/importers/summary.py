"""What an import did, and what it left out."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim.importers.types import PICTURE_REASONS, Skipped

RECORD = "import.json"
"""In the shard folder: where the set came from, what is in the shards, and everything that is not."""
_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class ImportSummary:
    """The shards of a set, and every picture and hand that is not among them."""

    importer: str
    source: str
    out: Path
    licence: str
    box_convention: str
    shards: dict[str, int]
    """Name -> bytes."""
    written: int
    """Shards written by this run."""
    pictures: int
    hands: int
    skipped: list[Skipped]

    @property
    def exit_code(self) -> int:
        """1 when pictures of the set are missing or damaged, else 0."""
        return int(any(one.reason in PICTURE_REASONS for one in self.skipped))

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "importer": self.importer,
            "source": self.source,
            "licence": self.licence,
            "box_convention": self.box_convention,
            "shards": self.shards,
            "written": self.written,
            "pictures": self.pictures,
            "hands": self.hands,
            "reasons": dict(Counter(one.reason for one in self.skipped).most_common()),
            "skipped": [vars(one) for one in self.skipped],
        }

    def render(self) -> str:
        """Text for the terminal; examples of each reason for which something was left out."""
        lines = [
            f"{self.out}: {self.pictures} pictures with {self.hands} hands in {len(self.shards)} shards "
            f"({self.written} written), {sum(self.shards.values()) / 1e6:.1f} MB",
            f"boxes: {self.box_convention}; licence: {self.licence or 'not stated'}",
        ]
        groups: dict[str, list[Skipped]] = defaultdict(list)
        for one in self.skipped:
            groups[one.reason].append(one)
        for reason, members in sorted(groups.items(), key=lambda item: -len(item[1])):
            lines.append(f"left out, {reason}: {len(members)}")
            lines += [f"  {one.key}: {one.detail}" for one in members[:_EXAMPLES]]
            if len(members) > _EXAMPLES:
                lines.append(f"  ... and {len(members) - _EXAMPLES} more in {self.out / RECORD}")
        return "\n".join(lines)
