# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action plugin behind `mlops.lab.compose_up`; its documentation is in plugins/modules/compose_up.py."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.mlops.lab.plugins.modules.compose_up import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.placing import Directory, digest, placing, shown, split_listing
from ansible_collections.mlops.lab.plugins.plugin_utils.watching import WatchingAction

#: Every container of the lab runs with group 0.
SECRETS = {"name": "secrets", "src": None, "mode": "0440", "directory_mode": "0700", "group": None, "recreate": True}

#: Tells in its first line which networks are missing and whether every service runs healthy with the present definition and the image that its
#: name stands for now, or of which images something runs; then come owner, mode and content of the definition that is there.
LOOK = r"""
echo '== project'
settled() (
  exec 3< <(docker compose --project-directory "$directory" config --hash '*' | sort) # a tenth of a second, in which the rest is asked
  set -o pipefail
  there=$(docker ps --filter "label=com.docker.compose.project=$project" --filter health=healthy \
    --format '{{.Label "com.docker.compose.service"}} {{.Label "com.docker.compose.config-hash"}} {{.ID}}' | sort)
  test -n "$there" || exit 1
  images=$(echo "$there" | cut -d ' ' -f 3 | xargs docker inspect --format '{{.Config.Image}} {{.Image}}' | sort -u)
  test "$(echo "$images" | cut -d ' ' -f 1 | xargs docker image inspect --format '{{.Id}}')" = "$(echo "$images" | cut -d ' ' -f 2)" || exit 1
  test "$(cat <&3)" = "$(echo "$there" | cut -d ' ' -f 1,2)"
)
test -z "$networks" || docker network inspect $networks >/dev/null 2>&1 ||
for network in $networks; do docker network inspect "$network" >/dev/null 2>&1 || printf 'missing=%s ' "$network"; done
if test "$start" = True; then
  if settled 2>/dev/null; then printf 'settled '; else
    docker ps -q --filter "label=com.docker.compose.project=$project" | xargs -r docker inspect --format 'running={{.Config.Image}}' | sort -u | tr '\n' ' '
  fi
fi
stat -c '%U:%G:%a' "$directory/compose.yml" 2>/dev/null || echo
cat "$directory/compose.yml" 2>/dev/null
"""
#: Reads the definition from standard input; what compose refuses is not put in place.
WRITE = r"""
set -e
install -d -m 0755 "$directory"
trap 'rm -f "$directory/.compose.yml.new"' EXIT
cat > "$directory/.compose.yml.new"
chmod 0644 "$directory/.compose.yml.new"
docker compose --project-directory "$directory" -f "$directory/.compose.yml.new" config --quiet
mv "$directory/.compose.yml.new" "$directory/compose.yml"
"""
MAKE_NETWORKS = r"""for network in $missing; do docker network create "$network" >/dev/null || exit 1; done"""
#: Compose gives up at once on a container that is known to be unhealthy, and waits in vain for one that Docker restarts ever later. Each has the time to stop
#: that its service was given: a worker that consumes no more may still run a task.
REMOVE_BROKEN = r"""
for state in status=restarting status=exited status=dead health=unhealthy; do
  docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "$state"
done | sort -u | xargs -r sh -c 'docker stop "$@" && docker rm "$@"' sh
"""
STATUS = r"""docker compose --project-directory "$directory" ps -a --format '{{.Service}} {{.State}} {{.Health}}'"""
EXPLAIN = r"""
docker compose --project-directory "$directory" ps -a --format '{{.Service}}: {{.Status}}' | grep -v '(healthy)$'
docker compose --project-directory "$directory" logs --no-color --tail 5 | sed 's/\x1b\[[0-9]*K//g'
"""


class ActionModule(WatchingAction):
    """Bring a compose project to its definition and show the states of its containers until all are healthy."""

    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Place the files, write the definition, make the networks and start the project, each unless it is so already; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION, inside=["directories"]))
        directories = self.directories(args)
        if args["definition"] is not None:
            args["definition"] = args["definition"].replace("FILES_DIGEST", digest([one for one, recreate in directories if recreate]))
        names = {"project": args["project"], "directory": args["project_src"], "networks": " ".join(args["networks"]), "start": str(args["start"])}
        values = "".join(f"{name}={shlex.quote(value)}; " for name, value in names.items())

        def on_host(script: str, data: bytes | None = None) -> dict[str, Any]:
            return self.on_host(f"bash -c {shlex.quote(values + script)}", data)

        def must(script: str, data: bytes | None = None, *, what: str) -> None:
            outcome = on_host(script, data)
            if outcome["rc"] != 0:
                raise AnsibleActionFail(f"{what}: {outcome['stderr'].strip() or outcome['stdout'].strip()}")

        asked = "\n".join(one.listing() for one, _recreate in directories)
        looked = on_host(f"{asked}\n{LOOK}")
        listings, marked, told = str(looked["stdout"]).partition("== project\n")
        if not marked:
            raise AnsibleActionFail(f"{args['project']} could not be looked at: {str(looked['stderr']).strip() or 'the host answered nothing'}")
        first, _unused, present = told.partition("\n")
        *states, owner_and_mode = first.split(" ")
        differences = [one.difference(listing) for (one, _recreate), listing in zip(directories, split_listing(listings), strict=True)]
        written = args["definition"] is None or (present.strip() == args["definition"].strip() and owner_and_mode == "root:root:644")
        missing = [state.partition("=")[2] for state in states if state.startswith("missing=")]
        as_it_is = written and not missing and ("settled" in states or not args["start"])
        result: dict[str, Any] = {"changed": False}
        if directories:
            result = shown(differences, args["project_src"])
            result["diff"] = [result["diff"]]
        if not as_it_is:
            result |= {"changed": True, "running": [state.partition("=")[2] for state in states if state.startswith("running=")]}
        if not written:
            header = f"{args['project_src']}/compose.yml"
            definition = {"before_header": header, "before": present.strip() + "\n", "after_header": header, "after": args["definition"].strip() + "\n"}
            result["diff"] = [*result.get("diff", []), definition]
        if not result["changed"] or self._task.check_mode:
            return result
        if not written:
            must(WRITE, args["definition"].strip().encode() + b"\n", what=f"compose refuses the definition of {args['project']}")
        if any(differences):
            must(*placing([one for one in differences if one]), what=f"the files of {args['project']} could not be placed")
        if missing:
            must(f"missing={shlex.quote(' '.join(missing))}; {MAKE_NETWORKS}", what=f"the networks {', '.join(missing)} could not be made")
        if args["start"] and not as_it_is:
            started = self.started(args, on_host, task_vars or {})
            # A project that was starting already and is waited for has not changed.
            result |= {**started, "changed": bool(started.get("changed")) or not written or bool(missing) or any(differences)}
        return result

    @staticmethod
    def directories(args: dict[str, Any]) -> list[tuple[Directory, bool]]:
        """Return the directories of a task, and whether the containers are made anew for each."""
        given = args["directories"]
        if args["secrets"] is not None:
            given = [{**SECRETS, "files": args["secrets"]}, *given]
        return [(Directory.of(f"{args['project_src']}/{one['name']}", one), one["recreate"]) for one in given]

    def started(self, args: dict[str, Any], on_host: Callable[[str], dict[str, Any]], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Start the project; returns what of compose's result counts."""
        on_host(REMOVE_BROKEN)
        result = self.watch(
            "community.docker.docker_compose_v2",
            {
                "project_src": args["project_src"],
                "state": "present",
                "pull": "never",
                "wait": True,
                "wait_timeout": args["wait_timeout"],
                "remove_orphans": True,
            },
            task_vars,
            self.changed_lines(lambda: str(on_host(STATUS)["stdout"])),
            3,
            args["wait_timeout"] + args["stop_timeout"] + 300,
        )
        if result.get("failed"):
            result["msg"] = f"{str(result.get('msg', '')).strip()}\n{on_host(EXPLAIN)['stdout'].strip()}"
        return {key: result[key] for key in ("changed", "failed", "msg", "actions") if key in result}
