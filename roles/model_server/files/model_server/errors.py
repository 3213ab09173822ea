"""What keeps a version from being served, and how it is said."""

from __future__ import annotations

#: characters of an error that are shown
SHOWN = 500


class Unusable(Exception):
    """A version cannot be served; the text says why in one sentence.

    Args:
        why: the sentence.
        hopeless: trying again soon is of no use.
    """

    def __init__(self, why: str, hopeless: bool = False) -> None:
        super().__init__(why)
        self.hopeless = hopeless


def sentence(error: BaseException) -> str:
    """Return an exception in one line."""
    text = shortened(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortened(text: str) -> str:
    """Return a text in one line of bounded length."""
    line = " ".join(text.split())
    return f"{line[:SHOWN]}..." if len(line) > SHOWN else line
