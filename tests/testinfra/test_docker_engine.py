"""A lab host after role docker_engine: the engine is there after a reboot, has its plugins, and its settings have an effect."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from testinfra.host import Host

IMAGE = "mlops-lab/debian:trixie"
MARKER = "/etc/docker/managed-by-mlops-lab"


@pytest.fixture(scope="module", autouse=True)
def own_engine(host: Host) -> None:
    """The role configures an engine only if it installed it."""
    if not host.file(MARKER).exists:
        pytest.skip("The engine of this host is not the role's.")


def test_the_engine_runs_now_and_after_a_reboot(host: Host) -> None:
    if not host.file("/run/systemd/system").exists:
        pytest.skip("This host has no systemd.")
    service = host.service("docker")
    assert service.is_running and service.is_enabled, host.run("journalctl --no-pager -n 30 -u docker").stdout


def test_plugins_reach_the_engine(host: Host) -> None:
    assert isinstance(json.loads(host.check_output("docker compose ls --format json")), list)
    assert "running" in host.check_output("docker buildx inspect default | grep -i '^status'")


def test_the_daemon_took_its_configuration(host: Host) -> None:
    info = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert info["LoggingDriver"] == "json-file"
    assert info["LiveRestoreEnabled"] is True
    assert info["Driver"] in ("overlay2", "overlayfs")  # the second with containerd's store, as Docker 29 has it


@pytest.fixture
def talkative(host: Host) -> Iterator[str]:
    """A container that wrote 42 MB of log; its id."""
    container = host.check_output(f"docker run --detach {IMAGE} bash -c 'yes $(printf %0900d 7) | head -c 42000000'")
    host.check_output(f"docker wait {container}")
    yield container
    host.check_output(f"docker rm --force {container}")


def test_the_log_of_any_container_is_rotated(host: Host, talkative: str) -> None:
    """The default of the engine fills the disk. This container says nothing about its log."""
    sizes = host.check_output(f"find /var/lib/docker/containers/{talkative} -name '*-json.log*' -printf '%s\\n'").split()
    assert len(sizes) == 3
    assert max(int(size) for size in sizes) < 11_000_000


def test_the_host_trusts_the_extra_authorities(host: Host) -> None:
    """Each certificate of the bundle is in the store that OpenSSL, Python and the daemon read."""
    given = host.file("/usr/local/share/ca-certificates/mlops-lab.crt")
    if not given.exists:
        pytest.skip("This lab has no certificate authority of its own.")

    def certificates(text: str) -> set[str]:
        return {part.split("-----END")[0].strip() for part in text.split("-----BEGIN CERTIFICATE-----")[1:]}

    assert certificates(given.content_string) <= certificates(host.file("/etc/ssl/certs/ca-certificates.crt").content_string)
