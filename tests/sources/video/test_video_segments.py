"""Segments add up to the whole, and seeks land, whatever the codec and the container."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from sources.video.clips import GENERATED, encode, pieces, whole

from whim.sources.video import decode as decoding
from whim.sources.video.decode import Span, decode, frames_at
from whim.sources.video.probe import probe
from whim.sources.video.timeline import BadVideoError, scan


@pytest.mark.parametrize("name", GENERATED)
@pytest.mark.parametrize("length_s", [0.4, 1.3])
def test_segments_add_up_to_the_whole(tmp_path: Path, name: str, length_s: float) -> None:
    codec, options = GENERATED[name]
    path = encode(tmp_path / name, codec, **options)
    expected = whole(path)
    assert [index for index, _ in expected] == list(range(120))
    segments, found = pieces(path, length_s)
    assert found == expected
    assert (len(segments) > 1) == scan(path).trusted
    assert len({segment.name for segment in segments}) == len(segments)


def cut_in(source: Path, name: str, first: int) -> Path:
    """The packets of a clip from number ``first`` on."""
    target = source.with_name(name)
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        for number, packet in enumerate(read.demux(stream)):
            if packet.size and number >= first:
                packet.stream = copy
                write.mux(packet)
    return target


def counted(path: Path) -> list[int]:
    """Time stamps of the frames that libav gives, by its plainest use."""
    with av.open(str(path)) as container:
        return [frame.pts or 0 for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", ["open.mkv", "open_hevc.mp4", "transport.ts"])
@pytest.mark.parametrize("first", [7, 15])
def test_a_start_in_the_middle_of_a_group(tmp_path: Path, name: str, first: int) -> None:
    """Frames that lack their key frame are never decoded: they take no index, and time starts after them."""
    codec, options = GENERATED[name]
    path = cut_in(encode(tmp_path / f"whole_{name}", codec, **options), name, first)
    frames = len(counted(path))
    assert probe(path).frames == frames < 120 - first
    segments, found = pieces(path, 0.4)
    assert len(segments) == 1
    assert [index for index, _ in found] == list(range(frames))
    assert found[0][1] == 0.0


@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_two_recordings_in_one_file(tmp_path: Path, order: str) -> None:
    one, two = (
        encode(tmp_path / f"{start}.ts", "libx264", stamps=[start + i for i in range(120)], g="15")
        for start in (0, 600)
    )
    path = tmp_path / "both.ts"
    parts = (one, two) if order == "forwards" else (two, one)
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    _, found = pieces(path, 0.4)
    assert [index for index, _ in found] == list(range(240))
    assert found[0][1] == 0.0
    assert all(a[1] < b[1] for a, b in pairwise(found))
    assert probe(path).frames == 240


@pytest.mark.parametrize("name", ["open.mp4", "transport.ts", "vp9.webm"])
def test_a_segment_decodes_little_more_than_itself(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeks land: counting from the start of the file for every segment would be quadratic."""
    codec, options = GENERATED[name]
    path = encode(tmp_path / name, codec, frames=300, **options)
    monkeypatch.setattr(decoding, "_tail", None)
    segments, found = pieces(path, 2.0)
    assert len(segments) > 4
    assert [index for index, _ in found] == list(range(300))


def test_the_size_may_change_on_the_way(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts", "libx264", frames=30)
    two = encode(tmp_path / "two.ts", "libx264", frames=30, size=(128, 80), stamps=list(range(30, 60)))
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    frames = list(frames_at(path, range(60)))
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 30 + [(80, 128, 3)] * 30
    alone = list(frames_at(two, range(30)))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames[30:], alone, strict=True))


def test_pictures_after_a_seek_are_those_of_the_whole(tmp_path: Path) -> None:
    path = encode(tmp_path / "open.mp4", **{"codec": "libx264"}, **GENERATED["open.mp4"][1])
    straight = {d.index: d.frame().image for d in decode(path, scan(path).clock, Span())}
    wanted = [0, 14, 15, 16, 44, 45, 110, 119]
    for frame in frames_at(path, wanted):
        assert np.array_equal(frame.image, straight[frame.index])


def test_uneven_stamps(tmp_path: Path) -> None:
    stamps = list(np.cumsum(np.random.default_rng(1).integers(1, 5, 120)))
    path = encode(tmp_path / "uneven.mkv", "libx264", stamps=[int(s) for s in stamps], g="15")
    assert probe(path).variable_rate
    times = [time for _, time in whole(path)]
    assert np.allclose(times, (np.array(stamps) - stamps[0]) / 30, atol=2e-3)
    assert pieces(path, 1.0)[1] == whole(path)


def test_a_seek_that_misses_counts_from_the_start(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", "libx264", g="60")
    timeline = scan(path)
    span = Span(first_frame=31, seek_pts=timeline.pts[31])  # not a key frame
    assert [found.index for found in decode(path, timeline.clock, span)] == list(range(31, 120))


def test_a_wrong_count_is_an_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", "libx264")
    with pytest.raises(BadVideoError, match="120 frames decoded where the packets promise 121") as stop:
        list(decode(path, scan(path).clock, Span(frames=121)))
    assert stop.value.code == "frame-count"
