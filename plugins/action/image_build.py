# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.image_build`; its documentation is in plugins/modules/image_build.py."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import tarfile
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleActionFail
from ansible_collections.mlops.lab.plugins.action.lab_preflight import stop
from ansible_collections.mlops.lab.plugins.modules.image_build import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.watching import WatchingAction

#: Runs on the host beside a build: when Ansible gave no sign of life for as long, it ends the build, and removes its context and its secrets.
#: It counts its own seconds, so that a clock that is set means nothing.
KEEPER = r"""
left={patience}
while test -d {staged} && test $left -gt 0; do
  sleep 1
  if rm {staged}/alive 2>/dev/null; then left={patience}; else left=$((left - 1)); fi
done
test -d {staged} || exit 0
kill "$(cat {staged}/pid)" && sleep 10 && kill -KILL "$(cat {staged}/pid)"
rm -rf {staged} {log}
"""

#: Directories that are nobody's alone.
SHARED = ("", "/dev/shm", "/home", "/opt", "/root", "/run", "/run/shm", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp")

STEP = re.compile(r"^#\d+ \[(?!internal)|^#\d+ (?:CACHED|ERROR)")
OUTPUT = re.compile(r"^#\d+ [\d.]+ (.*)")


def context_archive(files: dict[str, str], secrets: dict[str, str]) -> bytes:
    """Return a tar archive with `context/<name>`, which the build's users can read, and `secrets/<name>`, which only root can.

    Args:
        files: name in the build context -> text.
        secrets: BuildKit secret id -> text.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder, entries in (("context", files), ("secrets", secrets)):
            for name, text in sorted(entries.items()):
                data = text.encode()
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size = len(data)
                # BuildKit takes a file of the same name, size and time for the same file, whatever is in it.
                member.mtime = 10**9 + int(hashlib.sha256(data).hexdigest()[:7], 16)
                member.mode = 0o600 if folder == "secrets" else 0o644
                archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def content_digest(content: Any) -> str:
    """Return 12 hexadecimal digits that change when any part of `content` (JSON-serialisable) changes."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def step_lines(log: str) -> list[str]:
    """Return the lines of a BuildKit log that say which step runs."""
    return [re.sub(r"^#\d+ ", "", line) for line in log.splitlines() if STEP.match(line)]


def failure(log: str, secrets: dict[str, str]) -> str:
    """Return the output of the step that failed, without any secret in it, as it is or as it stands in an URL."""
    for value in sorted(filter(None, secrets.values()), key=len, reverse=True):
        for shown in (value, quote(value, safe=""), quote(value)):
            log = log.replace(shown, "********")
    output = [match.group(1) for line in log.splitlines() if (match := OUTPUT.match(line))]
    return "\n".join(output[-15:] or log.splitlines()[-15:])


class ActionModule(WatchingAction):
    """Build an image whose tag is a digest of everything that decides its content."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Build the image unless one with the same digest is there; see the module documentation."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        if args["staging_dir"].rstrip("/") in SHARED:
            raise AnsibleActionFail(
                f"Builds would be staged in '{args['staging_dir']}' (lab_staging_dir), which is emptied when the lab is cleaned and which others use, too: "
                "name a directory of the lab alone, for example /dev/shm/mlops-lab."
            )
        bases = list(zip(args["base_images"], self._image_ids(args["base_images"]), strict=True))
        missing = [name for name, image_id in bases if not image_id]
        digest = content_digest([args["dockerfile"], args["files"], bases, args["target"]])
        image = f"{args['repository']}:{args['version']}-{digest}"
        result: dict[str, Any] = {"changed": False, "image": image, "digest": digest}
        if args["output"] is None:
            image_id, *present = self._image_ids([image, *filter(None, [args["alias"]])])
            if image_id:
                return {**result, "image_id": image_id, **self._move_alias(args, image, image_id, "".join(present))}
        if self._task.check_mode:
            return {**result, "changed": True, "image_id": "", "msg": f"{image} would be built."}
        if missing:
            raise AnsibleActionFail(f"{image} needs {', '.join(missing)}, which this host does not have: build or pull it first.")
        staged = f"{args['staging_dir']}/{digest}"
        log = f"{args['staging_dir']}/{digest}.log"
        archive = context_archive({**args["files"], "Dockerfile": args["dockerfile"]}, args["secrets"])
        places = {"staged": shlex.quote(staged), "log": shlex.quote(log)}
        keeper = shlex.quote(KEEPER.format(patience=args["patience"], **places))
        # The keeper is there before any secret is.
        unpack = self.on_host(
            f"umask 077 && mkdir -p {places['staged']} && {{ setsid sh -c {keeper} </dev/null >/dev/null 2>&1 & }} && tar -xf - -C {places['staged']}", archive
        )
        try:
            if unpack["rc"] != 0:
                raise AnsibleActionFail(f"The build context could not be written to {staged}: {unpack['stderr']}")
            outcome = self._build(args, image, staged, log, task_vars)
        finally:
            self.on_host(f"rm -rf {places['staged']} {places['log']}")
        if outcome is not None:
            return {**result, "failed": True, "msg": f"{args['failure_hint'] or image + ' could not be built.'}\n{outcome}"}
        if args["output"] is not None:
            return {**result, "changed": True}
        image_id, *present = self._image_ids([image, *filter(None, [args["alias"]])])
        moved = self._move_alias(args, image, image_id, "".join(present))
        if moved.get("failed"):
            return {**result, **moved}
        if args["keep"] > 0:
            self._remove_older(f"{args['repository']}:{args['version']}-", image, args["keep"])
        return {**result, **moved, "changed": True, "image_id": image_id}

    def _build(self, args: dict[str, Any], image: str, staged: str, log: str, task_vars: dict[str, Any]) -> str | None:
        """Build the staged context; return what the failed step printed, or None when all went well."""
        command = ["docker", "buildx", "build", "--progress=plain", "--network=host", "--provenance=false"]
        # Host networking: the index may be one that listens on the builder's loopback only.
        if args["target"]:
            command += ["--target", args["target"]]
        if args["output"]:
            command += ["--output", f"type=local,dest={args['output']}"]
        else:
            command += ["--tag", image]
        for name in args["secrets"]:
            command += ["--secret", f"id={name},src={staged}/secrets/{name}"]
        for name, path in args["secret_files"].items():
            command += ["--secret", f"id={name},src={path}"]
        command.append(f"{staged}/context")
        # The host itself removes the context and the secrets when the build ends, even if Ansible was killed meanwhile.
        script = (
            f"trap 'rm -rf {shlex.quote(staged)}' EXIT INT TERM HUP; umask 077; "
            f"{shlex.join(command)} >{shlex.quote(log)} 2>&1 & echo $! >{shlex.quote(staged)}/pid; wait $!"
        )
        shown: list[str] = []
        parent = os.getppid()

        def new_steps() -> list[str]:
            # A worker outlives an ansible-playbook that was killed.
            sign = f"touch {shlex.quote(staged)}/alive 2>/dev/null; " if os.getppid() == parent else ""
            steps = step_lines(self.on_host(f"{sign}cat {shlex.quote(log)} 2>/dev/null")["stdout"])
            new = steps[len(shown) :]
            shown.extend(new)
            return [line if len(line) < 150 else line[:147] + "..." for line in new]

        outcome = self.watch(
            "ansible.legacy.command",
            {"_raw_params": script, "_uses_shell": True, "executable": "/bin/bash"},
            task_vars,
            new_steps,
            3,
            args["timeout"],
        )
        if outcome.get("failed") or outcome.get("rc", 1) != 0:
            text = self.on_host(f"cat {shlex.quote(log)} 2>/dev/null")["stdout"]
            return failure(text or str(outcome.get("msg", "")) + str(outcome.get("stderr", "")), args["secrets"])
        return None

    def _image_ids(self, images: list[str]) -> list[str]:
        """Return the ids of images of the host, an empty string for one that is not there."""
        names, inspect = shlex.join(images), "docker image inspect --format '{{.Id}}'"
        # In one go when all are there, for a client takes as long for one as for many.
        each = f'for image in {names}; do id=$({inspect} "$image") || id=; echo "$id"; done'
        script = f"{{ {inspect} {names} || {{ echo one by one; {each}; }}; }} 2>/dev/null"
        ids = str(self.on_host(script)["stdout"]).rpartition("one by one\n")[2].split("\n")
        return (ids + [""] * len(images))[: len(images)]

    def _lacking(self, image: str, command: list[str], data: str) -> dict[str, str]:
        """Return what a command says that an image lacks, each with its sentence; when it cannot be run, that is one."""
        options = ["--rm", "--interactive", "--pull=never", "--network=none", "--read-only", "--tmpfs=/tmp", "--env=HOME=/tmp", "--cap-drop=ALL"]
        answer = self.on_host(shlex.join(["docker", "run", *options, f"--entrypoint={command[0]}", image, *command[1:]]), data.encode() + b"\n")
        if answer["rc"] != 0:
            words = (str(answer["stderr"]).strip().splitlines() or [f"exit code {answer['rc']}"])[-1]
            return {"": f"What {image} can load was not found out: {words}"}
        lines = [line.partition("\t") for line in str(answer["stdout"]).splitlines()]
        return {thing: sentence for thing, _tab, sentence in lines}

    def _remove_older(self, prefix: str, image: str, keep: int) -> None:
        """Remove the images whose names begin with `prefix`, but `image` and those before it, `keep` in all; Docker refuses for those that have containers."""
        names = f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {shlex.quote(prefix.rpartition(':')[0])}"  # the newest first
        others = f"grep -F {shlex.quote(prefix)} | grep -vxF {shlex.quote(image)} | tail -n +{keep}"
        self.on_host(f"{names} | {others} | xargs -r -n 1 docker image rm >/dev/null 2>&1")

    def _move_alias(self, args: dict[str, Any], image: str, image_id: str, present: str) -> dict[str, Any]:
        """Point the alias from image id `present` to the image, unless that lacks what the present one has; say whether that changed anything."""
        alias = args["alias"]
        if not alias or present == image_id:
            return {"changed": False}
        if present and args["compare"]:
            before, after = (self._lacking(name, args["compare"], args["compare_input"]) for name in (alias, image))
            if lost := list(dict.fromkeys(sentence for thing, sentence in after.items() if thing not in before)):
                return stop(len(lost), f"before {image} takes the place of {alias}, which stays", lost)
        if not self._task.check_mode:
            self.on_host(f"docker tag {shlex.quote(image)} {shlex.quote(alias)}")
        return {"changed": True}
