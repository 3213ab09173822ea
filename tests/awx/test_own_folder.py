"""A lab's own folder as the project of AWX: declared from it with the installed collection, and run with what its requirements list beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.awx.conftest import Checkout
from tests.awx.controller import TOKEN, Controller, serving
from tests.awx.jobs import Job, launch, prepare
from tests.awx.test_jobs import assert_clean, free_ports
from tests.conftest import BIN, ROOT, VERBS

# The same role and jobs as those of the checkout, which tests/awx/test_awx.py declares in every run
pytestmark = pytest.mark.deep

ADDRESS = "https://git.example.com/teams/churn-lab.git"


@dataclass(frozen=True)
class Folder(Checkout):
    """The lab's folder, in a home with nothing but the collection."""

    @property
    def collections(self) -> Path:
        """Where the collection was installed."""
        return self.path.parent / ".ansible/collections"

    def run(self, *command: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a person types it in the folder."""
        environment = {"HOME": str(self.path.parent), "PATH": f"{BIN}{os.pathsep}{os.defpath}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "ANSIBLE_NOCOLOR": "1"}
        words = [str(part) for part in command]
        return subprocess.run(
            words,
            cwd=self.path,
            env={**environment, **more},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tarball: Path) -> Folder:
    """A new lab in a git repository, with values that suit the machine of the tests."""
    home = tmp_path_factory.mktemp("home")
    (home / "churn-lab").mkdir()
    bare = Folder(home / "churn-lab", {})
    for command in (
        ["ansible-galaxy", "collection", "install", tarball, "--offline"],
        ["ansible-playbook", "mlops.lab.new_lab", "-e", f"lab_home={bare.path}"],
    ):
        done = bare.run(*command)
        assert done.returncode == 0, done.stdout
    shared = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
    names = [name for name in shared if name.endswith("_port")]
    values = {"lab_dir": str(home / "host"), "lab_staging_dir": f"/dev/shm/awx-own-{os.getpid()}", "ansible_remote_tmp": str(home / "remote")}
    limits = {f"preflight_min_{name}": 1 for name in ("memory_mb", "cores", "disk_gb", "disk_running_gb")}
    with (bare.path / "group_vars/lab/lab.yml").open("a", encoding="utf-8") as file:
        file.write("\n" + yaml.safe_dump({**values, **limits, **dict(zip(names, free_ports(len(names)), strict=True))}))
    for arguments in (["init", "-q"], ["remote", "add", "origin", ADDRESS], ["add", "-A"]):
        assert bare.run("git", *arguments).returncode == 0
    shown = bare.run("ansible-vault", "view", "--vault-password-file", ".vault_password", "group_vars/lab/vault.yml")
    return Folder(bare.path, {name: value for name, value in yaml.safe_load(shown.stdout).items() if value})


@pytest.fixture(scope="module")
def declared(folder: Folder) -> Iterator[Controller]:
    """A controller in which the lab was declared, by the command that the folder's README names."""
    with serving() as controller:
        done = folder.run("ansible-playbook", "mlops.lab.awx", "-i", "hosts.yml", CONTROLLER_HOST=controller.url, CONTROLLER_OAUTH_TOKEN=TOKEN)
        assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout
        yield controller


def run(declared: Controller, folder: Folder, verb: str, place: Path, **more: str) -> Job:
    """Run the job of a verb in a clone of the folder, to some of whose files more was added. Its collections are where the controller installs them."""

    def project(target: Path) -> None:
        """Write the folder as git has it."""
        for name in folder.run("git", "ls-files", "-z").stdout.split("\0")[:-1]:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder.path / name, target / name)
        for name, text in more.items():
            (target / f"{name}.txt").write_text((target / f"{name}.txt").read_text(encoding="utf-8") + text, encoding="utf-8")

    prepared = prepare(declared, verb, project, place)
    needs = yaml.safe_load((place / "project/collections/requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert {one["name"] for one in needs} == {"mlops.lab", "awx.awx", "community.crypto", "community.docker"}
    shutil.copytree(folder.collections, place / "requirements_collections")
    return launch(prepared)


def test_every_template_runs_the_folder_s_playbook_with_its_verb(declared: Controller, folder: Folder) -> None:
    (project,) = declared.rows("projects")
    assert project["scm_url"] == ADDRESS
    templates = {template["name"]: template for template in declared.rows("job_templates")}
    assert templates.keys() == {f"churn-lab {verb}" for verb in [*VERBS, "workflow_failed"]}
    for name, template in templates.items():
        assert (folder.path / template["playbook"]).is_file() and template["playbook"] == "site.yml"
        assert yaml.safe_load(template["extra_vars"]) == {"verb": name.partition(" ")[2]}
        assert (folder.collections / f"ansible_collections/mlops/lab/playbooks/{name.partition(' ')[2]}.yml").is_file()


def test_a_job_finds_playbook_values_and_credentials(declared: Controller, folder: Folder, tmp_path: Path) -> None:
    done = run(declared, folder, "preflight", tmp_path / "job")
    assert done.returncode == 0, done.output
    assert "mlops.lab.preflight : Measure the host" in done.output
    assert_clean(done, folder)


def test_a_job_reads_the_files_of_its_project(declared: Controller, folder: Folder, tmp_path: Path) -> None:
    done = run(declared, folder, "preflight", tmp_path / "job", requirements="--extra-index-url https://elsewhere.example\n")
    assert done.returncode != 0 and "1 to put right" in done.messages(), done.output
    assert f"{tmp_path}/job/project/requirements.txt:" in done.messages(), done.messages()
    assert_clean(done, folder)
