"""The pure parts: time lines, cuts, the sampling grid."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whim.sources.video.sampling import Counts, sample
from whim.sources.video.segments import SHORTEST, cut, plan_segments, segments_of
from whim.sources.video.timeline import Packet, Timeline, timeline_of

Make = Callable[..., Path]
TICK = Fraction(1, 1000)


def line(packets: list[Packet], *, one_to_one: bool = True) -> Timeline:
    return timeline_of(packets, time_base=TICK, rate=Fraction(25), one_to_one=one_to_one)


@st.composite
def packet_lists(draw: st.DrawFn) -> list[Packet]:
    """Key-frame groups of 1 to 60 frames, 20 to 400 ms apart, stored out of order within a group."""
    packets: list[Packet] = []
    time = draw(st.integers(-500, 5000))
    for _ in range(draw(st.integers(1, 12))):
        group = []
        for _ in range(draw(st.integers(1, 60))):
            group.append(time)
            time += draw(st.integers(20, 400))
        packets.append(Packet(group[0], key=True))
        packets += [Packet(pts, key=False) for pts in draw(st.permutations(group[1:]))]
    return packets


@settings(max_examples=60, derandomize=True, deadline=None)
@given(packets=packet_lists(), length_s=st.floats(0.5, 30))
def test_a_cut_starts_at_key_frames_and_leaves_no_scrap(packets: list[Packet], length_s: float) -> None:
    timeline = line(packets)
    starts = cut(timeline, length_s)
    assert starts[0] is None
    times = [0.0] + [timeline.clock.seconds(start) for start in starts[1:] if start is not None]
    assert set(starts[1:]) <= set(timeline.keys)
    ends = [*times[1:], timeline.duration_s]
    lengths = [end - start for start, end in zip(times, ends, strict=True)]
    assert all(length >= SHORTEST * length_s - 1e-9 for length in lengths[:-1])
    assert len(lengths) == 1 or lengths[-1] >= SHORTEST * length_s - 1e-9


@settings(max_examples=60, derandomize=True, deadline=None)
@given(packets=packet_lists(), length_s=st.floats(0.5, 30))
def test_every_frame_belongs_to_one_segment(packets: list[Packet], length_s: float) -> None:
    timeline = line(packets)
    assert timeline.trusted
    order = sorted(packet.pts or 0 for packet in packets)
    segments = segments_of(timeline, path="x", video_id="x", split="", length_s=length_s)
    found: list[int] = []
    for segment in segments:
        span = segment.span
        assert span.frames is not None
        assert span.first_frame == len(found)
        stamps = order[span.first_frame : span.first_frame + span.frames]
        assert span.seek_pts in (None, stamps[0])
        assert span.end_pts is None or stamps[-1] < span.end_pts
        found += stamps
    assert found == order
    assert len({segment.name for segment in segments}) == len(segments)


@pytest.mark.parametrize(("length_s", "video_s"), [(45.0, 80.0), (45.0, 89.0), (45.0, 615.0), (45.0, 3600.0)])
def test_lengths_stay_within_30_and_60_seconds(length_s: float, video_s: float) -> None:
    timeline = line(
        [Packet(i * 40, i % 12 == 0) for i in range(round(video_s * 25))]
    )  # a key frame every 0.48 s
    segments = segments_of(timeline, path="x", video_id="x", split="", length_s=length_s)
    assert all(30 <= segment.end_s - segment.start_s <= 60.5 for segment in segments)


@pytest.mark.parametrize(
    ("packets", "why"),
    [
        ([Packet(0, True), Packet(None, False)], "a missing stamp"),
        ([Packet(0, True), Packet(40, False), Packet(40, False)], "a doubled stamp"),
        ([Packet(0, True), Packet(40, False, discard=True), Packet(80, False)], "an edit list"),
        ([Packet(0, False), Packet(40, True), Packet(80, False)], "frames before the first key frame"),
        ([Packet(80, True), Packet(0, False), Packet(40, False)], "leading frames without their group"),
        ([Packet(900, True), Packet(940, False), Packet(0, True)], "a second recording with earlier stamps"),
        ([Packet(0, True), Packet(90, False), Packet(40, True), Packet(50, False)], "groups that overlap"),
        (
            [Packet(0, True), Packet(40, True), Packet(80, True), Packet(20, False)],
            "a frame of an earlier group",
        ),
    ],
)
def test_doubtful_packets_are_not_trusted(packets: list[Packet], why: str) -> None:
    assert not line(packets).trusted, why
    assert cut(line(packets), 0.01) == [None]


def test_leading_frames_of_an_open_group_are_trusted() -> None:
    packets = [Packet(0, True), Packet(40, False), Packet(160, True), Packet(80, False), Packet(120, False)]
    assert line(packets).trusted
    assert line(packets).keys == (0, 160)


def test_frames_without_their_key_frame_do_not_count() -> None:
    cut_in = [Packet(0, False), Packet(160, True), Packet(80, False), Packet(120, False), Packet(200, False)]
    assert (line(cut_in).packets, line(cut_in).clock.origin) == (2, 160)
    unmarked = [Packet(0, False), Packet(40, False)]
    assert line(unmarked).packets == 2


def test_a_codec_that_hides_frames_is_not_trusted() -> None:
    assert not line([Packet(0, True), Packet(40, False)], one_to_one=False).trusted


def test_rounding_of_the_clock_is_no_variable_rate() -> None:
    assert not line([Packet(round(i * 1000 / 30), i % 10 == 0) for i in range(100)]).variable_rate
    assert line([Packet(i * 33 + (200 if i > 50 else 0), i % 10 == 0) for i in range(100)]).variable_rate


def sampled(path: Path, length_s: float, fps: float, distance: int = -1) -> tuple[list[int], Counts]:
    counts = Counts()
    indices = [
        kept.frame.index
        for segment in plan_segments(path, video_id="x", split="", length_s=length_s)
        for kept in sample(segment, fps=fps, duplicate_distance=distance, counts=counts)
    ]
    return indices, counts


@pytest.mark.parametrize(
    "rate", [Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(24000, 1001), Fraction(12)]
)
def test_the_grid_does_not_depend_on_the_cut(make_video: Make, rate: Fraction) -> None:
    path = make_video(frames=130, fps=rate, gop=10)
    expected, _ = sampled(path, 1e4, 5)
    assert expected[0] == 0
    assert abs(len(expected) - float(130 / rate * 5)) <= 1
    for length_s in (0.5, 1.0, 2.7):
        assert sampled(path, length_s, 5)[0] == expected


def test_a_slow_source_keeps_every_frame(make_video: Make) -> None:
    assert sampled(make_video(frames=20, fps=4), 1e4, 5)[0] == list(range(20))


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(24), Fraction(60)])
def test_rounded_stamps_lose_no_frame(make_video: Make, rate: Fraction) -> None:
    """Matroska rounds to milliseconds: 33 ms lie just before the second line of a grid of 30 per second."""
    rounded, exact = make_video("a.mkv", frames=90, fps=rate), make_video("a.mp4", frames=90, fps=rate)
    assert sampled(rounded, 1e4, float(rate))[0] == list(range(90))
    for fps in (5, float(rate / 2)):
        assert sampled(rounded, 1e4, fps)[0] == sampled(exact, 1e4, fps)[0]


def test_near_duplicates_are_dropped_and_counted(make_video: Make) -> None:
    indices, counts = sampled(make_video(frames=60, still=True), 1e4, 5, distance=2)
    assert indices == [0]
    assert (counts.decoded, counts.sampled, counts.duplicates) == (60, 10, 9)
    indices, counts = sampled(make_video("moving.mp4", frames=60), 1e4, 5, distance=-1)
    assert (len(indices), counts.duplicates) == (10, 0)
