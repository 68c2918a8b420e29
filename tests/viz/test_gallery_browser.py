"""The gallery page in headless Chromium: its script runs, its filters filter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shards.factories import label_video, make_lineage, make_rows

from whim.shards import reader
from whim.shards.ledger import Entry, State, open_ledger
from whim.shards.writer import write_labels
from whim.viz.gallery import write_gallery

pytestmark = pytest.mark.browser

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
NASTY = "broken<b onmouseover=alert(1)>&amp;"


@pytest.fixture(scope="module")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here (looked for chromium, chromium-browser, google-chrome)")


@pytest.fixture
def dump(chromium: str, tmp_path: Path) -> Callable[[str], str]:
    """The page's document after its script ran, as HTML."""

    def run(url: str) -> str:
        profile = tmp_path / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={profile}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            url,
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    return run


@pytest.fixture
def labels(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    folder = tmp_path / "labels"
    with open_ledger(folder, "annotate") as ledger:
        label_video(folder, make_video("videos/a.mp4", frames=130), step=6, count=20)
        write_labels(folder / "segments/gone/00000.parquet", make_rows("gone", count=10), make_lineage())
        for key in ("a/00000", "gone/00000"):
            ledger.record(Entry(key=key, state=State.DONE))
        ledger.record(
            Entry(key=NASTY, state=State.FAILED, reason="timeout", detail="<i>hung</i>", attempts=2)
        )
    return folder


def shown(html: str) -> tuple[int, int]:
    """Frames and ledger items that pass the filters, as the page counts them and as its cards stand there."""
    counts = re.search(r'id="grid" data-frames="(\d+)" data-items="(\d+)"', html)
    assert counts, "the script did not run to its end"
    cards = re.findall(r'<button class="card"[^>]*>', html)
    assert len([card for card in cards if " hidden" not in card]) == int(counts[1]) + int(counts[2])
    return int(counts[1]), int(counts[2])


def frames(rows: list[dict[str, Any]], keep: Callable[[dict[str, Any]], bool]) -> int:
    """Frames with a hand that ``keep`` accepts."""
    return sum(any(keep(hand) for hand in row["hands"]) for row in rows)


def test_filters_in_the_address_are_applied(labels: Path, dump: Callable[[str], str]) -> None:
    page = write_gallery(labels, out=None, videos=None, limit=100).as_uri()
    rows = list(reader.iter_rows(labels))
    left = frames(rows, lambda hand: hand["side"] == 0 and hand["agreement"] <= 0.5)
    assert 0 < left < 30
    assert shown(dump(f"{page}#worst=0.5&side=left")) == (left, 0)
    both = frames(rows, lambda hand: hand["side"] == 1 and len(hand["votes"]) == 3)
    assert 0 < both < 30
    assert shown(dump(f"{page}#side=right&votes=3")) == (both, 0)
    assert shown(dump(f"{page}#state=failed")) == (0, 1)
    empty = sum(not row["hands"] for row in rows)
    assert shown(dump(f"{page}#state=no+hands")) == (empty, 0)
    assert shown(dump(f"{page}#side=sideways&state=nonsense")) == (30, 1), "what is not offered is no filter"


def test_worst_agreement_comes_first_and_text_stays_text(labels: Path, dump: Callable[[str], str]) -> None:
    html = dump(write_gallery(labels, out=None, videos=None, limit=100).as_uri())
    worst = [int(value) for value in re.findall(r'aria-label="[^"]*worst agreement (\d+)"', html)]
    assert len(worst) > 5
    assert worst == sorted(worst)
    cards = re.findall(r'<button class="card"[^>]*aria-label="([^"]*)"', html)
    assert "failed" in cards[-1]
    assert "<b onmouseover" not in html
    assert "&lt;i&gt;hung&lt;/i&gt;" in html


def test_a_frame_opens_with_its_votes(labels: Path, dump: Callable[[str], str]) -> None:
    page = write_gallery(labels, out=None, videos=None, limit=100)
    row = next(row for row in reader.iter_rows(labels) if len(row["hands"]) >= 2)
    thumbs = sorted(
        path.name for path in (page.parent / "pictures").glob(f"*-{row['frame_index']:08d}-thumb.jpg")
    )
    html = dump(f"{page.as_uri()}#open={thumbs[0].removesuffix('-thumb.jpg')}")
    dialog = html[html.index("<dialog") : html.index("</dialog>")]
    assert re.match(r"<dialog[^>]* open", dialog)
    votes = sum(len(hand["votes"]) for hand in row["hands"])
    assert len(re.findall(r'<rect[^>]*class="vote', dialog)) == votes
    assert len(re.findall(r'<rect[^>]*class="fused (?:left|right)"', dialog)) == len(row["hands"])
    assert dialog.count("<small>mediapipe-hands</small>") == sum(
        vote["implementation"] == "mediapipe-hands" for hand in row["hands"] for vote in hand["votes"]
    )


def test_keys_walk_through_the_frames_and_zoom_and_back(labels: Path, dump: Callable[[str], str]) -> None:
    page = write_gallery(labels, out=None, videos=None, limit=100)
    # What a user does, and what the page shows after each step, written to an element at the end.
    script = """
const log = [];
const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const box = () => $("stage").querySelector("svg").getAttribute("viewBox");
visible[0].node.focus();
press(document.activeElement, "ArrowRight");
log.push(visible.findIndex((card) => card.node === document.activeElement));
document.activeElement.click();
log.push(visible.indexOf(current), location.hash.includes(current.id));
press($("detail"), "ArrowLeft");
log.push(visible.indexOf(current));
const whole = box();
$("facts").querySelector("h3 button").click();
log.push(box() !== whole);
$("facts").querySelector("h3 button").click();
log.push(box() === whole);
document.querySelector("[data-layer=votes]").click();
log.push(getComputedStyle($("stage").querySelector(".vote")).display);
$("filters").elements.side.value = "left";
$("filters").elements.side.dispatchEvent(new Event("input", { bubbles: true }));
log.push(location.hash.includes("side=left"));
document.body.append(make("pre", { id: "log" }, JSON.stringify(log)));
"""
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    found = re.search(r'<pre id="log">(.*?)</pre>', dump(driven.as_uri()))
    assert found, "the script did not run to its end"
    assert json.loads(found[1]) == [1, 1, True, 0, True, True, "none", True]


def test_a_missing_video_is_said_on_the_card(labels: Path, dump: Callable[[str], str]) -> None:
    html = dump(write_gallery(labels, out=None, videos=None, limit=100).as_uri() + "#video=gone")
    assert shown(html) == (10, 0)
    assert html.count("no picture: the video is not here") == 10
