"""Real and generated files: frame counts, sizes, times, and segments that add up to the whole."""

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from whim.sources.video import decode as decoding
from whim.sources.video.decode import Decoded, Frame, Span, decode, frames_at
from whim.sources.video.hashing import difference_hash, hamming
from whim.sources.video.probe import probe
from whim.sources.video.segments import Segment, plan_segments
from whim.sources.video.timeline import BadVideoError, Clock, scan

Make = Callable[..., Path]

# Frames, upright size, whether frames can be counted from packets.
CLIPS = {
    "arm_wrestling_lowres.mp4": (280, (340, 256), True),
    "ball_game_two_people.mp4": (40, (1080, 1920), True),
    "basketball_lowres.mp4": (300, (426, 240), True),
    "beam_one_person_vp9.mp4": (100, (1080, 1920), True),
    "cooking_pancake_lowres.mkv": (310, (426, 240), True),
    "egocentric_kitchen.mp4": (121, (1920, 1080), True),
    "makeup_mpeg4.avi": (164, (320, 240), False),
    "sign_fingerspelling_hand.mp4": (325, (620, 1080), True),
    "sign_selfie_portrait.mp4": (58, (540, 720), True),
    "street_crowd_5frames.mp4": (5, (960, 540), True),
    "two_people_handshake_vfr.mp4": (72, (1920, 1080), True),
    "two_women_hairbrush.mp4": (673, (480, 360), True),
    "formats/av1_video.mkv": (125, (640, 360), True),
    "formats/nasa_13013_hdr.mp4": (325, (320, 180), True),
    "formats/nasa_13013_rotated.mp4": (17, (270, 480), True),
    "formats/rot90.mov": (3, (320, 568), True),
    "formats/rot180.mov": (3, (568, 320), True),
    "formats/test_non_zero_start.mp4": (12, (200, 112), True),
    "formats/testsrc2_odd_height_and_width_vp9.mp4": (25, (321, 241), True),
    "formats/testsrc2_vp8.webm": (30, (1280, 720), False),
    "formats/unordered.mov": (4, (50, 50), True),
}


def whole(path: Path) -> list[tuple[int, float]]:
    return [(found.index, found.time_s) for found in decode(path, scan(path).clock, Span())]


def until_damage(path: Path) -> tuple[list[int], BadVideoError | None]:
    seen: list[int] = []
    try:
        seen.extend(found.index for found in decode(path, scan(path).clock, Span()))
    except BadVideoError as error:
        return seen, error
    return seen, None


def pieces(path: Path, length_s: float) -> tuple[list[Segment], list[tuple[int, float]]]:
    segments = plan_segments(path, video_id="x", split="", length_s=length_s)
    return segments, [(d.index, d.time_s) for s in segments for d in decode(path, s.clock, s.span)]


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(shared_data: Path, name: str) -> None:
    path = shared_data / "videos" / name
    frames, size, trusted = CLIPS[name]
    facts = probe(path)
    assert (facts.frames, (facts.width, facts.height)) == (frames, size)
    assert scan(path).trusted == trusted
    decoded = whole(path)
    assert [index for index, _ in decoded] == list(range(frames))
    times = [time for _, time in decoded]
    assert times[0] == 0.0
    assert all(a < b for a, b in pairwise(times))  # also where the stamps run backwards
    assert pieces(path, 2.0)[1] == decoded


def test_irregular_stamps_are_kept(shared_data: Path) -> None:
    facts = probe(shared_data / "videos" / "two_people_handshake_vfr.mp4")
    times = [time for _, time in whole(shared_data / "videos" / "two_people_handshake_vfr.mp4")]
    assert facts.variable_rate
    assert max(np.diff(times)) > 4 * np.median(np.diff(times))  # the clip has one long gap


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_clips_show_the_same_upright(shared_data: Path, degrees: int) -> None:
    """Against OpenCV, which turns pictures by itself."""
    path = shared_data / "videos" / "formats" / f"rot{degrees}.mov"
    (frame,) = frames_at(path, [1])
    capture = cv2.VideoCapture(str(path))
    capture.read()
    _, expected = capture.read()
    capture.release()
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected[..., ::-1]).mean() < 4
    upside_down = frame.image[::-1, ::-1]
    assert np.abs(upside_down.astype(int) - expected[..., ::-1]).mean() > 20


# Display matrix (a, b, c, d) and what it makes of a stored picture.
MATRICES = {
    "none": ((1, 0, 0, 1), lambda p: p),
    "quarter": ((0, 1, -1, 0), lambda p: np.rot90(p, 3)),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "three_quarters": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside_down": ((1, 0, 0, -1), np.flipud),
    "swapped": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "swapped_half": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_turned_and_mirrored_pictures(make_video: Make, name: str) -> None:
    matrix, expected = MATRICES[name]
    path = make_video(frames=3, size=(160, 96))
    (stored,) = frames_at(path, [1])
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # version 0: the matrix follows 40 bytes of the box
    fixed = [round(value * 65536) for value in matrix]
    content[at : at + 20] = struct.pack(">5i", fixed[0], fixed[1], 0, fixed[2], fixed[3])
    path.write_bytes(content)
    (frame,) = frames_at(path, [1])
    assert np.array_equal(frame.image, expected(stored.image))
    facts = probe(path)
    assert (facts.height, facts.width) == frame.image.shape[:2]


def test_conversion_uses_no_further_thread(shared_data: Path) -> None:
    path = shared_data / "videos" / "tabletop_cups.mp4"
    threads = Path("/proc/self/task")
    before = len(list(threads.iterdir()))
    for found in decode(path, scan(path).clock, Span()):
        found.frame()
        assert len(list(threads.iterdir())) == before
        if found.index == 3:
            break


def test_damage_comes_after_the_good_frames(shared_data: Path) -> None:
    path = shared_data / "videos" / "formats" / "corrupted.mp4"
    seen, error = until_damage(path)
    assert seen == list(range(28))
    assert error is not None
    assert "damaged after frame 27" in str(error)
    assert error.code == "bad-video"


def encode(
    path: Path,
    codec: str,
    *,
    frames: int = 120,
    stamps: list[int] | None = None,
    size: tuple[int, int] = (96, 64),
    **options: str,
) -> Path:
    """A clip whose every picture is different, with options of the encoder."""
    muxer = {key: options.pop(key) for key in ("movflags",) if key in options}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 30)
        for index in range(frames):
            picture = np.full((*size[::-1], 3), 40, dtype=np.uint8)
            picture[8:40, (index * 5) % 70 : (index * 5) % 70 + 20] = (230, 200, index % 200)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (stamps[index] if stamps else index), Fraction(1, 30)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


GENERATED = {
    "closed.mp4": ("libx264", {"g": "15", "bf": "3"}),
    "open.mp4": (
        "libx264",
        {"g": "15", "bf": "3", "x264-params": "open-gop=1:keyint=15:bframes=3:scenecut=0"},
    ),
    "open.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=15:bframes=3:scenecut=0"}),
    "transport.ts": ("libx264", {"g": "15", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"g": "15", "auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "realtime"}),
    "packed.avi": ("mpeg4", {"g": "15", "bf": "2"}),
    "open_hevc.mp4": (
        "libx265",
        {"x265-params": "open-gop=1:keyint=15:min-keyint=15:bframes=3:b-adapt=0:scenecut=0:log-level=none"},
    ),
    "av1.mp4": ("libsvtav1", {"g": "15", "preset": "12", "svtav1-params": "lp=1"}),
    "hidden.webm": ("libvpx-vp9", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "25", "cpu-used": "8"}),
    "fragmented.mp4": ("libx264", {"g": "15", "bf": "2", "movflags": "frag_keyframe+empty_moov"}),
}


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


def test_a_frame_that_is_not_there(make_video: Make) -> None:
    with pytest.raises(BadVideoError, match="ends before frame 60") as stop:
        list(frames_at(make_video(frames=60), [3, 60]))
    assert stop.value.code == "frame-missing"


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_single_frames_equal_those_in_order(make_video: Make, codec: str) -> None:
    path = make_video("clip.avi" if codec == "mpeg4" else "clip.mp4", codec=codec, frames=300)
    straight = {d.index: d.frame() for d in decode(path, scan(path).clock, Span())}
    wanted = [299, 0, 7, 150, 151, 7]
    found: list[Frame] = list(frames_at(path, wanted))
    assert [frame.index for frame in found] == [0, 7, 150, 151, 299]
    for frame in found:
        assert frame.time_s == straight[frame.index].time_s
        assert np.array_equal(frame.image, straight[frame.index].image)


def test_far_frames_are_reached_by_seeking(make_video: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(frames=600)
    spans: list[Span] = []

    def watched(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
        spans.append(span)
        return decode(path, clock, span)

    monkeypatch.setattr("whim.sources.video.decode.decode", watched)
    assert [frame.index for frame in frames_at(path, [2, 590])] == [2, 590]
    assert spans[0].first_frame == 0
    assert 590 - 12 <= spans[1].first_frame <= 590  # the key frame before the wanted frame


def test_a_hash_survives_a_smaller_and_coarser_copy(shared_data: Path) -> None:
    frames = list(frames_at(shared_data / "videos" / "tabletop_cups.mp4", [0, 60, 120, 180, 240]))
    other = next(iter(frames_at(shared_data / "videos" / "two_women_hairbrush.mp4", [0])))
    for frame in frames:
        small = cv2.resize(frame.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        _, coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 50])
        copy = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        here = difference_hash(frame.image)
        assert hamming(here, difference_hash(copy)) <= 4
        assert hamming(here, difference_hash(other.image)) >= 16


def test_decoding_holds_few_frames(make_video: Make) -> None:
    """Peak memory does not grow with the length of the video."""
    short, long = (
        make_video("short.mp4", frames=30, size=(640, 360)),
        make_video("long.mp4", frames=600, size=(640, 360)),
    )
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from whim.sources.video.segments import plan_segments; from whim.sources.video.sampling import sample\n"
        "for s in plan_segments(Path(sys.argv[1]), video_id='x', split='', length_s=1e4):\n"
        "    for kept in sample(s, fps=30, duplicate_distance=-1): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", code, str(p)], capture_output=True, text=True, check=True
            ).stdout
        )
        for p in (short, long)
    ]
    assert peaks[1] - peaks[0] < 40_000  # kilobytes; 600 such frames would be 400 MB
