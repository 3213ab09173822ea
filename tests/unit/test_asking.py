"""What actions learn from a host over SSH: all that a command says, and nothing that a terminal makes of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.unit.plays import play

# Ansible's own connection, up to the program: this one runs here what it is told to run there, with a terminal where it is asked for one, as OpenSSH does.
SSH = """#!{python}
import os, pty, sys
command = ["/bin/sh", "-c", sys.argv[-1]]
if "-tt" in sys.argv:
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(command)))
os.execv(command[0], command)
"""


def test_what_is_as_it_should_be_is_seen_so_over_ssh(tmp_path: Path) -> None:
    """By a role that is used alone, too: no variable of the lab says how it connects."""
    program = tmp_path / "ssh"
    program.write_text(SSH.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    remote = ["-e", json.dumps({"ansible_connection": "ssh", "ansible_ssh_executable": str(program)})]
    place = {"mlops.lab.place_files": {"files": {"one": "text\n", "two": ""}, "dest": str(tmp_path / "placed")}, "register": "result"}
    first, second = (play(tmp_path, [place], *remote) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.output + second.output
    assert (first.result["changed"], second.result["changed"]) == (True, False), second.output
