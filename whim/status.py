"""``whim status``: the ledger of a folder as counts and reasons."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim.shards.ledger import Entry, State, counts, read_ledger

RETRY = {
    "fetch": "whim fetch MANIFEST --only failed",
    "annotate": "whim annotate, with the same arguments as before",
    "pack": "whim pack, with the same arguments as before",
}


@dataclass(frozen=True)
class Status:
    """States and reasons of the items of one folder."""

    path: Path
    stage: str
    states: dict[str, int]
    reasons: dict[str, int]
    """Items per ``state: reason``, most first."""
    unfinished: list[Entry]

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "path": str(self.path),
            "stage": self.stage,
            "states": self.states,
            "reasons": self.reasons,
            "unfinished": [entry.to_json() for entry in self.unfinished],
        }

    def render(self, limit: int = 20) -> str:
        """Table for the terminal; at most ``limit`` unfinished items are listed."""
        lines = [f"{self.path} (whim {self.stage})"]
        lines += [f"  {name:<12}{number:>8}" for name, number in self.states.items()]
        if self.reasons:
            lines.append("reasons")
            lines += [f"  {reason:<36}{number:>6}" for reason, number in self.reasons.items()]
        if self.unfinished:
            lines.append("not finished")
            lines += [
                f"  {e.key}: {e.reason}: {e.detail} (tried {e.attempts}x)" for e in self.unfinished[:limit]
            ]
            if len(self.unfinished) > limit:
                lines.append(f"  ... and {len(self.unfinished) - limit} more (--json lists all)")
        if self.states[State.FAILED.value]:
            lines.append(f"to retry what failed: {RETRY.get(self.stage, 'run the same command again')}")
        return "\n".join(lines)


def status(path: Path) -> Status:
    """Read the ledger of ``path``.

    Raises:
        BadFileError: no ledger there.
    """
    stage, entries = read_ledger(path)
    reasons = Counter(f"{entry.state}: {entry.reason}" for entry in entries.values() if entry.reason)
    unfinished = [e for e in entries.values() if e.state in (State.FAILED, State.QUARANTINED)]
    return Status(path, stage, counts(entries), dict(reasons.most_common()), unfinished)
