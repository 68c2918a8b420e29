"""How many workers this machine carries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Private memory of one worker with the embedded pipeline loaded and a 1080p video open, rounded up
# (benchmarks/annotate_throughput.py prints the measured value).
WORKER_BYTES = 1_600_000_000


@dataclass(frozen=True)
class Capacity:
    """Cores this process may use and memory free for workers."""

    cores: int
    free_bytes: int

    @property
    def workers(self) -> int:
        """Workers that fit, at least one."""
        return max(1, min(self.cores, self.free_bytes // WORKER_BYTES))


def capacity() -> Capacity:
    """What this machine, or the container it runs in, offers now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Capacity(cores=cores, free_bytes=min(_available(), _cgroup_room()))


def decide(asked: int | None, limits: Capacity) -> tuple[int, str]:
    """Number of workers to use and a line that says why, empty when the wish is granted."""
    if asked is None:
        return limits.workers, ""
    if asked <= limits.workers:
        return asked, ""
    return limits.workers, (
        f"{asked} workers asked, {limits.workers} used: this machine offers {limits.cores} cores and "
        f"{limits.free_bytes / 1e9:.1f} GB free memory (one core and {WORKER_BYTES / 1e9:.1f} GB per worker)"
    )


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_room() -> int:
    """Memory left under a container's limit; huge when there is none."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return 1 << 62
    return 1 << 62 if limit == "max" else max(0, int(limit) - used)
