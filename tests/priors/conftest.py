"""The fabricated MANO file of the hands' tests."""

from hands.conftest import mano_content, open_hand, write_pickle

__all__ = ["mano_content", "open_hand", "write_pickle"]
