"""What the reports of every kind of measurement share: tables as text and Markdown, values for JSON and CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """Lines of a table for the terminal; the first ``words`` columns to the left, numbers to the right."""
    texts = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if column < words else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return ("  " + "  ".join(cells)).rstrip()

    return [line(row) for row in texts]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """The same as Markdown."""
    rule = ["---" if column < words else "---:" for column in range(len(head))]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in (head, rule, *rows)]


def csv_value(value: Any) -> Any:
    """As a cell of a CSV file: empty where there is none or it is not a number."""
    if value is None or value != value:
        return ""
    return round(value, 6) if isinstance(value, float) else value


def file_stem(name: str) -> str:
    """A name of a row or set as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-").lower()
