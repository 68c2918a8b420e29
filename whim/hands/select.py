"""A hand model by the name that configurations use."""

from __future__ import annotations

from whim.hands.mano import load_mano
from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand

OPEN_HAND = "open-hand"


def load_hand(name: str) -> HandModel:
    """``open-hand``, or the path of the user's ``MANO_RIGHT.pkl``.

    Raises:
        UsageError: when there is no such file.
        BadFileError: when the file is no MANO right hand, or not safe to read.
    """
    return load_open_hand() if name == OPEN_HAND else load_mano(name)
