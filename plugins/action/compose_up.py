# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Action plugin behind `mlops.lab.compose_up`; its documentation is in plugins/modules/compose_up.py."""

from __future__ import annotations

import shlex
from typing import Any

from ansible_collections.mlops.lab.plugins.plugin_utils.watching import WatchingAction

#: Succeeds when every service runs healthy with the present definition and the image that its name stands for now.
SETTLED = r"""
set -o pipefail
wanted=$(docker compose --project-directory "$directory" config --hash '*' | sort) || exit 1
there=$(docker ps --filter "label=com.docker.compose.project=$project" --filter health=healthy \
  --format '{{.Label "com.docker.compose.service"}} {{.Label "com.docker.compose.config-hash"}}' | sort)
test "$wanted" = "$there" || exit 1
docker ps -q --filter "label=com.docker.compose.project=$project" | xargs docker inspect --format '{{.Config.Image}} {{.Image}}' | sort -u |
while read -r name id; do test "$(docker image inspect --format '{{.Id}}' "$name")" = "$id" || exit 1; done
"""
#: Compose gives up at once on a container that is known to be unhealthy, and waits in vain for one that Docker restarts ever later.
REMOVE_BROKEN = r"""
for state in status=restarting status=exited status=dead health=unhealthy; do
  docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "$state"
done | sort -u | xargs -r sh -c 'docker stop --time 60 "$@" && docker rm "$@"' sh
"""
STATUS = r"""docker compose --project-directory "$directory" ps -a --format '{{.Service}} {{.State}} {{.Health}}'"""
EXPLAIN = r"""
docker compose --project-directory "$directory" ps -a --format '{{.Service}}: {{.Status}}' | grep -v '(healthy)$'
docker compose --project-directory "$directory" logs --no-color --tail 5 | sed 's/\x1b\[[0-9]*K//g'
"""


class ActionModule(WatchingAction):
    """Start a compose project and show the states of its containers until all are healthy."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start the project unless it runs as it is defined; see the module documentation."""
        super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(
            {
                "project": {"type": "str", "required": True},
                "project_src": {"type": "path", "required": True},
                "wait_timeout": {"type": "int", "default": 600},
            }
        )
        values = f"project={shlex.quote(args['project'])} directory={shlex.quote(args['project_src'])}; "

        def on_host(script: str) -> dict[str, Any]:
            return self.on_host(f"bash -c {shlex.quote(values + script)}")

        if on_host(SETTLED)["rc"] == 0:
            return {"changed": False}
        if not self._task.check_mode:
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
            task_vars or {},
            self.changed_lines(lambda: str(on_host(STATUS)["stdout"])),
            3,
            args["wait_timeout"] + 300,
        )
        if result.get("failed"):
            result["msg"] = f"{str(result.get('msg', '')).strip()}\n{on_host(EXPLAIN)['stdout'].strip()}"
        return {key: result[key] for key in ("changed", "failed", "msg", "actions") if key in result}
