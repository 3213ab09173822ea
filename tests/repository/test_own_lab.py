"""A lab of one's own, from the tarball alone: built, installed into an empty place, and used there without a checkout, its settings or its environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import BIN, ROOT, SHIPPED

FILES = {
    *("README.md", "hosts.yml", "group_vars/lab/lab.yml", "group_vars/lab/vault.yml", ".vault_password", "requirements.txt", "custom_requirements.txt"),
    *("collections/requirements.yml", "Jenkinsfile", "site.yml", "ansible.cfg", ".gitignore", "experiments/.schema.json"),
    *(f"experiments/{path.name}" for path in SHIPPED),
}
PORTS = re.findall(r"^(lab_\w+_port):", (ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"), re.M)
# What preflight would find wrong with the machine of the tests
SMALL = {"preflight_min_memory_mb": 1, "preflight_min_cores": 1, "preflight_min_disk_gb": 0, "preflight_systems": []}


@dataclass(frozen=True)
class Place:
    """A home directory with the installed collection, and an empty directory in which commands are typed."""

    home: Path
    tarball: Path

    @property
    def collection(self) -> Path:
        """Where the collection was installed."""
        return self.home / ".ansible/collections/ansible_collections/mlops/lab"

    def run(self, *command: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in an environment that holds nothing but a home, a path, and `more`."""
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.home / "empty",
            env={"HOME": str(self.home), "PATH": f"{BIN}{os.pathsep}{os.defpath}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "ANSIBLE_NOCOLOR": "1", **more},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )

    def new_lab(self, name: str, **values: Any) -> Path:
        """Make a lab, with more values for it."""
        done = self.run("ansible-playbook", "mlops.lab.new_lab", "-e", f"lab_home=~/{name}")
        assert done.returncode == 0, done.stdout
        assert f"cd {self.home}/{name} && ansible-playbook mlops.lab.site -i hosts.yml" in done.stdout, done.stdout
        with (self.home / name / "group_vars/lab/lab.yml").open("a", encoding="utf-8") as file:
            file.write("\n" + yaml.safe_dump(values) if values else "")
        return self.home / name

    def values(self, lab: Path, *names: str, checkout: Path | None = None) -> dict[str, Any]:
        """Return values of a lab as its plays see them, those of the installed collection, or of a checkout that is worked in."""
        message = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} | to_json }}"
        options: list[str | Path] = [
            "-i",
            lab / "hosts.yml",
            "--playbook-dir",
            (checkout or self.collection) / "playbooks",
            "-m",
            "ansible.builtin.debug",
            "-a",
            f"msg={message}",
        ]
        done = self.run("ansible", "lab_control", *options, cwd=checkout, ANSIBLE_CALLBACK_RESULT_FORMAT="json")
        assert done.returncode == 0, done.stdout
        found: dict[str, Any] = json.loads(json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])[0]["msg"])
        return found


def free_ports() -> dict[str, int]:
    """Return ports for a lab that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _port in PORTS]
    ports = {name: one.getsockname()[1] for name, one in zip(PORTS, sockets, strict=True)}
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tarball: Path) -> Place:
    """The collection, installed from its tarball."""
    home = tmp_path_factory.mktemp("home")
    (home / "empty").mkdir()
    place = Place(home, tarball)
    done = place.run("ansible-galaxy", "collection", "install", place.tarball, "--offline")
    assert done.returncode == 0 and place.collection.is_dir(), done.stdout
    return place


@pytest.fixture(scope="module")
def lab(place: Place) -> Path:
    """A new lab."""
    return place.new_lab("Churn_Lab", **SMALL, **free_ports())


def test_a_new_lab_is_a_folder_for_git_without_its_password(place: Place, lab: Path) -> None:
    assert {str(path.relative_to(lab)) for path in lab.rglob("*") if path.is_file()} == FILES
    for experiment in (lab / "experiments").glob("*.yml"):
        assert experiment.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=.schema.json\n"), "editors find the schema by this line"
    assert (lab / "experiments/.schema.json").read_bytes() == (ROOT / "dags/lab_experiment/schema.json").read_bytes()
    place.run("git", "init", "-q", cwd=lab)
    listed = place.run("git", "ls-files", "--others", "--exclude-standard", cwd=lab).stdout.split()
    shutil.rmtree(lab / ".git")
    assert set(listed) == FILES - {".vault_password"}
    assert (lab / "group_vars/lab/vault.yml").read_text(encoding="utf-8").startswith("$ANSIBLE_VAULT;")
    assert stat.S_IMODE((lab / ".vault_password").stat().st_mode) == 0o600
    needs = yaml.safe_load((lab / "collections/requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert {"name": "mlops.lab", "version": yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]} in needs
    assert not [path for path in lab.rglob("*") if path.is_file() and re.search(r"{{ new_lab|{% ", path.read_text(encoding="utf-8"))]


def test_nothing_is_overwritten(place: Place, lab: Path) -> None:
    before = {path: path.read_bytes() for path in lab.rglob("*") if path.is_file()}
    done = place.run("ansible-playbook", "mlops.lab.new_lab", "-e", json.dumps({"lab_home": str(lab)}))
    assert done.returncode != 0 and f"{lab} has something in it already, and nothing is overwritten: name a folder that is" in done.stdout, done.stdout
    assert before == {path: path.read_bytes() for path in lab.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [({}, "Which folder shall the lab get?"), ({"lab_home": "~/x", "new_lab_name": "x-bench"}, "'x-bench' can be no lab's name")],
)
def test_what_cannot_be_a_lab_is_a_sentence(place: Place, values: dict[str, str], sentence: str) -> None:
    done = place.run("ansible-playbook", "mlops.lab.new_lab", "-e", json.dumps(values))
    assert done.returncode != 0 and sentence in done.stdout, done.stdout
    assert not (place.home / "x").exists() and not list((place.home / "empty").iterdir())


def test_every_playbook_is_read_for_it(place: Place, lab: Path) -> None:
    names = [f"mlops.lab.{path.stem}" for path in sorted((place.collection / "playbooks").glob("*.yml"))]
    assert len(names) > 15
    done = place.run("ansible-playbook", *names, "-i", lab / "hosts.yml", "--syntax-check")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


def test_all_that_a_run_reads_on_this_machine_is_there_and_all_that_it_writes_goes_into_the_folder(place: Place, lab: Path) -> None:
    reads = (
        "airflow_stack_dags",
        "airflow_stack_experiments",
        "airflow_image_requirements",
        "airflow_image_custom_requirements",
        "preflight_credentials_example",
        "verdict_guide",
    )
    commands = ("verdict_password_command", "verdict_train_command")
    advice = ("nexus_repositories_trust_hint", "awx_vault_command", "lab_backup_start_command", "mlflow_server_move_command", "preflight_credentials_hint")
    found = place.values(lab, *reads, "package_index_publish", "lab_reports_dir", "airflow_image_lock_dir", "lab_name", *commands, *advice)
    assert [path for path in (*(found[name] for name in reads), *found["package_index_publish"]) if not Path(path).exists()] == []
    assert not [path for path in (*(found[name] for name in reads), *found["package_index_publish"]) if Path(path).is_relative_to(ROOT)]
    assert (found["lab_reports_dir"], found["airflow_image_lock_dir"]) == (f"{lab}/reports", f"{lab}/locks")
    assert found["lab_name"] == "churn-lab"
    assert found["verdict_password_command"] == f"ansible-playbook mlops.lab.password -i {lab}/hosts.yml"
    assert not [found[name] for name in advice if not re.search("ansible-playbook mlops[.]lab[.](provision|create_vault|site) ", found[name])]
    assert not [found[name] for name in advice if re.search("make |playbooks/", found[name])], "it has no Makefile and no checkout"
    assert found["verdict_train_command"] == f"ansible-playbook mlops.lab.train -i {lab}/hosts.yml"


def test_in_a_checkout_what_is_typed_is_make_with_the_folder_of_the_lab(place: Place, lab: Path) -> None:
    """There is no ansible-playbook on the path, and elsewhere the collection is not found."""
    names = ["verdict_password_command", "awx_vault_command", "lab_backup_start_command", "preflight_credentials_hint", "lab_typed"]
    found = place.values(lab, *names, checkout=ROOT)
    assert [found[name] for name in names[:3]] == [f"make {verb} LAB={lab}" for verb in ("password", "vault", "lab")]
    assert found["lab_typed"]["renew"] == f"make renew LAB={lab} NAME="
    assert found["preflight_credentials_hint"].startswith(f"run `make vault LAB={lab}`, or add it with `.venv/bin/ansible-vault edit ")
    targets = set(re.findall(r"^([a-z_-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"password", "vault", "lab", "renew"} <= targets


@pytest.mark.parametrize("file", ["README.md", "docs/jenkins.md", "playbooks/templates/lab/README.md.j2", "playbooks/templates/lab/Jenkinsfile.j2"])
def test_all_that_ansible_needs_without_a_checkout_is_installed_by_the_command(file: str) -> None:
    (wiring,) = re.findall(r"^preflight_control_packages: (.*)$", (ROOT / "playbooks/group_vars/all/preflight.yml").read_text(encoding="utf-8"), re.M)
    needed = set(re.findall(r"\['(\w+)'\]", wiring))
    commands = re.findall(r'pip install "ansible[^"]*"((?: \w+)*)', (ROOT / file).read_text(encoding="utf-8"))
    assert needed and commands and all(set(words.split()) == needed for words in commands), file


def test_preflight_is_content_with_it(place: Place, lab: Path) -> None:
    """Started elsewhere, without an ansible.cfg: the vault opens."""
    done = place.run("ansible-playbook", "mlops.lab.preflight", "-i", lab / "hosts.yml", "-e", "ansible_become=false")
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout
    named = place.run("ansible-playbook", "site.yml", "-e", "verb=preflight", "-e", "ansible_become=false", cwd=lab)
    assert named.returncode == 0 and "WARNING" not in named.stdout, named.stdout


def test_a_tag_runs_its_part_of_the_whole_alone(place: Place, lab: Path) -> None:
    """Ansible validates the arguments of the other roles all the same, whose tasks do not run."""
    options = ["--tags", "sensitive_files", "--check", "-e", "ansible_become=false"]
    done = place.run("ansible-playbook", "mlops.lab.site", "-i", lab / "hosts.yml", *options)
    assert done.returncode == 0 and "nothing sensitive was left" in done.stdout, done.stdout


def test_two_labs_share_nothing(place: Place, lab: Path) -> None:
    other = place.new_lab("another", **free_ports())
    names = ["lab_name", "lab_dir", "lab_staging_dir", "lab_lock_file", "lab_home", "lab_reports_dir", "lab_vault_file", "lab_vault_password_file"]
    names += ["ansible_remote_tmp", "ansible_async_dir", "lab_backup_dir", "preflight_projects", "airflow_image_repository"]
    names += ["airflow_stack_mlflow_network", "mlflow_server_network", "model_server_network", "package_index_network", "workbench_network"]
    names += ["base_images_prefix", "mlflow_server_image", "model_server_image", "package_index_image", "airflow_stack_image", "awx_name", *PORTS]
    one, two = place.values(lab, *names), place.values(other, *names)
    assert [name for name in names if one[name] == two[name]] == []
    assert set(one["preflight_projects"]).isdisjoint(two["preflight_projects"])
    shutil.rmtree(other)


@pytest.fixture(scope="module")
def neighbour(place: Place) -> Iterator[Path]:
    """A lab that runs; it is removed at the end."""
    lab = place.new_lab("own-neighbour", **free_ports())
    try:
        made = place.run("ansible-playbook", "mlops.lab.site", "-i", lab / "hosts.yml")
        assert made.returncode == 0, made.stdout[-8000:]
        yield lab
    finally:
        place.run("ansible-playbook", "mlops.lab.destroy", "-i", lab / "hosts.yml")


def is_well(place: Place, lab: Path) -> bool:
    """Whether the verdict on a lab is ok now."""
    (lab / "reports/lab.json").unlink(missing_ok=True)
    done = place.run("ansible-playbook", "mlops.lab.verify", "-i", lab / "hosts.yml")
    assert done.returncode == 0, done.stdout[-8000:]
    return bool(json.loads((lab / "reports/lab.json").read_text(encoding="utf-8"))["ok"])


def kept(name: str) -> str:
    """What the engine has of a lab of a name, but for its images."""
    asked = [["docker", *what, "--quiet", "--filter", f"name={name}"] for what in (("ps", "--all"), ("volume", "ls"), ("network", "ls"))]
    return "".join(subprocess.run(command, text=True, capture_output=True, check=True).stdout for command in asked)


@pytest.mark.deep
def test_a_whole_lab_beside_another_one(place: Place, neighbour: Path) -> None:
    """Needs root and half an hour: its verdict is ok, a second run changes nothing, and the other lab's verdict is ok beside it and when it is gone."""
    # What its images are built on holds nothing of a lab, and takes minutes to make.
    listed = subprocess.run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], text=True, capture_output=True, check=True).stdout.split()
    for image in listed:
        if found := re.fullmatch(r"own-neighbour/((debian|airflow-base|postgres|redis):.+)", image):
            subprocess.run(["docker", "tag", image, f"own-lab/{found[1]}"], check=True)
    lab = place.new_lab("own-lab", **free_ports())
    try:
        done = place.run("ansible-playbook", "mlops.lab.site", "-i", lab / "hosts.yml")
        assert done.returncode == 0, done.stdout[-8000:]
        assert json.loads((lab / "reports/lab.json").read_text(encoding="utf-8"))["ok"]
        assert (lab / "locks/project.txt").is_file()
        again = place.run("ansible-playbook", "mlops.lab.site", "-i", lab / "hosts.yml")
        assert again.returncode == 0, again.stdout[-8000:]
        assert set(re.findall(r"changed=(\d+)", again.stdout.rpartition("PLAY RECAP")[2])) == {"0"}, again.stdout[-8000:]
        assert is_well(place, neighbour) and kept("own-lab")
    finally:
        gone = place.run("ansible-playbook", "mlops.lab.destroy", "-i", lab / "hosts.yml")
    assert gone.returncode == 0 and not kept("own-lab"), gone.stdout[-8000:]
    assert is_well(place, neighbour)
    assert not list(place.collection.rglob("*.lock")) and not (place.home / "empty/reports").exists()
