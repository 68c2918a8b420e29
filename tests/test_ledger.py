"""The ledger keeps the last word on every item, through crashes and concurrent runs."""

from pathlib import Path

import pytest

from whim.errors import BadFileError, WhimError
from whim.shards.ledger import LEDGER_NAME, Entry, State, counts, open_ledger, read_ledger


def test_last_entry_of_a_key_wins(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "fetch") as ledger:
        ledger.record(Entry(key="a", state=State.FAILED, reason="timeout"))
        ledger.record(Entry(key="b", state=State.DONE))
        ledger.record(Entry(key="a", state=State.DONE, attempts=2))
    stage, entries = read_ledger(tmp_path)
    assert stage == "fetch"
    assert entries["a"].state is State.DONE
    assert entries["a"].attempts == 2
    assert counts(entries) == {"done": 2, "empty": 0, "filtered": 0, "failed": 0, "quarantined": 0}


def test_a_line_torn_by_a_crash_is_dropped_and_the_rest_kept(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "fetch") as ledger:
        ledger.record(Entry(key="a", state=State.DONE))
    with (tmp_path / LEDGER_NAME).open("ab") as stream:
        stream.write(b'{"key": "b", "sta')
    assert set(read_ledger(tmp_path)[1]) == {"a"}
    with open_ledger(tmp_path, "fetch") as ledger:
        ledger.record(Entry(key="c", state=State.DONE))
    assert set(read_ledger(tmp_path)[1]) == {"a", "c"}


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "fetch") as ledger:
        ledger.record(Entry(key="a", state=State.DONE))
    with (tmp_path / LEDGER_NAME).open("ab") as stream:
        stream.write(b"not json\n")
    with pytest.raises(BadFileError, match="line 3"):
        read_ledger(tmp_path)


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        open_ledger(tmp_path, "fetch"),
        pytest.raises(WhimError, match="another `whim fetch`"),
        open_ledger(tmp_path, "fetch"),
    ):
        pass


def test_a_folder_belongs_to_one_stage(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "fetch"):
        pass
    with (
        pytest.raises(WhimError, match="holds the output of `whim fetch`"),
        open_ledger(tmp_path, "annotate"),
    ):
        pass


def test_a_folder_without_a_ledger_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no ledger"):
        read_ledger(tmp_path)
