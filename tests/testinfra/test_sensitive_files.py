"""A lab host after a whole run: nothing sensitive is left, and the operator can still use Docker Compose."""

from __future__ import annotations

import pytest
from testinfra.host import Host

STAGING = "/dev/shm/mlops-lab"
OURS = "~/.ansible/mlops-lab"


def test_no_staging_directory_is_left(host: Host) -> None:
    assert not host.file(STAGING).exists


@pytest.mark.parametrize("folder", ["async", "tmp"])
def test_nothing_of_a_run_is_left_in_ansible_s_directories(host: Host, folder: str) -> None:
    left = host.check_output(f"find {OURS}/{folder} -type f 2>/dev/null || true")
    assert left == ""


def test_no_pip_configuration_or_netrc_is_left(host: Host) -> None:
    left = host.check_output("find /root /home /tmp /etc/pip.conf -maxdepth 3 \\( -name pip.conf -o -name .netrc -o -name .pypirc \\) 2>/dev/null || true")
    assert left == ""


def test_compose_files_stay_for_the_operator(host: Host) -> None:
    if host.file("/opt/mlops-lab/airflow_stack").exists:
        assert host.file("/opt/mlops-lab/airflow_stack/compose.yml").exists
