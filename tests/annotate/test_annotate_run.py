"""whim annotate: nothing lost, nothing twice, whatever happens."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from square_detector import SquareExecutor, config

from whim.annotate.run import TRIES_IN_ALL, AnnotateSummary, annotate
from whim.errors import UsageError, WhimError
from whim.shards import reader
from whim.shards.ledger import LEDGER_NAME, State, read_ledger

SHORT = "segments.length_s=1"
Make = Callable[..., Path]


def run(
    videos: Path, out: Path, *overrides: str, trouble: dict[str, list[str]] | None = None
) -> tuple[AnnotateSummary, SquareExecutor]:
    settings = config(SHORT, *overrides)
    executor = SquareExecutor(settings, trouble)
    said: list[str] = []
    summary = annotate([videos], out=out, config=settings, executor=lambda workers: executor, say=said.append)
    return summary, executor


def rows(out: Path) -> list[tuple[str, int]]:
    table = reader.read_table(out)
    return list(zip(table["video_id"].to_pylist(), table["frame_index"].to_pylist(), strict=True))


@pytest.fixture
def videos(make_video: Make, tmp_path: Path) -> Path:
    make_video("videos/a.mp4", frames=90)
    make_video("videos/b.mp4", frames=60)
    return tmp_path / "videos"


def test_labels_of_a_clip_are_what_is_in_it(videos: Path, tmp_path: Path) -> None:
    summary, _ = run(videos, tmp_path / "labels")
    assert summary.exit_code == 0
    assert summary.frames == summary.hands == 25  # 5 s of video at 5 frames per second, one square in each
    table = reader.read_table(tmp_path / "labels")
    row = table.slice(3, 1).to_pylist()[0]
    assert (row["width"], row["height"], row["split"]) == (160, 96, "")
    hand = row["hands"][0]
    x = (row["frame_index"] * 7) % (160 - 24)
    assert hand["box"] == pytest.approx([x, 16, x + 24, 56], abs=2)
    assert (hand["side"], len(hand["votes"]), hand["keypoints_2d"]) == (0, 2, None)
    assert hand["agreement"] == pytest.approx(1.0)


def test_every_file_tells_where_it_came_from(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "labels")
    lineage = reader.lineage(reader.label_files(tmp_path / "labels")[0])
    assert lineage["pipeline"] == "embedded"
    assert len(lineage["video"]["sha256"]) == 64
    assert lineage["config"]["people"]["min_score"] == 0.65
    assert lineage["detectors"]


def test_the_result_does_not_depend_on_the_cut(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "short")
    settings = config()
    annotate(
        [videos], out=tmp_path / "whole", config=settings, executor=lambda workers: SquareExecutor(settings)
    )
    assert rows(tmp_path / "short") == rows(tmp_path / "whole")


def test_a_second_run_does_nothing(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "labels")
    before = {path: path.stat().st_mtime_ns for path in reader.label_files(tmp_path / "labels")}
    _, executor = run(videos, tmp_path / "labels")
    assert executor.seen == []
    assert {path: path.stat().st_mtime_ns for path in reader.label_files(tmp_path / "labels")} == before


def test_a_deleted_file_is_made_again(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "labels")
    expected = rows(tmp_path / "labels")
    reader.label_files(tmp_path / "labels")[1].unlink()
    _, executor = run(videos, tmp_path / "labels")
    assert len(executor.seen) == 1
    assert rows(tmp_path / "labels") == expected


def test_a_file_without_its_ledger_line_is_adopted(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels"
    run(videos, out)
    ledger = out / LEDGER_NAME
    lines = ledger.read_text().splitlines()
    ledger.write_text("\n".join(lines[:-2]) + "\n")
    summary, executor = run(videos, out)
    assert executor.seen == []
    assert summary.states["done"] == len(lines) - 1


def test_a_failure_is_tried_again_in_the_same_run(videos: Path, tmp_path: Path) -> None:
    key = "a/00000-000000000-000000800"
    first, executor = run(videos, tmp_path / "labels", trouble={key: ["worker-crash"]})
    assert executor.seen.count(key) == 2
    assert first.exit_code == 0
    entry = read_ledger(tmp_path / "labels")[1][key]
    assert (entry.state, entry.attempts) == (State.DONE, 2)


def test_what_fails_again_and_again_is_given_up(videos: Path, tmp_path: Path) -> None:
    key = "a/00000-000000000-000000800"
    trouble = {key: ["timeout"] * 10}
    first, _ = run(videos, tmp_path / "labels", trouble=trouble)
    assert first.exit_code == 1
    assert read_ledger(tmp_path / "labels")[1][key].state is State.FAILED
    assert "run the same command again" in first.render()
    second, executor = run(videos, tmp_path / "labels", trouble=trouble)
    assert executor.seen == [key]
    entry = read_ledger(tmp_path / "labels")[1][key]
    assert (entry.state, entry.reason, entry.attempts) == (State.QUARANTINED, "timeout", TRIES_IN_ALL)
    third, executor = run(videos, tmp_path / "labels", trouble=trouble)
    assert executor.seen == []
    assert third.exit_code == second.exit_code == 1
    assert "quarantined" in third.render()


def test_a_full_disk_stops_the_run_and_keeps_the_rest(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(WhimError, match="disk is full") as stop:
        run(videos, tmp_path / "labels", trouble={"b/00000-000000000-000000800": ["disk-full"]})
    assert stop.value.code == "disk-full"
    done = reader.label_files(tmp_path / "labels")
    assert done
    summary, executor = run(videos, tmp_path / "labels")
    assert not {f"{p.parent.name}/{p.stem}" for p in done} & set(executor.seen)
    assert summary.exit_code == 0


def test_bad_videos_are_set_aside_with_a_reason(videos: Path, tmp_path: Path) -> None:
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("not a video")
    summary, _ = run(videos, tmp_path / "labels")
    reasons = {entry.key: entry.reason for entry in summary.unfinished}
    assert reasons == {"empty": "empty-file", "text": "bad-video"}
    assert summary.states["quarantined"] == 2
    assert summary.frames == 25


def test_a_mended_video_is_taken_up(videos: Path, tmp_path: Path) -> None:
    (videos / "c.mp4").touch()
    run(videos, tmp_path / "labels")
    (videos / "c.mp4").write_bytes((videos / "a.mp4").read_bytes())
    summary, _ = run(videos, tmp_path / "labels")
    assert summary.exit_code == 0
    assert ("c", 0) in rows(tmp_path / "labels")


def test_a_truncated_video_keeps_what_came_before_the_damage(
    videos: Path, tmp_path: Path, make_video: Make
) -> None:
    whole = make_video("whole.mkv", frames=150, gop=150)
    (videos / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    summary, _ = run(videos, tmp_path / "labels")
    kept = [index for video, index in rows(tmp_path / "labels") if video == "cut"]
    assert 5 <= len(kept) < 25
    assert summary.exit_code == 0


def test_a_replaced_video_never_gets_mixed_labels(videos: Path, tmp_path: Path, make_video: Make) -> None:
    run(videos, tmp_path / "labels")
    before = rows(tmp_path / "labels")
    make_video("videos/a.mp4", frames=120, size=(176, 96))
    summary, executor = run(videos, tmp_path / "labels")
    assert executor.seen == []
    assert [entry.reason for entry in summary.unfinished] == ["video-changed"]
    assert "remove" in summary.unfinished[0].detail
    assert rows(tmp_path / "labels") == before


def test_labels_of_two_pipelines_never_mix(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "labels")
    with pytest.raises(UsageError, match=r"sampling\.fps"):
        run(videos, tmp_path / "labels", "sampling.fps=2")


def test_a_video_without_hands_is_empty_not_missing(
    tmp_path: Path, make_video: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_video("videos/a.mp4", frames=30)
    monkeypatch.setattr("square_detector.SquareHands.detect", lambda self, image: [])
    summary, _ = run(tmp_path / "videos", tmp_path / "labels")
    assert (summary.states["empty"], summary.hands) == (1, 0)
    assert summary.frames == 5  # frames without hands are rows too
    assert summary.exit_code == 0


def test_a_broken_detector_costs_a_segment_not_the_run(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, image: object) -> list[object]:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr("square_detector.SquareHands.detect", broken)
    summary, _ = run(videos, tmp_path / "labels")
    assert {entry.reason for entry in summary.unfinished} == {"internal-error"}
    assert "ZeroDivisionError: no luck" in summary.unfinished[0].detail


def test_the_workers_are_stopped_even_when_the_run_breaks(videos: Path, tmp_path: Path) -> None:
    settings = config(SHORT)
    executor = SquareExecutor(settings)

    def interrupted(tasks: object) -> object:
        raise KeyboardInterrupt

    executor.run = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        annotate([videos], out=tmp_path / "labels", config=settings, executor=lambda workers: executor)
    assert executor.closed


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_time_then_run_again(videos: Path, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "labels"
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r})\n"
        "import whim.annotate.run as module; module.required_weights = lambda people, hands: []\n"
        "from pathlib import Path; from square_detector import slow_annotate_forever\n"
        f"slow_annotate_forever(Path({str(videos)!r}), Path({str(out)!r}))"
    )
    for _ in range(2):  # killed twice, at different places
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(how)
        process.wait(timeout=30)
        process.stdout.close()
    (out / "segments" / "a" / ".00009.123.tmp.parquet").write_bytes(b"half a file")
    finished = {f"{path.parent.name}/{path.stem}" for path in reader.label_files(out)}
    assert finished
    summary, executor = run(videos, out)
    assert not finished & set(executor.seen)
    assert summary.exit_code == 0
    found = rows(out)
    assert len(found) == len(set(found)) == 25
    assert not list(out.rglob("*.tmp.parquet"))
    for path in reader.label_files(out):
        pq.read_metadata(path)
