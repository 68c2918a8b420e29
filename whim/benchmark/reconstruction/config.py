"""Which reconstructors are measured on which sets: ``configs/benchmark/reconstruction-*.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from whim.benchmark.rows import check_names
from whim.config import Config
from whim.metrics.submission import Challenge

Column: TypeAlias = Literal["freihand", "ho3d-v2", "ho3d-v3"]
"""A challenge, whole."""
Table: TypeAlias = Literal[3, 4, 5]
COLUMN_OF: dict[int, Column] = {3: "freihand", 4: "ho3d-v2", 5: "freihand"}
"""Which challenge a table of the paper is about."""


class RowConfig(Config):
    """One method."""

    name: str
    """As shown in the table."""
    checkpoint: Path | None = None
    """Weights that `whim train-reconstructor` wrote, or `whim models convert`."""
    labels: Path | None = None
    """Predictions as a folder of labels or shards, such as `whim predict --mesh` and `whim annotate` write."""
    hand: str = "open-hand"
    """Hand model of the checkpoint or the labels: ``open-hand``, or your ``MANO_RIGHT.pkl``."""
    training: str | None = None
    """Configuration that the weights come from; named when they are missing."""
    published: str | None = None
    """Row of the published table, shown beside what is measured, or in its place."""
    note: str = ""
    """Shown below the table."""

    @model_validator(mode="after")
    def _one_source(self) -> RowConfig:
        if self.checkpoint is not None and self.labels is not None:
            raise ValueError("a row has a checkpoint or labels, not both")
        return self


class SetConfig(Config):
    """One test set: shards of `whim import freihand|ho3d`, `whim synth`, or any labels with 3D joints."""

    name: str
    """As shown in the table."""
    path: Path
    """Folder of pixel shards, or labels (packed on the way)."""
    column: Column | None = None
    """Challenge that this is."""
    official: Path | None = None
    """The challenge's own folder, with ``evaluation_xyz.json`` and ``evaluation_verts.json`` (and
    ``evaluation.txt`` of HO-3D): true joints and vertices, and the order of submissions. None: joints of the labels."""
    hand: str | None = None
    """Hand model (``open-hand``, or your ``MANO_RIGHT.pkl``) that true meshes are made with from the labels'
    parameters, where ``official`` does not give them."""
    splits: tuple[str, ...] = ()
    """Only these splits; empty: all."""
    boxes: Literal["labelled", "picture"] = "labelled"
    """What a checkpoint's crops are taken around: the labelled box, or the whole picture (FreiHAND's pictures are crops
    already). The paper does not say."""
    factor: float = Field(default=2.0, gt=0)
    """Size of the crop over that of the box. HaMeR's evaluation takes 1 around prepared boxes (not published as
    numbers); the released demo takes 2 around detected ones."""

    @property
    def challenge(self) -> Challenge | None:
        """Whose conventions the official files have."""
        return None if self.column is None else ("freihand" if self.column == "freihand" else "ho3d")

    @model_validator(mode="after")
    def _known_files(self) -> SetConfig:
        if self.official is not None and self.column is None:
            raise ValueError("official files need a column: freihand, ho3d-v2 or ho3d-v3")
        return self


class ReconstructionBenchmarkConfig(Config):
    """A table."""

    table: Table = 3
    """Published table that rows refer to."""
    title: str = "Hand reconstruction"
    rows: tuple[RowConfig, ...]
    """At least one."""
    sets: tuple[SetConfig, ...]
    """At least one."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many pictures of each set, spread over it; then no submission is written."""
    batch: int = Field(default=16, ge=1)
    """Pictures handed over at once."""
    device: str = "auto"
    """Where checkpoints run: ``auto``, ``cpu``, ``cuda``."""
    out: Path | None = None
    """Folder for the report (json, csv, markdown) and the challenges' files (``submissions/ROW--SET/pred.zip``)."""
    published: Path = Path("configs/benchmark/reconstruction-published.yaml")
    """The paper's numbers."""

    @model_validator(mode="after")
    def _distinct(self) -> ReconstructionBenchmarkConfig:
        check_names("rows", self.rows)
        check_names("sets", self.sets)
        return self
