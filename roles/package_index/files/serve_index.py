# Copyright 2026 the mlops.lab authors
# SPDX-License-Identifier: Apache-2.0
"""Declare the three indexes in devpi's own store, then become devpi-server.

The mirror of the public index exists only with `mirror_no_project_list`, written in the same transaction that creates
it and before any server runs: devpi then never asks the public index for the list of all its projects.

Usage: serve_index.py SERVERDIR SOCKET [devpi-server's options...]
Environment: PACKAGE_INDEX_UPSTREAM_URL, the public index; empty takes devpi-server's own default.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

USER = "repository"
HOSTED, MIRROR, GROUP = "pypi-internal", "pypi-public", "pypi-all"


def wanted_indexes(upstream_url: str, default_url: str) -> dict[str, dict[str, Any]]:
    """Return the configuration of every index, in an order in which they can be created.

    Args:
        upstream_url: URL of the public simple index; empty takes `default_url`.
        default_url: what devpi-server mirrors of its own accord.
    """
    return {
        HOSTED: {"type": "stage", "bases": (), "volatile": False, "acl_upload": [":ANONYMOUS:"], "mirror_whitelist": []},
        MIRROR: {
            "type": "mirror",
            "volatile": False,
            "mirror_url": upstream_url or default_url,
            "mirror_no_project_list": True,
            "mirror_use_external_urls": False,
        },
        # Without names in the whitelists, a project that the hosted index has is never looked up in the mirror.
        GROUP: {
            "type": "stage",
            "bases": (f"{USER}/{HOSTED}", f"{USER}/{MIRROR}"),
            "volatile": False,
            "acl_upload": [],
            "mirror_whitelist": [],
        },
    }


def create_store(serverdir: Path) -> None:
    """Create an empty store without devpi's default mirror, and with a root password that nobody knows."""
    from devpi_server.init import init
    from passlib.hash import argon2

    (serverdir / ".nodeinfo").unlink(missing_ok=True)  # all that an attempt which was killed can leave
    unknown = argon2.hash(secrets.token_urlsafe(32))
    init(argv=["devpi-init", "--serverdir", serverdir, "--no-root-pypi", "--root-passwd-hash", unknown])


def declare_indexes(serverdir: Path, upstream_url: str) -> None:
    """Bring the indexes to the wanted configuration in one transaction."""
    from devpi_server.config import get_pluginmanager, parseoptions
    from devpi_server.main import _pypi_ixconfig_default, xom_from_config

    config = parseoptions(get_pluginmanager(), ["devpi-server", "--serverdir", str(serverdir)])
    xom = xom_from_config(config)
    with xom.keyfs.write_transaction():
        user = xom.model.get_user(USER) or xom.model.create_user(USER, password=secrets.token_urlsafe(32))
        for name, wanted in wanted_indexes(upstream_url, _pypi_ixconfig_default["mirror_url"]).items():
            stage = user.getstage(name)
            if stage is None:
                user.create_stage(name, **wanted)
            elif any(stage.ixconfig.get(key) != value for key, value in wanted.items()):
                stage.modify(**wanted)


def main(arguments: list[str]) -> None:
    """Run as in the module's docstring; the declaration runs in a process of its own, as its threads outlive it."""
    if arguments[0] == "--declare":
        store = Path(arguments[1])
        if not (store / ".sqlite").exists():
            create_store(store)
        declare_indexes(store, os.environ.get("PACKAGE_INDEX_UPSTREAM_URL", ""))
        return
    serverdir, socket = arguments[:2]
    # The healthcheck looks for the socket, so one that a killed server left must not be there while this one starts.
    Path(socket).unlink(missing_ok=True)
    subprocess.run([sys.executable, __file__, "--declare", serverdir], check=True)
    server = str(Path(sys.executable).with_name("devpi-server"))
    os.execv(server, [server, "--serverdir", serverdir, "--unix-socket", socket, *arguments[2:]])


if __name__ == "__main__":
    main(sys.argv[1:])
