# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.lock_environments`; its documentation is in plugins/modules/lock_environments.py."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.mlops.lab.plugins.action.lab_preflight import Inventory, set_at, source_of, stop
from ansible_collections.mlops.lab.plugins.modules.lock_environments import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils import requirement_sources as sources
from ansible_collections.mlops.lab.plugins.plugin_utils.asking import on_host
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.environment_files import PROJECT, Unfit, entries_of, files_of, parts_of, texts_of

PYTHON = re.compile(r"^#\s*python:\s*(3\.[0-9]+)\s*$", re.MULTILINE)
# A comment that is meant to name the Python, however it is spelled; `# Python packages of the team` is not.
NAMES_PYTHON = re.compile(r"^#\s*python\s*(?:[:=].*|(?:[<>=~!]=?)?\s*3(?:\.\d+)*\s*)$", re.MULTILINE | re.IGNORECASE)
OURS = "# Resolved by mlops.lab "
HEAD = OURS + "from {file}; commit it. It is resolved again when that file changes, or when this one is removed.\n"


def asked(path: Path, needs: list[str]) -> str:
    """Return what a lock is made from, as its head says it: digest of the file, digest of the lab's own needs."""
    content = b"".join(file.read_bytes() for file in parts_of(path))
    digests = (hashlib.sha256(data).hexdigest()[:32] for data in (content, "\n".join(needs).encode()))
    return "/".join(digests)


def former_of(lock: Path) -> str:
    """Return a lock that was written here before, or nothing.

    Raises:
        Unfit: it is somebody else's, which is neither replaced nor removed.
    """
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    if text and not text.startswith(OURS):
        where = f"{lock.parent.name}/<name>/uv.lock, beside the project's pyproject.toml"
        raise Unfit(f"{lock} was not written by the lab, whose own locks have this ending; move it away, the lock of a project to {where}.")
    return text


def python_of(texts: dict[str, str]) -> dict[str, str]:
    """Return what the files say of the Python: a comment names it, a C(pyproject.toml) limits it.

    Raises:
        Unfit: a comment names it in another way than the one that counts.
    """
    named = next((found.group(1) for text in texts.values() if (found := PYTHON.search(text))), "")
    for name, text in texts.items():
        for meant in () if name.endswith((".toml", ".lock")) else NAMES_PYTHON.finditer(text):
            if not PYTHON.match(meant[0]):
                place = f"{name}, line {text[: meant.start()].count(chr(10)) + 1},"
                raise Unfit(f"{place} has {meant[0].strip()!r}, which names no Python: write it as in `# python: 3.11`, or take the line out.")
    limit = ""
    for text in (text for name, text in texts.items() if name.endswith(".toml")):
        with contextlib.suppress(tomllib.TOMLDecodeError, AttributeError):  # what is wrong with it, uv says
            limit = str(tomllib.loads(text).get("project", {}).get("requires-python", ""))
    return {"python": named, "requires_python": limit}


class ActionModule(ActionBase):
    """Resolve the requirements of environments to locks beside them."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Lock what changed; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION), required_if=[("frozen", False, ["project_src"])])
        folder = Path(args["src"])
        wanted = files_of(folder)
        if args["frozen"]:
            return self._frozen(folder, wanted, args, task_vars or {})
        locked: list[str] = []
        unfit: dict[str, list[str]] = {}
        warnings: list[str] = []
        for name, paths in wanted.items():
            if args["must"] and name not in args["must"]:
                continue
            try:
                entries, texts = entries_of(name, paths), texts_of(paths[0])
                lock = folder / f"{name}.lock"
                former = former_of(lock)
                digest = asked(paths[0], args["needs"])
                if f"# asked: {digest}\n" in former and not args["upgrade"]:
                    continue
                python = python_of(texts)
                locked.append(name)
                if self._task.check_mode:
                    continue
                request: dict[str, Any] = {"needs": "\n".join(args["needs"]), "previous": former, **python}
                if paths[0].is_dir():
                    source, said = paths[0] / PROJECT[1], []
                    request["project"] = texts
                else:
                    source, said = paths[0], [f"{sources.asked_for(entries)}\n"]
                    request |= {"requirements": "\n".join(str(entry.requirement) for entry in entries), "previous": sources.preferred(former, entries)}
                answer = self._resolved(args["project_src"], source, request | ({"previous": ""} if args["upgrade"] else {}))
                head = [HEAD.format(file=source.relative_to(folder)), *said, f"# asked: {digest}\n", f"# python: {answer['python']}\n"]
                if answer["instead"]:
                    warnings.append(f"environment {name} has Python {answer['python']}: with the lab's own there is no solution: {answer['instead']}")
                if answer["without"]:
                    words = "what the lab needs does not go with its pins, so that its models are files that nobody can register or deploy"
                    warnings.append(f"environment {name}: {words}: {answer['without']}")
                    head.append(f"# without: {answer['without']}\n")
                lock.write_text("".join([*head, answer["lock"]]), encoding="utf-8")
            except Unfit as error:
                unfit[name] = error.sentences
                locked = [other for other in locked if other != name]
        removed = []
        for lock in sorted(folder.glob("*.lock")):
            if lock.stem not in wanted and not args["must"]:
                try:
                    former_of(lock)
                    removed.append(lock.stem)
                except Unfit as error:
                    unfit[lock.stem] = error.sentences
        if not self._task.check_mode:
            for name in removed:
                (folder / f"{name}.lock").unlink()
        needed = [f"environment {name} is not in {folder}; write environments/{name}.in there." for name in args["must"] if name not in wanted]
        if needed := [*needed, *(sentence for name in args["must"] for sentence in unfit.get(name, []))]:
            return stop(len(needed), "before the environment can be made", needed)
        warnings += [f"environment {name} is left as it was: {sentence}" for name, sentences in unfit.items() for sentence in sentences]
        result: dict[str, Any] = {"changed": bool(locked or removed), "locked": locked, "removed": removed}
        return {**result, "warnings": warnings} if warnings else result

    def _frozen(self, folder: Path, wanted: dict[str, list[Path]], args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the locks of environments as they are; see the option of this name."""
        names, variable, remedy = args["must"], args["variable"], args["remedy"]
        inventory = Inventory.of_task(self._loader, task_vars)
        source = source_of(variable, task_vars.get, inventory)
        who, locks, problems = f"{source}, set {set_at(inventory, source)}, names", dict[str, str](), list[str]()
        for name in names:
            if name not in wanted:
                problems.append(f"{who} {name}, which is not in {folder}: write {name}.in there, or take the name out.")
                continue
            try:
                entries_of(name, wanted[name])
                texts_of(wanted[name][0])
                locks[name], digest = former_of(folder / f"{name}.lock"), asked(wanted[name][0], []).partition("/")[0]
                if not locks[name]:
                    problems.append(f"{who} {name}, which is not locked yet: {remedy}.")
                elif f"\n# asked: {digest}/" not in locks[name]:
                    problems.append(f"{who} {name}, whose {name}.lock was made from something else than what is there now: {remedy}.")
            except Unfit as error:
                problems += error.sentences
        return stop(len(problems), "before the image is built", problems) if problems else {"changed": False, "locks": locks}

    def _resolved(self, directory: str, path: Path, request: dict[str, Any]) -> dict[str, Any]:
        """Have the service on the host resolve requirements.

        Raises:
            Unfit: there is no solution.
            AnsibleActionFail: the service does not answer.
        """
        asked = json.dumps({"do": "resolve", **request})
        command = f"docker compose --project-directory {shlex.quote(directory)} exec -T environments python /opt/service/environments_server.py --ask"
        outcome = on_host(self, command, asked.encode() + b"\n")
        answer = json.loads(outcome["stdout"].strip().splitlines()[-1]) if outcome["rc"] == 0 and outcome["stdout"].strip() else {}
        if "resolved" in answer:
            resolved: dict[str, Any] = answer["resolved"]
            return resolved
        if words := answer.get("failure") or answer.get("mistake"):
            raise Unfit(f"{path} cannot be resolved: {words.rstrip('.')}.")
        raise AnsibleActionFail(f"The environments' service does not answer: {outcome['stderr'].strip() or outcome['stdout'].strip()}")
