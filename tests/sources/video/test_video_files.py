"""Real and generated files: frame counts, sizes, times, and segments that add up to the whole."""

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


def test_damage_comes_after_the_good_frames(shared_data: Path) -> None:
    path = shared_data / "videos" / "formats" / "corrupted.mp4"
    seen, error = until_damage(path)
    assert seen == list(range(28))
    assert error is not None
    assert "damaged after frame 27" in str(error)
    assert error.code == "bad-video"


def encode(
    path: Path, codec: str, *, frames: int = 120, stamps: list[int] | None = None, **options: str
) -> Path:
    """A clip whose every picture is different, with options of the encoder."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 30)
        for index in range(frames):
            picture = np.full((64, 96, 3), 40, dtype=np.uint8)
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
