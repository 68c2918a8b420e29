"""``whim annotate``: plan segments, run them, keep the ledger. Resuming is listing what exists."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from whim import __version__
from whim.annotate.config import PipelineConfig
from whim.annotate.executors import Executor, InProcess, Outcome, RayActors
from whim.annotate.segment import Task
from whim.annotate.videos import Video, find_videos
from whim.annotate.workers import capacity, decide
from whim.config import config_hash
from whim.errors import BadFileError, UsageError, WhimError
from whim.files import write_text
from whim.models.catalog import load_catalog, weight_path
from whim.perception.registry import left_out, required_weights
from whim.progress import Progress
from whim.shards import reader
from whim.shards.ledger import FINISHED, Entry, Ledger, State, counts, open_ledger
from whim.sources.video.segments import plan_segments

PIPELINE_RECORD = "pipeline.json"

TRIES_PER_RUN = 2
"""A segment that fails is tried once more, after all others."""
TRIES_IN_ALL = 3
"""After so many tries over all runs a segment is given up (quarantined)."""
HUNG_S_PER_FRAME = 10.0
"""A segment that takes longer than this per sampled frame is taken for hung ..."""
HUNG_MINIMUM_S = 600.0
"""... but never before this."""

PERMANENT = frozenset({"bad-video", "empty-file", "no-video-stream", "frame-count"})
"""Reasons that no retry mends as long as the file stays the same."""


@dataclass(frozen=True, kw_only=True)
class AnnotateSummary:
    """What a run did, and what the folder now holds."""

    out: Path
    states: dict[str, int]
    """Items per state in the folder, this run and earlier ones."""
    segments: int
    frames: int
    hands: int
    seconds: float
    unfinished: list[Entry]

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, else 1."""
        return 1 if self.unfinished else 0

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "out": str(self.out),
            "states": self.states,
            "segments": self.segments,
            "frames": self.frames,
            "hands": self.hands,
            "seconds": round(self.seconds, 1),
            "unfinished": [entry.to_json() for entry in self.unfinished],
        }

    def render(self) -> str:
        """Text for the terminal; the last lines say what failed and how to go on."""
        rate = self.frames / self.seconds if self.seconds else 0.0
        states = ", ".join(f"{name} {number}" for name, number in self.states.items() if number)
        lines = [
            f"this run: {self.segments} segments, {self.frames} frames, {self.hands} hands "
            f"in {self.seconds:.0f} s ({rate:.1f} frames/s)",
            f"{self.out}: {states or 'nothing yet'}",
        ]
        lines += [f"  {e.state} {e.key}: {e.reason}: {e.detail}" for e in self.unfinished[:10]]
        if len(self.unfinished) > 10:
            lines.append(f"  ... and {len(self.unfinished) - 10} more: whim status {self.out}")
        if any(entry.state is State.FAILED for entry in self.unfinished):
            lines.append("run the same command again to retry what failed")
        return "\n".join(lines)


def annotate(
    inputs: Sequence[Path],
    *,
    out: Path,
    config: PipelineConfig,
    workers: int | None = None,
    executor: Callable[[int], Executor] | None = None,
    say: Callable[[str], None] = print,
) -> AnnotateSummary:
    """Annotate videos into ``out``; finished segments are not done again.

    ``workers``: 0 runs in this process, N on Ray, None as many as the machine carries. ``executor`` replaces both.

    Raises:
        UsageError: no videos, or ``out`` was made by another pipeline.
        MissingWeightError: a network of the pipeline is not in the cache.
        WhimError: the disk is full, the folder is in use, or workers cannot start.
    """
    videos = find_videos(inputs)
    weights = _weights(config)
    for use, why in left_out(config.hands):
        say(f"going on without {use}: {why}")
    number, reason = (0, "") if workers == 0 else decide(workers, capacity())
    if reason:
        say(reason)
    started = time.perf_counter()
    with open_ledger(out, "annotate") as ledger:
        _claim(out, config, weights)
        _sweep(out)
        run = _Run(out=out, config=config, ledger=ledger, weights=weights, videos=videos, say=say)
        if run.anything_to_do():
            running = (executor or _make_executor(config))(number)
            try:
                run.execute(running)
            finally:
                running.close()
        return AnnotateSummary(
            out=out,
            states=counts(ledger.entries()),
            segments=run.segments,
            frames=run.frames,
            hands=run.hands,
            seconds=time.perf_counter() - started,
            unfinished=[entry for entry in ledger.entries() if entry.state not in FINISHED],
        )


def _make_executor(config: PipelineConfig) -> Callable[[int], Executor]:
    return lambda workers: RayActors(config, workers) if workers else InProcess(config)


def _weights(config: PipelineConfig) -> list[dict[str, Any]]:
    """Name, digest and licence of every network the pipeline will load.

    Raises:
        MissingWeightError: a network that is not optional is missing.
    """
    entries = {entry.name: entry for entry in load_catalog()}
    names = required_weights(config.people, config.hands)
    for name in names:
        weight_path(name)
    return [{"name": n, "sha256": entries[n].sha256, "licence": entries[n].licence} for n in names]


def _claim(out: Path, config: PipelineConfig, weights: list[dict[str, Any]]) -> None:
    """A label folder belongs to one pipeline; labels of two never mix.

    Raises:
        UsageError: the folder was made by another one; the differing keys are named.
    """
    record = {"config": config.model_dump(mode="json"), "weights": weights}
    path = out / PIPELINE_RECORD
    if not path.exists():
        write_text(path, json.dumps(record, indent=1) + "\n")
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if differing := sorted(_differences(earlier, record)):
        raise UsageError(
            f"{out} holds labels of another pipeline (differs in {', '.join(differing[:5])}); choose another --out"
        )


def _sweep(out: Path) -> None:
    """Remove half-written files of a killed run; the ledger's lock says that nobody else writes here."""
    for leftover in (out / reader.SEGMENTS).glob("*/.*.tmp.parquet"):
        leftover.unlink()


def _differences(a: Any, b: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from _differences(a.get(key), b.get(key), f"{prefix}.{key}" if prefix else key)
    elif a != b:
        yield prefix.removeprefix("config.")


class _Run:
    """One run over the videos: plans lazily, so that the first worker starts at once."""

    def __init__(
        self,
        *,
        out: Path,
        config: PipelineConfig,
        ledger: Ledger,
        weights: list[dict[str, Any]],
        videos: list[Video],
        say: Callable[[str], None],
    ) -> None:
        self.out = out
        self.config = config
        self.ledger = ledger
        self.videos = videos
        self.say = say
        self.segments = self.frames = self.hands = 0
        self._lineage = {
            "whim_version": __version__,
            "pipeline": config.name,
            "pipeline_hash": config_hash(config),
            "config": config.model_dump(mode="json"),
            "weights": weights,
        }
        self._tasks = self._plan()
        self._first = next(self._tasks, None)

    def anything_to_do(self) -> bool:
        """False when every segment is finished or given up."""
        return self._first is not None

    def execute(self, executor: Executor) -> None:
        """Run all tasks, then once more those that failed."""
        assert self._first is not None
        tasks: Iterator[Task] = chain([self._first], self._tasks)
        with Progress(self._expected(), "annotate", "segment") as progress:
            for last in [False] * (TRIES_PER_RUN - 1) + [True]:
                again: list[Task] = []
                for outcome in executor.run(tasks):
                    entry = self._judge(outcome)
                    if entry.state is State.FAILED and not last:
                        again.append(outcome.task)
                        self.ledger.record(entry)
                        continue
                    self.ledger.record(entry)
                    progress.step(str(entry.state))
                    if outcome.entry:
                        self.segments += 1
                        self.frames += entry.data["frames"]
                        self.hands += entry.data["hands"]
                    else:
                        progress.say(f"{entry.state} {entry.key}: {entry.reason}: {entry.detail}")
                tasks = iter(again)

    def _expected(self) -> int | None:
        """Number of segments, when every length is known from the fetch ledger."""
        length = self.config.segments.length_s
        durations = [video.duration_s for video in self.videos]
        if any(duration is None for duration in durations):
            return None
        return sum(max(1, round(duration / length)) for duration in durations if duration is not None)

    def _judge(self, outcome: Outcome) -> Entry:
        """Entry for an outcome: attempts counted over all runs.

        Raises:
            WhimError: the disk is full; going on would fail every segment.
        """
        earlier = self.ledger.get(outcome.task.key)
        attempts = 1 + (earlier.attempts if earlier and earlier.state is State.FAILED else 0)
        if outcome.entry:
            return replace(outcome.entry, attempts=attempts)
        if outcome.reason == "disk-full":
            raise WhimError(
                f"{self.out}: the disk is full; finished segments are kept. "
                "Free some space and run the same command again",
                code="disk-full",
            )
        given_up = attempts >= TRIES_IN_ALL or outcome.reason in PERMANENT
        return Entry(
            key=outcome.task.key,
            state=State.QUARANTINED if given_up else State.FAILED,
            reason=outcome.reason,
            detail=outcome.detail,
            attempts=attempts,
        )

    def _plan(self) -> Iterator[Task]:
        for video in self.videos:
            try:
                yield from self._plan_video(video)
            except (BadFileError, OSError) as error:
                reason = error.code if isinstance(error, BadFileError) else "io-error"
                self._set_aside(video, reason, str(error))

    def _plan_video(self, video: Video) -> Iterator[Task]:
        segments = plan_segments(
            video.path, video_id=video.video_id, split=video.split, length_s=self.config.segments.length_s
        )
        digest = video.sha256()
        folder = self.out / reader.SEGMENTS / video.video_id
        finished = {path.stem: path for path in reader.label_files(folder)} if folder.is_dir() else {}
        for path in finished.values():
            if reader.lineage(path)["video"]["sha256"] != digest:
                raise BadFileError(
                    f"{video.path} is not the file its labels were made from; remove {folder} to annotate it anew",
                    code="video-changed",
                )
            break  # all files of a folder come from one video
        if (earlier := self.ledger.get(video.video_id)) and earlier.state not in FINISHED:
            self.ledger.record(Entry(key=video.video_id, state=State.DONE, reason="readable-again"))
        for segment in segments:
            task = Task(
                segment=segment,
                target=str(folder / f"{segment.name}.parquet"),
                lineage={
                    **self._lineage,
                    "video": {
                        "path": str(video.path.resolve()),
                        "sha256": digest,
                        "bytes": video.path.stat().st_size,
                    },
                },
                timeout_s=max(
                    HUNG_MINIMUM_S,
                    HUNG_S_PER_FRAME * self.config.sampling.fps * (segment.end_s - segment.start_s),
                ),
            )
            entry = self.ledger.get(task.key)
            if segment.name in finished:
                if entry is None or entry.state not in FINISHED:
                    self._adopt(task, finished[segment.name])
            elif entry is None or entry.state is not State.QUARANTINED:
                yield task

    def _adopt(self, task: Task, path: Path) -> None:
        """A file without a ledger line: the run was killed between the two."""
        facts = dict(reader.lineage(path)["segment"])
        facts.pop("name")
        state = State.DONE if facts["hands"] else State.EMPTY
        self.ledger.record(
            Entry(key=task.key, state=state, reason="" if facts["hands"] else "no-hands", data=facts)
        )

    def _set_aside(self, video: Video, reason: str, detail: str) -> None:
        earlier = self.ledger.get(video.video_id)
        if not earlier or earlier.reason != reason or earlier.state is not State.QUARANTINED:
            self.ledger.record(
                Entry(key=video.video_id, state=State.QUARANTINED, reason=reason, detail=detail)
            )
        self.say(f"{video.path}: set aside: {detail}")
