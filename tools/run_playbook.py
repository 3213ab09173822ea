#!/usr/bin/env python3
"""Run a playbook of the lab; when it is interrupted, clean the hosts before leaving.

Usage: ``.venv/bin/python tools/run_playbook.py site.yml [options of ansible-playbook]``. The exit code is the playbook's own, or
128 plus the number of the signal that interrupted it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent

# Seconds until an interrupted Ansible is told again, harder
PATIENCE = 10


class Interrupted(Exception):
    """A signal asked this program to end; its argument is the signal's number."""


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Turn a signal into an exception; a second one changes nothing."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    raise Interrupted(number)


def told_by_terminal(number: int) -> bool:
    """Tell whether the signal was Ctrl-C, which the terminal sends to Ansible as well."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return number == signal.SIGINT and os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def end(process: subprocess.Popen[bytes], told: bool) -> None:
    """End Ansible: it stops at an interrupt, as with Ctrl-C. Not answering for `PATIENCE` seconds, it is told again."""
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    while process.poll() is None:
        if not told:
            process.send_signal(signals.pop(0))
        told = False
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code."""
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, interrupt)
    # The child starts with default signal handling, because handlers are not inherited.
    process = subprocess.Popen([ansible, *arguments], cwd=ROOT)
    try:
        return process.wait()
    except Interrupted as interrupted:
        number = int(interrupted.args[0])
        print(f"\nInterrupted by {signal.Signals(number).name}: cleaning the hosts.", flush=True)
        end(process, told_by_terminal(number))
        subprocess.run([ansible, "playbooks/clean.yml", *inventory_of(arguments)], cwd=ROOT, check=False)
        return 128 + number


def inventory_of(arguments: list[str]) -> list[str]:
    """Return the arguments that name the inventory, to clean the same hosts."""
    kept: list[str] = []
    for position, argument in enumerate(arguments):
        if argument in ("-i", "--inventory"):
            kept += arguments[position : position + 2]
        elif argument.startswith("--inventory="):
            kept.append(argument)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
