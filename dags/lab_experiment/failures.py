"""How something fails, in words that any log and database can hold. The four that all modules here raise."""

from __future__ import annotations

from collections.abc import Sequence

from lab_experiment import storable


class Failure(Exception):
    """Something failed that may go well another time; the message is one sentence."""

    final = False
    """Whether trying again is of no use."""

    def __init__(self, message: str) -> None:
        super().__init__(storable.text(message))


class Final(Failure):
    """A failure that trying again does not mend."""

    final = True


class Mistakes(Exception):
    """What was asked for is wrong, and trying again is of no use; a sentence for each mistake."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = [storable.text(sentence) for sentence in sentences]
        super().__init__("\n".join(self.sentences))


class Stopped(SystemExit):
    """The process is told to end (SIGTERM), which is no doing of a package."""
