"""CSV logs that survive a kill, and TensorBoard events when that package is there."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whim.files import write_text

STEPS = "steps.csv"
EPOCHS = "epochs.csv"


class CsvLog:
    """One CSV file whose rows begin with ``step``. Columns are those of the first row and whatever comes later.

    ``resume`` drops the rows after that step: a run that goes on writes them again.
    """

    def __init__(self, path: Path, *, resume: int) -> None:
        self.path = path
        self._columns: list[str] = []
        kept: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream)
                kept = [row for row in reader if _step(row) <= resume]
                self._columns = list(reader.fieldnames or [])
        self._rewrite(kept)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; floats with six digits."""
        texts = {
            name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in row.items()
        }
        new = [name for name in texts if name not in self._columns]
        if new:
            with self.path.open(newline="", encoding="utf-8") as stream:
                earlier = list(csv.DictReader(stream))
            self._columns += new
            self._rewrite(earlier)
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self._columns, lineterminator="\n").writerow(texts)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if self._columns:
            writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


def _step(row: Mapping[str, str | None]) -> float:
    """Step of a row; a torn last row counts as lying in the future."""
    try:
        if None in row.values():
            return float("inf")
        return int(row["step"] or "")
    except ValueError:
        return float("inf")


class Logs:
    """The step log, the epoch log and TensorBoard of one run."""

    def __init__(self, folder: Path, *, resume: int, tensorboard: bool) -> None:
        self._steps = CsvLog(folder / STEPS, resume=resume)
        self._epochs = CsvLog(folder / EPOCHS, resume=resume)
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return  # optional: the CSV files hold the same numbers
            self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=resume + 1)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """A line of the step log."""
        self._steps.write({"step": step, **values})
        self._event("train", step, values)

    def epoch(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        """A line of the epoch log."""
        self._epochs.write({"step": step, "epoch": epoch, **values})
        self._event("epoch", step, values)

    def _event(self, group: str, step: int, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{group}/{name}", value, step)

    def close(self) -> None:
        """Flush TensorBoard's file."""
        if self._events is not None:
            self._events.close()
