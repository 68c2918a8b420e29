"""What a run of ``whim fetch`` came to."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim.shards.ledger import Entry, State, counts
from whim.sources.fetch.verdict import verdict_of

VERDICTS = (
    "match",
    "drifted",
    "gone",
    "private",
    "age",
    "geo",
    "malformed-id",
    "filtered",
    "bot-check",
    "failed",
)


@dataclass(frozen=True, kw_only=True)
class FetchSummary:
    """State of every video of the manifest after the run, brought there by this run or an earlier one."""

    manifest: Path
    out: Path
    total: int
    """Videos in the manifest."""
    entries: list[Entry]
    """Those with a ledger line, in the manifest's order."""
    worked: int
    """Videos that this run worked on."""
    stopped: str = ""
    """Why the run ended before its work did; empty when it did not."""

    @property
    def verdicts(self) -> dict[str, int]:
        """Videos per verdict."""
        found = Counter(verdict_of(entry) for entry in self.entries)
        return {name: found[name] for name in VERDICTS if found[name]}

    @property
    def drifts(self) -> dict[str, int]:
        """Drifted videos per fact: fps, frames, size."""
        return dict(Counter(drift["what"] for entry in self.entries for drift in entry.data.get("drift", [])))

    @property
    def failed(self) -> list[Entry]:
        """Videos that the next run tries again."""
        return [entry for entry in self.entries if entry.state is State.FAILED]

    @property
    def pending(self) -> int:
        """Videos without a ledger line: beyond ``--limit``, or after a stop."""
        return self.total - len(self.entries)

    @property
    def exit_code(self) -> int:
        """1 when something failed or the run was stopped.

        A video that is gone, private or blocked here is a settled answer and no failure: a public list always
        has some, and ``whim fetch ... && whim annotate`` must go on.
        """
        return int(bool(self.failed or self.stopped))

    @property
    def retry(self) -> str:
        """Command that tries the failed ones again."""
        return (
            f"whim fetch {shlex.quote(str(self.manifest))} --only failed --out {shlex.quote(str(self.out))}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "manifest": str(self.manifest),
            "out": str(self.out),
            "videos": self.total,
            "worked": self.worked,
            "states": counts(self.entries),
            "verdicts": self.verdicts,
            "drifts": self.drifts,
            "pending": self.pending,
            "stopped": self.stopped,
            "failed": [
                {"video_id": e.key, "reason": e.reason, "detail": e.detail, "attempts": e.attempts}
                for e in self.failed
            ],
        }

    def render(self, limit: int = 20) -> str:
        """Table for the terminal; the last lines say what failed and how to retry."""
        lines = [f"{self.total} videos in {self.manifest}, {self.worked} worked on now -> {self.out}"]
        for name, number in self.verdicts.items():
            what = ", ".join(f"{fact} {n}" for fact, n in self.drifts.items()) if name == "drifted" else ""
            lines.append(f"  {name:<14}{number:>6}{f'   ({what})' if what else ''}")
        if self.pending:
            lines.append(f"  {'not yet tried':<14}{self.pending:>6}")
        if self.verdicts.keys() & {"age", "private"}:
            lines.append("age and private: an account may help; add --only failed --cookies FILE")
        if self.failed:
            lines.append(f"failed ({len(self.failed)}):")
            lines += [f"  {e.key}: {e.reason}: {e.detail} (tried {e.attempts}x)" for e in self.failed[:limit]]
            if len(self.failed) > limit:
                lines.append(f"  ... and {len(self.failed) - limit} more (--json lists all)")
            lines.append(f"to retry what failed: {self.retry}")
        if self.stopped:
            lines.append(f"stopped: {self.stopped}")
        return "\n".join(lines)
