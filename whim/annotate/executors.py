"""Two ways to run segments: in this process, or on Ray actors. Both run the same segment function.

An executor takes tasks and yields outcomes in any order. It never loses a task: each one comes back as an
entry, as an error, as a crash or as a time-out.
"""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from whim.annotate.config import PipelineConfig
from whim.annotate.frame import Detectors
from whim.annotate.segment import Task, annotate_segment
from whim.errors import WhimError, require
from whim.shards.ledger import Entry

# What a worker process needs before its networks load: no threads of its own, no banners.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "GLOG_minloglevel": "2",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one try at one task: an entry, or the reason why there is none."""

    task: Task
    entry: Entry | None = None
    reason: str = ""
    detail: str = ""


class Executor(Protocol):
    """Runs tasks and yields their outcomes."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Run every task once."""
        ...

    def close(self) -> None:
        """Stop the workers at once."""
        ...


def prepare_process() -> None:
    """One thread per worker: segments, not frames, are what runs side by side."""
    os.environ.update({key: value for key, value in WORKER_ENVIRONMENT.items() if key not in os.environ})
    import cv2

    cv2.setNumThreads(1)


class InProcess:
    """``--workers 0``: one segment after the other in this process. A hung segment cannot be stopped here."""

    def __init__(self, config: PipelineConfig) -> None:
        prepare_process()
        self._config = config
        self._detectors = Detectors.load(config)

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Run every task once."""
        for task in tasks:
            yield attempt(task, self._detectors, self._config)

    def close(self) -> None:
        """Release the networks."""
        self._detectors.close()


class RayActors:
    """``--workers N``: Ray Core actors, one task in flight each, with a time limit per task.

    A small wait loop instead of Ray Data: a crashed or hung segment is told apart, counted and retried or
    given up by the caller, which Ray Data does not offer (docs/decisions.md). ``load`` makes a worker's
    detectors.
    """

    def __init__(
        self,
        config: PipelineConfig,
        workers: int,
        load: Callable[[PipelineConfig], Detectors] = Detectors.load,
    ) -> None:
        self._ray = require("ray", extra="annotate")
        os.environ.setdefault(
            "RAY_worker_niceness", "0"
        )  # Ray's default of 15 makes it lose to any neighbour
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._start_cluster(workers)
        actor = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)
        self._new_worker = lambda: actor.remote(config, load)
        self._idle = deque(self._new_worker() for _ in range(workers))
        problems = self._ray.get([worker.ready.remote() for worker in self._idle])
        for problem in filter(None, problems):  # stop here, instead of failing every segment
            self.close()
            raise WhimError(f"the workers could not start: {problem}", code="worker-start")

    def _start_cluster(self, workers: int) -> None:
        for last in (False, True):
            try:
                self._ray.init(
                    num_cpus=workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    object_store_memory=100 * 2**20,  # frames never pass through it
                    runtime_env={"env_vars": WORKER_ENVIRONMENT},
                )
                return
            except (
                Exception
            ) as error:  # a node that a busy machine starts too slowly, in one of several classes
                self._ray.shutdown()
                if last:
                    raise WhimError(f"Ray could not start: {error}", code="worker-start") from error

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Run every task once; up to one per worker at a time."""
        pending = iter(tasks)
        flying: dict[Any, tuple[Any, Task, float]] = {}
        exhausted = False
        while True:
            while self._idle and not exhausted:
                task = next(pending, None)
                if task is None:
                    exhausted = True
                    break
                worker = self._idle.popleft()
                flying[worker.annotate.remote(task)] = (worker, task, time.monotonic())
            if not flying:
                return
            ready, _ = self._ray.wait(list(flying), num_returns=1, timeout=1.0)
            for reference in ready:
                worker, task, _ = flying.pop(reference)
                outcome, alive = self._collect(reference, task)
                # A dead worker is replaced, never restarted: a task sent to one that is still dying would be lost.
                self._idle.append(worker if alive else self._new_worker())
                yield outcome
            hung = [r for r, (_, task, start) in flying.items() if time.monotonic() - start > task.timeout_s]
            for reference in hung:
                worker, task, _ = flying.pop(reference)
                self._ray.kill(worker)
                self._idle.append(self._new_worker())
                yield Outcome(task=task, reason="timeout", detail=f"no result within {task.timeout_s:.0f} s")

    def _collect(self, reference: Any, task: Task) -> tuple[Outcome, bool]:
        """Outcome of a finished task, and whether its worker lives on."""
        from ray.exceptions import RayActorError, RayError

        try:
            return self._ray.get(reference), True
        except RayActorError:
            detail = "the worker process died while it held this segment"
            return Outcome(task=task, reason="worker-crash", detail=detail), False
        except RayError as error:
            return Outcome(
                task=task, reason="worker-error", detail=str(error).strip().splitlines()[-1]
            ), False

    def close(self) -> None:
        """Stop workers and the local cluster."""
        self._ray.shutdown()


class _Worker:
    """A worker process: networks loaded once, then segment after segment."""

    def __init__(self, config: PipelineConfig, load: Callable[[PipelineConfig], Detectors]) -> None:
        prepare_process()
        self._problem = ""
        self._config = config
        try:
            self._detectors = load(config)
        except WhimError as error:
            self._problem = str(error)

    def ready(self) -> str:
        """Empty once the networks are loaded, or what kept them from loading."""
        return self._problem

    def annotate(self, task: Task) -> Outcome:
        if self._problem:
            return Outcome(task=task, reason="worker-start", detail=self._problem)
        return attempt(task, self._detectors, self._config)


def attempt(task: Task, detectors: Detectors, config: PipelineConfig) -> Outcome:
    """Run the segment function; an error becomes an outcome with a stable reason."""
    try:
        return Outcome(task=task, entry=annotate_segment(task, detectors, config))
    except WhimError as error:
        return Outcome(task=task, reason=error.code, detail=str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return Outcome(task=task, reason="disk-full" if full else "io-error", detail=str(error))
    except Exception as error:  # a bug in a detector must cost one segment, not the run
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        return Outcome(task=task, reason="internal-error", detail=detail)
