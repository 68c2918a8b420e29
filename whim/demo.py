"""``whim demo``: the main job start to end, through the same functions as the commands.

Real clips come out of a package registry; a rendered one, whose truth is known, ships with WHIM. All are served on
loopback, so that the real fetch path downloads them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from whim.annotate.config import PipelineConfig
from whim.annotate.run import annotate
from whim.benchmark.truth import compare
from whim.config import load_config
from whim.models.catalog import load_catalog, weight_path
from whim.models.pull import pull, render_results
from whim.resources import shipped
from whim.shards.stats import render, stats
from whim.sources.fetch.config import FetchConfig
from whim.sources.fetch.run import fetch
from whim.sources.manifest import ManifestEntry, write_manifest
from whim.sources.video.probe import probe
from whim.viz.gallery import write_gallery

RENDERED = "models/synthetic_person.mp4"
TRUTH = "models/synthetic_person_truth.parquet"


def demo(out: Path, *, workers: int) -> int:
    """Pull, fetch, annotate, measure, draw; say where to look. Returns the exit status."""
    _title("1/5  networks and clips from the package registries")
    results = pull(None)
    print(render_results(results))
    if any(result.status == "failed" for result in results):
        return 1
    clips = [weight_path(entry.name) for entry in load_catalog() if entry.role == "demo"]
    clips.append(shipped(RENDERED))

    _title("2/5  whim fetch")
    videos, labels = out / "videos", out / "labels"
    with _serve(clips) as address:
        manifest = out / "manifest.csv"
        write_manifest(
            manifest, [_entry(clip, address) for clip in clips], "Demonstration clips, served on loopback."
        )
        fetched = fetch(manifest, out=videos, jobs=2, limit=None, only=None, config=FetchConfig(sleep_s=0.0))
    print(fetched.render())

    _title("3/5  whim annotate")
    config = load_config(PipelineConfig, shipped("pipelines/embedded.yaml"))
    annotated = annotate([videos], out=labels, config=config, workers=workers)
    print(annotated.render())

    _title("4/5  whim benchmark truth, on the rendered clip")
    print(compare(labels, shipped(TRUTH)).render())

    _title("5/5  whim stats, whim view")
    print(render(stats(labels)))
    page = write_gallery(labels, out=None, videos=None, limit=240)
    print(f"\nlabels  {labels}/segments/*/*.parquet\nreport  {page.resolve()}  (open it in a browser)")
    return max(fetched.exit_code, annotated.exit_code)


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _entry(clip: Path, address: str) -> ManifestEntry:
    facts = probe(clip)
    return ManifestEntry(
        video_id=clip.stem,
        split="train",
        url=f"{address}/{clip.name}",
        height=facts.height,
        width=facts.width,
        frames=facts.frames,
        fps=facts.fps,
    )


class _Handler(SimpleHTTPRequestHandler):
    """Serves a few files by name, wherever they lie."""

    files: dict[str, Path]

    def translate_path(self, path: str) -> str:
        """The clip of that name; a path that does not exist for any other."""
        return str(self.files.get(path.lstrip("/"), Path("/nonexistent")))

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the fetch path reports what it does."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """yt-dlp looks at the head of a file and hangs up; that is no error."""


@contextmanager
def _serve(clips: list[Path]) -> Iterator[str]:
    """Serve the clips on a free port of the loopback interface."""
    handler = type("Handler", (_Handler,), {"files": {clip.name: clip for clip in clips}})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
