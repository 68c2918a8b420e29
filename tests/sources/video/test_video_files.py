"""Real and generated files: frame counts, sizes, times, upright pictures, single frames, memory."""

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from sources.video.clips import pieces, whole

from whim.sources.video.decode import Decoded, Frame, Span, decode, frames_at
from whim.sources.video.hashing import difference_hash, hamming
from whim.sources.video.probe import probe
from whim.sources.video.timeline import Clock, scan

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
