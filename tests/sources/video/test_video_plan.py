"""The pure parts: time lines, cuts, the sampling grid."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whim.sources.video.sampling import Counts, sample
from whim.sources.video.segments import SHORTEST, cut, plan_segments
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
    assert len(lengths) == 1 or lengths[-1] >= SHORTEST * length_s / 2 - 1e-9


@pytest.mark.parametrize(
    ("packets", "why"),
    [
        ([Packet(0, True), Packet(None, False)], "a missing stamp"),
        ([Packet(0, True), Packet(40, False), Packet(40, False)], "a doubled stamp"),
        ([Packet(0, True), Packet(40, False, discard=True), Packet(80, False)], "an edit list"),
    ],
)
def test_doubtful_packets_are_not_trusted(packets: list[Packet], why: str) -> None:
    assert not line(packets).trusted, why
    assert cut(line(packets), 0.01) == [None]


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


def test_near_duplicates_are_dropped_and_counted(make_video: Make) -> None:
    indices, counts = sampled(make_video(frames=60, still=True), 1e4, 5, distance=2)
    assert indices == [0]
    assert (counts.decoded, counts.sampled, counts.duplicates) == (60, 10, 9)
    indices, counts = sampled(make_video("moving.mp4", frames=60), 1e4, 5, distance=-1)
    assert (len(indices), counts.duplicates) == (10, 0)
