"""Whether the Docker engine of a host answers: the one question, with clients as they are found on hosts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.lab.plugins.module_utils import engine
from ansible_collections.mlops.lab.plugins.modules import engine_info

from tests.unit.plays import play

# Debian 13's client 26.1.5 while no daemon answers: `info` ends well, `version` does not and names no server
STOPPED = """\
[ "$1" = info ] && { echo 'Server:'; exit 0; }
[ "$1 $2" = "compose version" ] && echo 2.26.1-4 && exit
[ "$1 $2" = "buildx version" ] && echo 'github.com/docker/buildx 0.13.1+ds1-3' && exit
echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2
[ "$1" = version ] && echo && exit 1
exit 1
"""
ANSWERS = "[ $1 = version ] && echo 26.1.5+dfsg1 && exit\nexit 1\n"
# A client that another tool put there, and that ends well without saying anything
SILENT = "exit 0\n"
DOCKERD = "echo 'Docker version 26.1.5+dfsg1, build a72d7cd'\n"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that gives this host the programs of its arguments and no others."""

    def programs(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(engine, "MORE_PLACES", ())

    return programs


def test_an_engine_that_answers_says_its_version(host: Any) -> None:
    host(docker=ANSWERS)
    assert engine_info.asked(0) == ("26.1.5+dfsg1", "")


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        (STOPPED, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"),
        (SILENT, "docker version names no server"),
    ],
)
def test_a_client_that_ends_well_is_no_answer(host: Any, client: str, reason: str) -> None:
    host(docker=client)
    assert engine_info.asked(0) == ("", reason)


def test_nothing_is_there(host: Any) -> None:
    host()
    assert engine_info.asked(5) == ("", "there is no docker client on this host"), "waiting for what is not installed"
    assert engine_info.installed() == {}


def test_versions_are_known_while_the_daemon_is_stopped(host: Any) -> None:
    host(docker=STOPPED, dockerd=DOCKERD)
    assert engine_info.installed() == {"engine": "26.1.5", "compose": "2.26.1", "buildx": "0.13.1"}


def test_a_daemon_that_comes_up_is_waited_for(host: Any, tmp_path: Path) -> None:
    host(docker=f'[ -e {tmp_path}/asked ] && {{ echo 26.1.5; exit; }}\n: >{tmp_path}/asked\necho "no daemon yet" >&2\nexit 1\n')
    assert engine_info.asked(30) == ("26.1.5", "")


def test_a_play_stops_with_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{STOPPED}")
    (tmp_path / "docker").chmod(0o755)
    path = f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"
    done = play(tmp_path, [{"mlops.lab.engine_info": {"required": True}, "environment": {"PATH": path}}])
    assert done.returncode != 0
    assert "The Docker engine does not answer (Cannot connect to the Docker daemon" in done.output


def test_files_are_told_with_content_owner_and_mode_and_those_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text("{}\n")
    (tmp_path / "daemon.json").chmod(0o640)
    (tmp_path / "folder").mkdir()
    seen = engine_info.seen([str(tmp_path / name) for name in ("daemon.json", "folder", "nothing")])
    owner = f"{(tmp_path / 'daemon.json').owner()}:{(tmp_path / 'daemon.json').group()}"
    assert seen == {str(tmp_path / "daemon.json"): {"sha256": hashlib.sha256(b"{}\n").hexdigest(), "owner": owner, "mode": "0640"}}
