"""The whole lab on a real Nexus: nothing is changed but address and credentials. Needs the Docker engine of this machine and half an hour.

Run by ``make nexus``; not part of a run that does not name the marker ``slow``.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, run_tool
from tests.nexus import server
from tests.nexus.conftest import Done

pytestmark = [pytest.mark.nexus, pytest.mark.slow]

NAME = "nexus-lab"
# Authorities that this machine trusts besides the public ones: where one of them signs what is public, Nexus has to trust it, too.
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")


@dataclass
class Site:
    """A lab of its own on this machine, beside any other, with its values in one file."""

    nexus: server.Nexus
    folder: Path
    values: dict[str, Any]

    def play(self, playbook: str, *options: str, **values: Any) -> Done:
        """Run a playbook with the shipped inventory."""
        file = self.folder / "values.json"
        file.write_text(json.dumps({**self.values, **values}), encoding="utf-8")
        command: list[str | Path] = ["ansible-playbook", playbook, "-i", "inventories/lab", "-e", f"@{file}", *options]
        done = run_tool(command, ROOT, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
        file.unlink()
        return Done(done.returncode, done.stdout)

    def requests(self) -> list[tuple[str, str, str, int]]:
        """Return what Nexus was asked for: user, method, path and status, from its own log."""
        log = (self.nexus.data / "log/request.log").read_text(encoding="utf-8")
        lines = re.findall(r'^\S+ - (\S+) \[.*?\] "(\S+) (\S+) [^"]*" (\d+) ', log, re.MULTILINE)
        return [(user, method, path, int(status)) for user, method, path, status in lines]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Nexus in which playbooks/nexus.yml declared everything, and values for a lab that is told nothing but its address and credentials."""
    folder = tmp_path_factory.mktemp("lab-on-nexus")
    example = yaml.safe_load((ROOT / "playbooks/files/credentials_example.yml").read_text(encoding="utf-8"))
    vault = {name: value if name.endswith("_user") else f"canary{secrets.token_hex(20)}" for name, value in example.items()}
    vault["vault_airflow_fernet_key"] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    vault.setdefault("vault_nexus_admin_password", f"canary{secrets.token_hex(20)}")
    ports = {f"lab_{what}_port": server.free_port() for what in ("airflow", "flower", "mlflow", "models", "index")}
    places = {"lab_name": NAME, "lab_dir": f"/opt/{NAME}", "lab_staging_dir": f"/dev/shm/{NAME}"}
    # What Ansible leaves on a host when it is killed is searched for and removed: not that of another run
    places |= {"ansible_remote_tmp": str(folder / "remote"), "ansible_async_dir": str(folder / "async")}
    kept = {"lab_reports_dir": str(folder / "reports"), "airflow_image_lock_dir": str(folder / "locks")}
    authorities = folder / "authorities.pem"
    authorities.write_text("".join(path.read_text(encoding="utf-8") for path in sorted(OWN_AUTHORITIES.glob("*.crt"))), encoding="utf-8")
    with server.run(folder) as nexus:
        index = {
            "lab_index_url": f"{nexus.url}/repository/pypi-all/simple/",
            "lab_index_upload_url": f"{nexus.url}/repository/pypi-internal/",
            "nexus_repositories_first_password": nexus.first_password,
            "nexus_repositories_ca_file": str(authorities) if authorities.stat().st_size else "",
        }
        site = Site(nexus, folder, {**vault, **ports, **places, **kept, **index})
        try:
            declared = site.play("playbooks/nexus.yml")
            assert declared.changes >= 10
            yield site
        finally:
            print(site.play("playbooks/destroy.yml").output[-2000:])


@pytest.fixture(scope="module")
def lab(site: Site) -> Done:
    """The first run of the whole lab; it must have worked."""
    done = site.play("site.yml")
    assert done.returncode == 0, done.output
    return done


def test_declaring_again_changes_nothing(site: Site) -> None:
    assert site.play("playbooks/nexus.yml").changed == 0


def test_a_wrong_password_stops_before_anything_is_done(site: Site) -> None:
    done = site.play("site.yml", vault_nexus_pass="wrong")
    assert done.returncode != 0 and "vault_nexus_pass" in done.output and "401" in done.output, done.output
    assert "changed=0" in done.output


def test_the_lab_trains_a_model_without_an_index_of_its_own(site: Site, lab: Done) -> None:
    verdict = json.loads((site.folder / "reports/lab.json").read_text(encoding="utf-8"))
    assert verdict["ok"], [check for check in verdict["checks"] if not check["ok"]]
    filters = ["--filter", f"label=com.docker.compose.project={NAME}-index"]
    assert run_tool(["docker", "ps", "--all", "--quiet", *filters]).stdout == ""


def test_the_publisher_uploaded_the_wheel_and_the_reader_fetched_it_through_the_group(site: Site, lab: Done) -> None:
    asked = site.requests()
    publisher, reader = site.values["vault_nexus_publisher_user"], site.values["vault_nexus_user"]
    assert (publisher, "POST", "/repository/pypi-internal/", 200) in asked
    assert [path for user, _, path, status in asked if user == reader and status == 200 and re.match(r"/repository/pypi-all/.*wine_cultivars.*\.whl$", path)]
    read = {path.split("/")[2] for user, method, path, _ in asked if user == reader and method == "GET" and path.startswith("/repository/")}
    assert read == {"pypi-all"}


def test_nobody_asked_for_the_list_of_all_projects(site: Site, lab: Done) -> None:
    assert [path for _, _, path, _ in site.requests() if re.fullmatch(r"/repository/[^/]+/simple/?(?:\?.*)?", path)] == []


def test_the_image_s_tag_is_a_digest_and_no_layer_knows_the_index_s_password(site: Site, lab: Done) -> None:
    listed = run_tool(["docker", "image", "ls", "--format", "{{.Tag}}", f"{NAME}/airflow"]).stdout.split()
    tags = [tag for tag in listed if re.fullmatch(r"[\d.]+-[0-9a-f]{8,}", tag)]
    assert tags, listed
    history = run_tool(["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", f"{NAME}/airflow:{tags[0]}"]).stdout
    inspected = run_tool(["docker", "image", "inspect", f"{NAME}/airflow:{tags[0]}"]).stdout
    assert "canary" not in history + inspected
    # All files of the image, without running it
    made = subprocess.run(["docker", "create", f"{NAME}/airflow:{tags[0]}"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        command = f"docker export {made} | grep --text --count --fixed-strings {site.values['vault_nexus_pass']}"
        found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert found.stdout.strip() == "0", found.stdout + found.stderr
    finally:
        subprocess.run(["docker", "rm", made], capture_output=True, check=True)


def test_the_second_run_changes_nothing(site: Site, lab: Done) -> None:
    assert site.play("site.yml").changed == 0


def test_no_password_was_shown(site: Site, lab: Done) -> None:
    assert "canary" not in lab.output and site.nexus.first_password not in lab.output
