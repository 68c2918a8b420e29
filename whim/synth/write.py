"""``whim synth``: rendered samples as pixel shards, in parallel, to be gone on with after any interruption."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from whim import __version__
from whim.config import config_hash
from whim.errors import BadFileError, UsageError
from whim.progress import Progress
from whim.shards.pixel_writer import write_pictures
from whim.shards.pixels import encode
from whim.shards.reader import lineage
from whim.shards.rows import Row
from whim.sources.video.hashing import difference_hash
from whim.synth.backgrounds import Image, background
from whim.synth.config import SynthConfig
from whim.synth.dataset import GROUP, SynthDataset, shared_renderer
from whim.synth.degrade import degrade
from whim.synth.draw import truths
from whim.synth.sequence import frame_times, random_sequence
from whim.synth.truth import scene_row

JPEG_QUALITY = 92
_CHUNK = 16


@dataclass(frozen=True)
class SynthSummary:
    """What a run wrote."""

    out: Path
    shards: int
    pictures: int
    kept: int
    """Shards that were there already."""
    renderer: str

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "out": str(self.out),
            "shards": self.shards,
            "pictures": self.pictures,
            "kept": self.kept,
            "renderer": self.renderer,
        }

    def render(self) -> str:
        """Text for the terminal."""
        kept = f", {self.kept} of them already there" if self.kept else ""
        return (
            f"{self.out}: {self.pictures} pictures in {self.shards} shards{kept}; drawn with {self.renderer}"
        )


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One shard."""

    target: Path
    start: int
    """Number of the first picture, or of the first sequence."""
    count: int
    seed: int
    split: str
    config: SynthConfig
    lineage: dict[str, Any]


def synth(
    out: Path, *, count: int, seed: int, split: str = "train", workers: int | None = None, config: SynthConfig
) -> SynthSummary:
    """Write ``count`` pictures as shards of ``GROUP``, or of one sequence each.

    The same arguments give the same pictures and labels, whatever the number of workers. Shards of an earlier run
    with the same arguments are kept.

    Args:
        out: folder of the shards.
        count: pictures in all; sequences are rounded up to whole ones.
        seed: of everything random.
        split: ``train``, ``test`` or any other name.
        workers: processes; as many as there are cores without it.
        config: what the scenes look like.

    Raises:
        UsageError: ``out`` holds shards made with other arguments, or no pictures where backgrounds should be.
        OSError: the disk is full, say.
    """
    SynthDataset(config, seed=seed)  # a wrong folder of backgrounds is an error now, not in a worker
    out.mkdir(parents=True, exist_ok=True)
    jobs = list(_jobs(out, count, seed, split, config))
    waiting = [job for job in jobs if not _finished(job)]
    pictures = sum(_pictures(job) for job in jobs)
    with Progress(pictures, "synth", "picture") as progress:
        progress.step("there", pictures - sum(_pictures(job) for job in waiting))
        if waiting:
            # Not forked: OpenGL and thread pools do not survive it.
            context = multiprocessing.get_context("spawn")
            number = workers or os.cpu_count() or 1
            with (
                _one_thread_each(),
                ProcessPoolExecutor(number, mp_context=context, initializer=_no_opencv_threads) as pool,
            ):
                rendered = _in_order(pool, [chunk for job in waiting for chunk in _chunks(job)], 3 * number)
                try:
                    for job in waiting:
                        write_pictures(job.target, _taken(rendered, _pictures(job), progress), job.lineage)
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
    return SynthSummary(
        out=out,
        shards=len(jobs),
        pictures=pictures,
        kept=len(jobs) - len(waiting),
        renderer=shared_renderer(config.renderer).device,
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """What new processes find in their environment: samples run side by side, threads would only fight."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _no_opencv_threads() -> None:
    cv2.setNumThreads(1)


def _frames(config: SynthConfig) -> int:
    return len(list(frame_times(config.sequence_s, config.fps))) if config.sequence_s else 1


def _jobs(out: Path, count: int, seed: int, split: str, config: SynthConfig) -> Iterator[_Job]:
    per_shard = 1 if config.sequence_s else GROUP
    units = -(-count // _frames(config))
    for number, start in enumerate(range(0, units, per_shard)):
        size = min(per_shard, units - start)
        yield _Job(
            target=out / f"{split}-{number:05d}.parquet",
            start=start,
            count=size,
            seed=seed,
            split=split,
            config=config,
            lineage={
                "whim_version": __version__,
                "maker": "whim synth",
                "config": config.model_dump(mode="json"),
                "config_hash": config_hash(config),
                "seed": seed,
                "start": start,
                "count": size,
                "licence": "CC0-1.0",
            },
        )


def _pictures(job: _Job) -> int:
    return job.count * _frames(job.config)


def _finished(job: _Job) -> bool:
    """Whether the shard is there. Raises: UsageError: another one is."""
    if not job.target.exists():
        return False
    try:
        record = lineage(job.target)
    except BadFileError:
        return False  # half a file of a broken disk: written again
    for key in ("seed", "start", "count", "config_hash"):
        if record.get(key) != job.lineage[key]:
            raise UsageError(
                f"{job.target} was made with another {key} ({record.get(key)}, now {job.lineage[key]}); "
                "choose another --out"
            )
    return True


def _chunks(job: _Job) -> Iterator[_Job]:
    """The job in pieces that one worker renders at a time."""
    size = 1 if job.config.sequence_s else _CHUNK
    for start in range(job.start, job.start + job.count, size):
        yield replace(job, start=start, count=min(size, job.start + job.count - start))


def _in_order(pool: ProcessPoolExecutor, chunks: Sequence[_Job], ahead: int) -> Iterator[tuple[bytes, Row]]:
    """Rendered samples in the order of ``chunks``, at most ``ahead`` chunks before they are asked for."""
    waiting: deque[Future[list[tuple[bytes, Row]]]] = deque()
    remaining = iter(chunks)
    while True:
        for chunk in islice(remaining, ahead - len(waiting)):
            waiting.append(pool.submit(_render, chunk))
        if not waiting:
            return
        yield from waiting.popleft().result()


def _taken(
    samples: Iterator[tuple[bytes, Row]], count: int, progress: Progress
) -> Iterator[tuple[bytes, Row]]:
    for sample in islice(samples, count):
        progress.step()
        yield sample


def _render(job: _Job) -> list[tuple[bytes, Row]]:
    samples = _sequences(job) if job.config.sequence_s else _singles(job)
    return [(encode(image, JPEG_QUALITY), row) for image, row in samples]


def _singles(job: _Job) -> Iterator[tuple[Image, Row]]:
    dataset = SynthDataset(job.config, seed=job.seed, split=job.split)
    for index in range(job.start, job.start + job.count):
        yield dataset[index]


def _sequences(job: _Job) -> Iterator[tuple[Image, Row]]:
    for number in range(job.start, job.start + job.count):
        yield from sequence_frames(
            job.config, (job.seed, number), f"synth-{job.seed}-{number:05d}", job.split
        )


def sequence_frames(
    config: SynthConfig, seed: tuple[int, ...], video_id: str, split: str
) -> Iterator[tuple[Image, Row]]:
    """Frames of one shot with their label rows. ``config.sequence_s`` must be set."""
    assert config.sequence_s is not None
    rng = np.random.default_rng(seed)
    dataset = SynthDataset(config, seed=seed[0])
    shot = random_sequence(rng, config, config.sequence_s)
    behind = background(rng, shot.view.width, shot.view.height, dataset.backgrounds)
    look = int(rng.integers(2**31))
    for index, time in enumerate(frame_times(config.sequence_s, config.fps)):
        scene, rendered = shot.render(
            shared_renderer(config.renderer), time, 1 / config.fps, config.motion_samples
        )
        # The same faults in every frame: a camera does not change them from one to the next.
        picture = degrade(np.random.default_rng(look), rendered.over(behind), config.degrade)
        hands, people = truths(scene, rendered)
        yield (
            picture,
            scene_row(
                video_id=video_id,
                split=split,
                frame_index=index,
                time_s=time,
                picture_hash=difference_hash(picture),
                view=scene.view,
                hands=hands,
                people=people,
            ),
        )
