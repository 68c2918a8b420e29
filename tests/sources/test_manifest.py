"""Manifests: what is read, what is refused, and where the message points."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whim.sources.manifest import ManifestEntry, ManifestError, read_manifest, write_manifest

HEADER = "video_id,split,url,height,width,frames,fps\n"
SHIPPED = Path(__file__).resolve().parents[2] / "manifests" / "videos.csv"


def read(tmp_path: Path, text: str) -> list[ManifestEntry]:
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode())
    return read_manifest(path)


def test_values_and_blanks(tmp_path: Path) -> None:
    text = (
        "# a comment\n"
        + HEADER
        + "-starts_dash,train,,720,1280,100,29.97\r\n\n# more\nmine,,https://host/a?b=1,,,,\n"
    )
    first, second = read(tmp_path, text)
    assert first == ManifestEntry(
        video_id="-starts_dash", split="train", height=720, width=1280, frames=100, fps=29.97
    )
    assert first.duration_s == pytest.approx(100 / 29.97)
    assert second == ManifestEntry(video_id="mine", url="https://host/a?b=1")
    assert second.duration_s is None


def test_address(tmp_path: Path) -> None:
    def page(**fields: str) -> str | None:
        return ManifestEntry(**fields).page  # type: ignore[arg-type]

    assert page(video_id="-5TyAsFwo40") == "https://www.youtube.com/watch?v=-5TyAsFwo40"
    assert page(video_id="-5TyAsFwo40", url="http://h/x.mp4") == "http://h/x.mp4"
    assert page(video_id="look_and_see") is None
    assert page(video_id="elf chars11") is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1: empty"),
        ("# only a comment\n\n", "line 1: empty"),
        (HEADER, "line 1: no videos"),
        ("video_id,split,url,height,width,fps\na,,,,,\n", "line 1: missing column frames"),
        (
            "video_id,split,url,heigth,width,frames,fps\n",
            "line 1, column 'heigth': unknown; the nearest known column is 'height'",
        ),
        ("video_id,split,split,height,width,frames,fps\n", "line 1, column 'split': there twice"),
        (HEADER + "a,train,,1,2\n", "line 2: 5 values for 7 columns"),
        (HEADER + "a,train,,1,2,3,4,5\n", "line 2: 8 values for 7 columns"),
        (HEADER + "# x\na,train,,12px,2,3,4\n", "line 3, column height: '12px' is not a whole number"),
        (HEADER + "a,train,,1,0,3,4\n", "line 2, column width: '0'"),
        (HEADER + "a,train,,1,2,-3,4\n", "line 2, column frames: '-3'"),
        (HEADER + "a,train,,1,2,3,nan\n", "line 2, column fps: 'nan' is not a number above 0"),
        (HEADER + "a,train,,1,2,3,1e999\n", "line 2, column fps: '1e999'"),
        (HEADER + "a,train,,1,2,3,٣٠x\n", "line 2, column fps"),
        (HEADER + "a,dev,,1,2,3,4\n", "line 2, column split: 'dev' is none of train, test"),
        (HEADER + "a,,,,,,\nb,,,,,,\na,,,,,,\n", "line 4, column video_id: 'a' is already on line 2"),
        (HEADER + ",train,,1,2,3,4\n", "line 2, column video_id: '' is blank"),
        (HEADER + "../a,,,,,,\n", "line 2, column video_id: '../a' has a path separator"),
        (HEADER + "a\\b,,,,,,\n", "has a path separator"),
        (HEADER + "..,,,,,,\n", "starts with a dot"),
        (HEADER + ".partial,,,,,,\n", "starts with a dot"),
        (HEADER + "a\x00b,,,,,,\n", "column video_id: has a control character"),
        (HEADER + "a\u202eb,,,,,,\n", "column video_id: has a control character"),
        (HEADER + f"{'é' * 101},,,,,,\n", "is too long"),
        (
            HEADER + "a,,file:///etc/passwd,,,,\n",
            "line 2, column url: the scheme 'file' is not http or https",
        ),
        (HEADER + "a,,http://host:99999/x,,,,\n", "line 2, column url: not a URL"),
        (HEADER + "a,,https://,,,,\n", "line 2, column url: no host name"),
        (HEADER + "a,,example.org/x.mp4,,,,\n", "line 2, column url: the scheme ''"),
        (HEADER + 'a,,"http://x,,,,\n', "line "),
    ],
)
def test_what_is_wrong_is_named_with_line_and_column(tmp_path: Path, text: str, where: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(tmp_path, text)
    assert where in str(refused.value)
    assert refused.value.code == "bad-manifest"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(HEADER.encode() + b"a,,,,,,\n\xff\xfe,,,,,,\n")
    with pytest.raises(ManifestError, match="line 3: not UTF-8"):
        read_manifest(path)
    with pytest.raises(ManifestError, match="cannot read the manifest"):
        read_manifest(tmp_path)


def test_a_password_in_a_bad_url_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as refused:
        read(tmp_path, HEADER + "a,,ftp://me:hunter2@host/x,,,,\n")
    assert "hunter2" not in str(refused.value)


ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
numbers = st.one_of(st.none(), st.integers(1, 10**9))
rates = st.one_of(st.none(), st.floats(0.01, 1000, allow_nan=False))


@given(
    st.lists(
        st.builds(dict, video_id=ids, height=numbers, width=numbers, frames=numbers, fps=rates, note=ids),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_reads_back_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, fields: list[dict]
) -> None:
    entries = [ManifestEntry(**values) for values in fields]
    path = tmp_path_factory.mktemp("m") / "m.csv"
    try:
        write_manifest(path, entries, "a comment\nof two lines")
    except ManifestError:
        assert not path.exists()
        return
    if len({entry.video_id for entry in entries}) == len(entries):
        assert read_manifest(path) == entries
    else:
        with pytest.raises(ManifestError, match="already on line"):
            read_manifest(path)


def test_the_shipped_list() -> None:
    text = SHIPPED.read_bytes()
    assert b"\r" not in text
    assert b"WHIM" in text.splitlines()[0]
    entries = read_manifest(SHIPPED)
    assert len(entries) == 1457
    assert sum(entry.split == "train" for entry in entries) == 1431
    assert sum(entry.frames or 0 for entry in entries) == 12_401_157 + 311_418
    assert {entry.video_id for entry in entries if entry.note} == {"look_and_see", "4x8XQAPC4Vk3cugR5eQA5s"}
    assert all((entry.page is None) == bool(entry.note) for entry in entries)
    assert sum(entry.video_id.startswith("-") for entry in entries) == 100


def test_the_shipped_list_holds_the_published_facts(shared_data: Path) -> None:
    with (
        SHIPPED.open(encoding="utf-8", newline="") as ours,
        (shared_data / "whim_videos.csv").open() as published,
    ):
        rows = list(csv.DictReader(line for line in ours if not line.startswith("#")))
        facts = list(csv.DictReader(published))
    assert [{name: row[name] for name in facts[0]} for row in rows] == facts
