"""What a package prints, made fit for a log: whole lines, none too long, not too many, and of a progress bar its last state every few seconds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

LONGEST = 8000
"""Bytes of a line; a longer one becomes several."""

MOST = 10 * 2**20
"""Bytes of a package's output that a log holds from its beginning on."""

LAST = 64 * 2**10
"""Bytes that it holds from its end, when there were more than :data:`MOST`."""

EVERY = 5.0
"""Seconds after which the present state of a line that is not ended yet is shown."""

RARELY = 60.0
"""Seconds after which a line is shown once :data:`MOST` is reached, so that it can be seen that something goes on."""

_MOVES = re.compile(rb"\x1b\[[0-9;?]*[A-HJKSTf]")
"""Escape sequences that move the cursor or erase, which a log cannot do; those for colours stay."""
_UP = re.compile(rb"\x1b\[[0-9]*A")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")


class Lines:
    """Takes output in pieces as it comes, and gives lines to ``show``.

    A line that was begun again with a carriage return (a progress bar) is shown as it is when it ends, and every :data:`EVERY` seconds meanwhile; of bars
    below one another, which move the cursor up, every :data:`EVERY` seconds one line.
    """

    def __init__(self, show: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._show, self._now = show, now
        self._open = b""
        self._bar = b""
        self._shown_at = now()
        self._bytes = 0
        self._left_out = 0
        self._last = b""

    def add(self, piece: bytes) -> None:
        """Take some output."""
        if self._bytes >= MOST:
            self._left_out += len(piece)
            self._last = (self._last + piece)[-LAST:]
            if self._now() - self._shown_at >= RARELY:
                self._line(self._state(self._last[:-1].rpartition(b"\n")[2]))
            return
        self._bytes += len(piece)
        *whole, self._open = (self._open + piece).split(b"\n")
        for line in whole:
            self._ended(line)
        if len(self._open) > LONGEST:
            self._open = b"\r" + self._state(self._open) if b"\r" in self._open else self._open
        if len(self._open) > LONGEST:
            whole_parts = len(self._open) // LONGEST * LONGEST
            self._line(self._open[:whole_parts])
            self._open = self._open[whole_parts:]
        self.tick()
        if self._bytes >= MOST:
            self._finish()
            self._show(
                f"[output] the package has printed {MOST // 2**20} MB; from now on a line is shown every {RARELY:.0f} s, "
                f"and the last {LAST // 2**10} KB at its end"
            )

    def tick(self) -> None:
        """Show what is not ended yet, when it is time to."""
        if self._now() - self._shown_at < EVERY:
            return
        if self._bar:
            self._flush_bar()
        elif state := self._state(self._open):
            again = b"\r" in self._open
            self._line(state)
            self._open = b"\r" if again else b""  # a bar goes on; a text that was begun continues on a line of its own
        self._shown_at = self._now()

    def end(self) -> None:
        """Show what is left, and say what was left out; what is added afterwards (by a process that was started again) counts on."""
        self._finish()
        if self._left_out > len(self._last):
            self._show(
                f"[output] {(self._left_out - len(self._last)) / 2**20:.1f} MB of what the package printed are left out here: a log holds the first "
                f"{MOST // 2**20} MB and the last {LAST // 2**10} KB; have it write a file where more is wanted"
            )
            self._last = self._last.partition(b"\n")[2] or self._last
        printed, last = self._bytes, self._last
        self._last, self._left_out, self._bytes = b"", 0, 0
        if last:
            self.add(last)
            self._finish()
        self._bytes = printed

    def _finish(self) -> None:
        self._flush_bar()
        if state := self._state(self._open):
            self._line(state)
        self._open = b""

    def _ended(self, line: bytes) -> None:
        if _UP.search(line):
            self._bar = self._state(line) or self._bar
            return
        self._flush_bar()
        state = self._state(line)
        if state or b"\r" not in line.rstrip(b"\r"):
            self._line(state)

    def _flush_bar(self) -> None:
        bar, self._bar = self._bar, b""
        if bar:
            self._line(bar)

    def _state(self, line: bytes) -> bytes:
        """What a terminal would show of a line."""
        parts = [part for part in _MOVES.sub(b"", line).split(b"\r") if part.strip()] if b"\r" in line or b"\x1b" in line else [line]
        return parts[-1] if parts else b""

    def _line(self, line: bytes) -> None:
        self._shown_at = self._now()
        for begin in range(0, max(1, len(line)), LONGEST):
            self._show(_text(line[begin : begin + LONGEST]))


def _text(line: bytes) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line.decode("utf-8", "backslashreplace"))
