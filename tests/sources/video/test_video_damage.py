"""Damaged, unfinished and unreadable files: good frames first, then an error with a code."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from sources.video.clips import GENERATED, encode, until_damage

from whim.sources.video.decode import frames_at
from whim.sources.video.probe import probe
from whim.sources.video.timeline import BadVideoError, scan


def test_damage_comes_after_the_good_frames(shared_data: Path) -> None:
    path = shared_data / "videos" / "formats" / "corrupted.mp4"
    seen, error = until_damage(path)
    assert seen == list(range(28))
    assert error is not None
    assert "damaged after frame 27" in str(error)
    assert error.code == "bad-video"


def test_a_truncated_file_gives_its_good_frames(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mkv", "libx264", g="120")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, error = until_damage(cut)
    assert error is None or error.code == "bad-video"  # Matroska may end without a complaint
    assert 10 < len(found) < 115
    assert found == list(range(len(found)))


@pytest.mark.parametrize("name", ["front.mp4", "clip.mkv", "clip.webm"])
def test_an_unfinished_download_is_found_out(tmp_path: Path, name: str) -> None:
    """Its own header promises more, though what is there can be decoded."""
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    options = {"movflags": "faststart"} if name.endswith("mp4") else {}
    path = encode(tmp_path / name, codec, frames=150, **options)
    assert probe(path).frames == 150
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(BadVideoError, match=r"of the 5.0 seconds that its header promises; fetch it again"):
        probe(path)


def test_damage_near_the_end_is_found_out(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", "libvpx-vp9", **GENERATED["vp9.webm"][1])
    with av.open(str(path)) as container:
        key = [packet for packet in container.demux(video=0) if packet.size and packet.is_keyframe][-1]
        payload = bytes(key)
    content = path.read_bytes()
    assert content.count(payload) == 1
    path.write_bytes(content.replace(payload, payload[:12] + b"\xff" * (len(payload) - 12)))
    with pytest.raises(BadVideoError, match="damaged near its end"):
        probe(path)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.mp4", b"", "empty-file"),
        ("text.mp4", b"just text " * 100, "bad-video"),
        ("none.mp4", None, "missing-file"),
    ],
)
def test_unreadable_files_have_a_code(tmp_path: Path, name: str, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for read in (probe, scan):
        with pytest.raises(BadVideoError) as stop:
            read(tmp_path / name)
        assert stop.value.code == code


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate = 16000
        for packet in [*stream.encode(sound), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(BadVideoError) as stop:
        probe(path)
    assert stop.value.code == "no-video-stream"


def test_a_frame_that_is_not_there(make_video: Callable[..., Path]) -> None:
    with pytest.raises(BadVideoError, match="ends before frame 60") as stop:
        list(frames_at(make_video(frames=60), [3, 60]))
    assert stop.value.code == "frame-missing"
