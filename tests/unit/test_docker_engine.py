"""The role docker_engine on a host with an engine that somebody else installed, as the host would have answered: nothing of theirs is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.modules import engine_info

from tests.unit.plays import Done, play
from tests.unit.rendering import Case

CONFIG = '{"data-root": "/data/docker"}\n'
PLUGINS = {"compose": "2.26.1", "buildx": "0.13.1"}
FRESH = "Inst docker-compose (2.26.1-4 Debian:13/stable [amd64])\nConf docker-compose (2.26.1-4 Debian:13/stable [amd64])\n"
UPGRADE = "Inst docker.io [20.10.24+dfsg1-1] (26.1.5+dfsg1-9 Debian:13/stable [amd64])\n"
REMOVAL = "Remv containerd.io [1.7.22-1]\nInst containerd (1.7.24~ds1-6 Debian:13/stable [amd64])\n"


def host(folder: Path, tasks: str, installed: dict[str, str], state: str = "answers", **more: Any) -> Done:
    """Run tasks of the role on a host with these versions; `more` overrides what else the host answered, and variables of a user."""
    found = {"installed": installed, "state": state, "server": installed.get("engine", ""), "reason": "", "enabled": False}
    found["systemd"] = Path("/run/systemd/system").is_dir()
    found |= more.pop("__docker_engine_found", {})
    found["files"] = engine_info.seen([str(folder / "daemon.json"), str(folder / "marker")])
    values: dict[str, Any] = {
        "__docker_engine_config_file": str(folder / "daemon.json"),
        "__docker_engine_marker": str(folder / "marker"),
        "__docker_engine_distribution": "Debian 13",
        "__docker_engine_found": found,
        "__docker_engine_asked": {"stdout": "docker.io"},
    }
    role = {"ansible.builtin.include_role": {"name": "mlops.lab.docker_engine", "tasks_from": tasks}}
    return play(folder, [role], "-e", json.dumps(values | more))


@pytest.mark.parametrize("config", [CONFIG, None])
def test_an_engine_of_somebody_else_is_left_as_it_is(tmp_path: Path, config: str | None) -> None:
    if config:
        (tmp_path / "daemon.json").write_text(config)
    mirrors = ["https://nexus.example.com:8082"]
    options = {"dns": ["192.0.2.1"], "live-restore": False}
    done = host(tmp_path, "main", {"engine": "26.1.5", **PLUGINS}, docker_engine_registry_mirrors=mirrors, docker_engine_daemon_options=options)
    assert done.returncode == 0 and done.output.count("changed: [") == 1, done.output  # the record that play() writes
    assert (
        "installed by somebody else and is not configured, so docker_engine_registry_mirrors, docker_engine_daemon_options have no effect: "
        "whoever looks after it sets registry-mirrors, dns, live-restore in its" in done.output
    )
    assert not (tmp_path / "marker").exists()
    assert ((tmp_path / "daemon.json").read_text() if config else None) == config
    assert (tmp_path / "daemon.json").exists() == bool(config)


@pytest.mark.parametrize(
    ("installed", "more", "sentence"),
    [
        pytest.param(
            {"engine": "20.10.24", **PLUGINS},
            {},
            "localhost has Docker 20.10.24 (the lab needs 23.0, docker_engine_min_version), which somebody else installed and this role does not upgrade",
            id="old engine",
        ),
        pytest.param(
            {"engine": "26.1.5", "compose": "2.10.0", "buildx": "0.9"},
            {},
            "localhost has compose 2.10.0 (the lab needs 2.20, docker_engine_min_compose_version), which somebody else installed",
            id="old plugin",
        ),
        pytest.param(
            {"engine": "27.0.1", "buildx": "0.13.1"},
            {"__docker_engine_asked": {"stdout": ""}},
            "has no compose plugin, and no package is known",
            id="no package",
        ),
        pytest.param({}, {"state": "answers"}, "has no compose and no buildx plugin, and no package is known", id="an engine without a dockerd"),
        pytest.param({}, {"state": "missing"}, "has no Docker engine, but somebody's", id="a configuration without an engine"),
        pytest.param(PLUGINS, {"state": "missing"}, "put its keys into docker_engine_daemon_options", id="a configuration and a client"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence_before_anything_is_changed(
    tmp_path: Path, installed: dict[str, str], more: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "daemon.json").write_text(CONFIG)
    found = {"installed": installed, "state": more.get("state", "answers"), "server": "27.0.1", "reason": ""}
    if "engine" in installed:
        found["server"] = installed["engine"]
    asked = more.get("__docker_engine_asked", {"stdout": "docker.io" if "engine" in installed else ""})
    done = host(tmp_path, "main", installed, __docker_engine_found=found, __docker_engine_asked=asked)
    assert done.returncode != 0 and sentence in done.output and "changed=0" in done.output, done.output
    assert not (tmp_path / "marker").exists() and (tmp_path / "daemon.json").read_text() == CONFIG


def test_the_roles_own_engine_is_still_its_own(tmp_path: Path) -> None:
    """Also when somebody has removed the engine since, or its installation was interrupted, and when its daemon is stopped."""
    (tmp_path / "marker").touch()
    (tmp_path / "daemon.json").write_text(CONFIG)
    for installed in ({"engine": "20.10.24", **PLUGINS}, {"engine": "26.1.5"}, {}):
        done = host(tmp_path, "theirs", installed, "stopped")
        assert done.returncode == 0, done.output


@pytest.mark.parametrize(
    ("simulated", "theirs", "harm"),
    [
        (FRESH, True, []),
        (FRESH + UPGRADE, True, ["upgrading docker.io"]),
        (UPGRADE + REMOVAL, True, ["removing containerd.io", "upgrading docker.io"]),
        (FRESH + UPGRADE, False, []),  # nobody's engine: what a new one needs may be upgraded
        (REMOVAL, False, ["removing containerd.io"]),
        (None, True, ["an answer of apt (E: Unable to locate package docker-compose)"]),
    ],
)
def test_a_package_that_costs_somebody_another_is_not_installed(simulated: str | None, theirs: bool, harm: list[str]) -> None:
    lines = (simulated or "").splitlines()
    answer = (
        {"rc": 0, "stdout_lines": lines, "stderr_lines": []}
        if simulated
        else {"rc": 100, "stdout_lines": [], "stderr_lines": ["E: Unable to locate package docker-compose"]}
    )
    values = {"__docker_engine_simulated": answer, "__docker_engine_theirs": theirs}
    assert Case("", "docker_engine", "", values).value("__docker_engine_harm") == harm


@pytest.mark.parametrize(
    ("sources", "declared"),
    [
        (["https://nexus.example.com/docker-apt/linux/debian/ /etc/apt/sources.list.d/docker.list:1"], True),
        (["https://nexus.example.com/docker-apt/linux/debian /etc/apt/sources.list.d/docker.sources:1"], True),
        (["https://nexus.example.com/docker-apt/linux/debian/ /etc/apt/sources.list.d/mlops-lab-docker.sources:1"], False),
        (
            ["https://nexus.example.com/docker-apt/linux/debian-other/ /etc/apt/sources.list:1", "https://deb.example.com/debian/ /etc/apt/sources.list:2"],
            False,
        ),
        ([], False),
    ],
)
def test_a_source_of_somebody_else_is_used_and_not_removed(sources: list[str], declared: bool) -> None:
    values = {"__docker_engine_sources": {"stdout_lines": sources}, "docker_engine_repository_url": "https://nexus.example.com/docker-apt/linux/debian"}
    assert Case("", "docker_engine", "", values).value("__docker_engine_declared") is declared
