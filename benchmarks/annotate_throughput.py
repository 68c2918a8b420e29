"""What the pipeline costs on top of its models: whim annotate with two workers against the bare model calls.

    python benchmarks/annotate_throughput.py [--videos DIR] [--rounds 3] [--workers 2]

Without --videos: the demonstration clips of `whim models pull`, four copies of each, so that sixteen segments
keep two workers busy to the end. Four ways over the same sampled frames, alternating, medians of the rounds:

pipeline    `whim annotate` on Ray: decode, sample, models, fusion, label files; start-up apart
sequential  a plain loop in one process: decode, sample, the same models; nothing is written
bare        the model calls alone, on frames decoded before the clock starts, one process
bare xN     the same in N processes at once, as many as the pipeline has workers
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from whim.annotate.config import PipelineConfig
from whim.annotate.executors import RayActors, prepare_process
from whim.annotate.frame import Detectors, annotate_frame
from whim.annotate.run import annotate
from whim.annotate.videos import find_videos
from whim.config import load_config
from whim.models.catalog import load_catalog, weight_path
from whim.resources import shipped
from whim.sources.video.decode import Frame
from whim.sources.video.sampling import sample
from whim.sources.video.segments import Segment, plan_segments


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.videos:
        measure(options.videos, options.rounds, options.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        for entry in load_catalog():
            for copy in range(4 if entry.role == "demo" else 0):
                (Path(folder) / f"{entry.name}-{copy}.mp4").symlink_to(weight_path(entry.name))
        measure(Path(folder), options.rounds, options.workers)


def measure(videos: Path, rounds: int, workers: int) -> None:
    overrides = ["segments.length_s=4", "sampling.duplicate_distance=-1"]
    config = load_config(PipelineConfig, shipped("pipelines/embedded.yaml"), overrides)
    segments = [
        segment
        for video in find_videos([videos])
        for segment in plan_segments(video.path, video_id=video.video_id, split="", length_s=4)
    ]
    prepare_process()
    frames = frames_of(segments, config)
    print(f"{len(segments)} segments, {len(frames)} frames, {workers} workers, {os.cpu_count()} cores")

    detectors = Detectors.load(config)
    rates: dict[str, list[float]] = {
        "pipeline": [],
        "sequential": [],
        "bare": [],
        f"bare x{workers}": [],
    }
    startups: list[float] = []
    for _ in range(rounds):
        startup, rate = pipeline(videos, config, workers, len(frames))
        startups.append(startup)
        rates["pipeline"].append(rate / workers)
        started = time.perf_counter()
        for segment in segments:
            for kept in sample(segment, fps=config.sampling.fps, duplicate_distance=-1):
                annotate_frame(kept.frame.image, detectors, config)
        rates["sequential"].append(len(frames) / (time.perf_counter() - started))
        rates["bare"].append(len(frames) / seconds_of(frames, detectors, config))
        rates[f"bare x{workers}"].append(bare_side_by_side(segments, config, workers))

    median = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{'frames per second and core':<28}{'median':>8}{'min':>8}{'max':>8}{'pipeline / it':>15}")
    for name, values in rates.items():
        ratio = statistics.median(p / v for p, v in zip(rates["pipeline"], values, strict=True))
        print(f"{name:<28}{median[name]:>8.2f}{min(values):>8.2f}{max(values):>8.2f}{ratio:>15.2f}")
    print(f"start-up of cluster and networks, not counted above: {statistics.median(startups):.1f} s")
    memory(videos)


def frames_of(segments: list[Segment], config: PipelineConfig) -> list[Frame]:
    return [k.frame for s in segments for k in sample(s, fps=config.sampling.fps, duplicate_distance=-1)]


def seconds_of(frames: list[Frame], detectors: Detectors, config: PipelineConfig) -> float:
    started = time.perf_counter()
    for frame in frames:
        annotate_frame(frame.image, detectors, config)
    return time.perf_counter() - started


def pipeline(videos: Path, config: PipelineConfig, workers: int, frames: int) -> tuple[float, float]:
    """Seconds of start-up, and frames per second after it."""
    startup = 0.0

    def start(_: int) -> RayActors:
        nonlocal startup
        began = time.perf_counter()
        executor = RayActors(config, workers)
        startup = time.perf_counter() - began
        close = executor.close
        executor.close = lambda: None  # type: ignore[method-assign]  # shutdown is not part of the work
        closers.append(close)
        return executor

    closers: list = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        summary = annotate([videos], out=Path(folder), config=config, executor=start, say=lambda text: None)
        for close in closers:
            close()
    assert summary.exit_code == 0
    assert summary.frames == frames
    return startup, frames / (summary.seconds - startup)


def bare_side_by_side(segments: list[Segment], config: PipelineConfig, processes: int) -> float:
    """Frames per second and process while every core is busy with the same."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    running = [
        context.Process(target=_bare, args=(segments, config, barrier, results)) for _ in range(processes)
    ]
    for process in running:
        process.start()
    rates = [results.get(timeout=600) for _ in running]
    for process in running:
        process.join()
    return statistics.mean(rates)


def _bare(
    segments: list[Segment], config: PipelineConfig, barrier: Barrier, results: multiprocessing.Queue
) -> None:
    prepare_process()
    frames, detectors = frames_of(segments, config), Detectors.load(config)
    barrier.wait()
    results.put(len(frames) / seconds_of(frames, detectors, config))


def memory(videos: Path) -> None:
    """Peak memory of one process that goes through a clip once, and through one eight times as long."""
    with tempfile.TemporaryDirectory() as folder:
        source = find_videos([videos])[0].path
        for times in (1, 8):
            path = Path(folder) / f"x{times}.mp4"
            repeat(source, path, times)
            run = subprocess.run(
                [sys.executable, __file__, "--peak", str(path)], capture_output=True, text=True, check=True
            )
            print(f"peak memory of a worker, {source.name} x{times}: {run.stdout.strip()} MB")


def repeat(source: Path, target: Path, times: int) -> None:
    """Write a clip several times in a row, without encoding again."""
    import av

    with av.open(str(target), "w") as out:
        stream = None
        shift = 0
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                end = 0
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                shift += end


def peak(video: str) -> None:
    overrides = ["sampling.duplicate_distance=-1", "sampling.fps=2", "segments.length_s=10000"]
    config = load_config(PipelineConfig, shipped("pipelines/embedded.yaml"), overrides)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        annotate([Path(video)], out=Path(folder), config=config, workers=0, say=lambda text: None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2])
    else:
        main()
