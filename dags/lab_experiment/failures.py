"""How something fails, in words that any log and database can hold. The pair that all modules here raise, and how a process is stopped."""

from __future__ import annotations

from collections.abc import Sequence

from lab_experiment import storable


class Failure(Exception):
    """Something failed; the message is one sentence."""

    def __init__(self, message: str, final: bool = False) -> None:
        """Make it; ``final`` says that trying again is of no use."""
        self.final = final
        super().__init__(storable.text(message))


class Mistakes(Exception):
    """What was asked for is wrong, and trying again is of no use; a sentence for each mistake."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = [storable.text(sentence) for sentence in sentences]
        super().__init__("\n".join(self.sentences))


class Stopped(SystemExit):
    """The process is told to end (SIGTERM), which is no doing of a package."""
