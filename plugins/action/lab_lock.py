# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.lab_lock`; its documentation is in plugins/modules/lab_lock.py."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import signal
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.modules.lab_lock import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.locking import Mark, is_alive, marker, process_identity

#: seconds between two renewals, and after the last one until the lock is anybody's
RENEW, LEASE = 5, 30

#: Takes, renews or releases the lock. The file has five lines: the run, the host's uptime at its last renewal, the process of Ansible, since
#: when, and who. Its directory is locked meanwhile, so that the file itself can come and go. Uptime, because a clock may be set.
SCRIPT = r"""
exec 9<"${lock%/*}/" || exit 1
flock -w 10 9 || exit 1
read -r now rest </proc/uptime
now=${now%.*}
holder= seen=0 machine= since= who=
if test -s "$lock"; then
  { read -r holder; read -r seen; read -r machine; read -r since; read -r who; } <"$lock"
fi
state=unknown
if test -z "$holder" || test $((now - seen)) -ge "$lease"; then
  state=free
else
  set -- $machine
  if test "$1 $2" = "$(cat /proc/sys/kernel/random/boot_id) $(readlink /proc/self/ns/pid)"; then
    process=$3 started=$4
    state=free
    if stat=$(cat "/proc/$process/stat" 2>/dev/null); then
      set -- ${stat##*) }
      if test "$1" != Z && test "${20}" = "$started"; then state=alive; fi
    fi
  fi
fi
write() (
  umask 022
  printf '%s\n' "$@" >"$lock.new" && mv "$lock.new" "$lock"
)
case $action in
  take)
    if test "$holder" = "$run" || { test -n "$outer" && test "$holder" = "$outer"; }; then
      echo mine
    elif test $state = free; then
      write "$run" "$now" "$mine" "$(date -u '+%Y-%m-%d %H:%M:%S') UTC" "$about" && echo taken
    else
      printf '%s\n' "$state" "$holder $seen" "$since" "$who"
    fi ;;
  renew)
    if test "$holder" = "$run"; then
      write "$run" "$now" "$machine" "$since" "$who" && echo renewed
    else
      printf '%s\n' lost "$holder $seen" "$since" "$who"
    fi ;;
  release)
    if test "$holder" = "$run"; then rm -f "$lock"; fi
    echo released ;;
esac
"""


def who_runs(variables: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return who started this run of Ansible, in words for others: a job of AWX, a build of Jenkins or a person in a shell."""
    if "awx_job_id" in variables:
        return f"job {variables['awx_job_id']} of AWX, launched by {variables.get('awx_user_name', 'nobody')},"
    if "BUILD_URL" in environ:
        return f"the Jenkins build {environ['BUILD_URL']}"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"user {os.getuid()}"
    return f"{user} on {socket.gethostname()} (process {os.getppid()})"


def one_line(text: str) -> str:
    """Return a text that fits into one line of a file and of a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)[:300]


class ActionModule(ActionBase):
    """Take the lock, and leave a process behind that keeps it until Ansible ends."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the lock; see the module documentation for arguments and result."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        if self._task.check_mode:
            return {"changed": False, "run": ""}
        host = str((task_vars or {}).get("inventory_hostname", "")) if not self._task.delegate_to else str(self._task.delegate_to)
        mark = marker(Path(constants.DEFAULT_LOCAL_TMP), f"{host}:{args['path']}")
        if mark.exists():
            kept = Mark.read(mark)
            if kept.lost:
                raise AnsibleActionFail(kept.lost)
            return {"changed": False, "run": kept.run}

        parent, outer = os.getppid(), os.environ.get("MLOPS_LAB_LOCK", "")
        playbooks = " ".join(os.path.basename(name) for name in context.CLIARGS.get("args", ()))
        self._facts = {
            "lock": args["path"],
            "lease": str(LEASE),
            "run": uuid.uuid4().hex,
            "outer": outer,
            "mine": process_identity(parent),
            "about": one_line(f"{who_runs(task_vars or {}, os.environ)} runs {playbooks}"),
        }
        keeps = self._take(args["lab"], args["wait"], host)
        run = self._facts["run"] if keeps else outer
        Mark(run).write(mark)  # before the keeper looks for it
        if keeps:
            keeper = os.fork()
            if keeper == 0:
                self._keep(parent, mark, args["lab"])
            Mark(run, keeper).write(mark)
        return {"changed": False, "run": run}

    def _ask(self, action: str) -> list[str]:
        """Run the script on the host; returns its lines, none when it failed or the host was not reached."""
        script = "".join(f"{name}={shlex.quote(value)}\n" for name, value in {**self._facts, "action": action}.items()) + SCRIPT.strip()
        done = on_host(self, script)
        self._error = str(done["stderr"]).strip()
        return str(done["stdout"]).splitlines() if done["rc"] == 0 else []

    def _take(self, lab: str, wait: int, host: str) -> bool:
        """Wait until the lock is ours; return whether it is to be kept, which another run does when it started this one.

        A holder on another machine is asked for a sign of life: it renews within `RENEW` seconds, or is dead, and then its time runs out.
        """
        started, first, told = time.monotonic(), "", False
        while True:
            answer = self._ask("take")
            if not answer:
                raise AnsibleActionFail(f"The lock of the lab {lab}, {self._facts['lock']} on {host}, cannot be taken: {self._error or 'no reason was given'}")
            if answer[0] in ("taken", "mine"):
                return answer[0] == "taken"
            state, seen, since, who = answer
            first = first or seen
            if (state == "alive" or seen != first) and time.monotonic() - started >= wait:
                raise AnsibleActionFail(
                    f"The lab {lab} is in use: {who}, since {since}. Wait until that is done, then run this again; "
                    f"or set lab_lock_wait to the seconds that a run may wait."
                )
            if not told:
                self._display.display(f"  Waiting for the lab {lab}: {who}, since {since}.")
                told = True
            time.sleep(1)

    def _keep(self, parent: int, mark: Path, lab: str) -> None:
        """Keep the lock while Ansible runs, in a process of its own that never returns.

        It has left the terminal and Ansible's group of processes, so that what ends them does not end it before it released the lock.
        """
        with contextlib.suppress(BaseException):
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            # What a connection says would go to Ansible, whose queue must not be written to by two.
            self._display.verbosity = 0
            renewed = time.monotonic()
            while is_alive(parent) and mark.exists():
                if time.monotonic() - renewed >= RENEW:
                    renewed = time.monotonic()
                    with contextlib.suppress(Exception):  # not reached: once more at the next renewal
                        answer = self._ask("renew")
                        if answer and answer[0] == "lost":
                            holder = f" {answer[3]}, since {answer[2]}." if answer[3] else ""
                            lost = f"The lab {lab} was not reached for {LEASE} seconds, and its lock is lost.{holder} Run this again."
                            Mark(lost=lost).write(mark)
                            os._exit(0)
                time.sleep(0.05)
            for _attempt in range(3):
                with contextlib.suppress(Exception):
                    if self._ask("release"):
                        break
        os._exit(0)
