"""One push of a version tag leads to a trained model, in one trigger: both Jenkinsfiles as they are, against the lab of this checkout.

The lab must run, with an index of its own (``make lab``), and nobody else may use it meanwhile. Takes some minutes:
``.venv/bin/pytest tests/jenkins -m slow``. Afterwards the lab trains with the version that was published here; ``make lab`` brings the shipped one back.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, forms, run_tool
from tests.jenkins.conftest import Controller, git

HOME = ROOT / "inventories/lab"
VALUES = HOME / "group_vars/lab"


@pytest.mark.slow
def test_a_pushed_tag_becomes_a_trained_model(controller: Controller, checkout: Callable[..., Path], lab_repository: Path, tmp_path: Path) -> None:
    shown = run_tool(["ansible-vault", "view", "--vault-password-file", HOME / ".vault_password", VALUES / "vault.yml"])
    assert shown.returncode == 0, shown.stdout
    vault, shared = yaml.safe_load(shown.stdout), yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
    password = (HOME / ".vault_password").read_text(encoding="utf-8").strip()

    # The job of the lab: what a checkout of its repository has, the vault and the lock that its team committed
    lab = checkout("lab")
    (lab / ".git").write_text(f"gitdir: {git(ROOT, 'rev-parse', '--absolute-git-dir')}", encoding="utf-8")  # of the same revision
    shutil.copy2(VALUES / "vault.yml", lab / "inventories/lab/group_vars/lab/vault.yml")
    if (HOME / "locks").exists():
        shutil.copytree(HOME / "locks", lab / "inventories/lab/locks", dirs_exist_ok=True)
    controller.job("mlops-lab", lab / "Jenkinsfile", lab)
    controller.credentials["mlops-lab-vault-password"] = {"kind": "file", "filename": "password", "content": password}

    # The same inventory gives the lab that the shell made: no file is written, no image built, no container started
    shell = json.loads((HOME / "reports/lab.json").read_text(encoding="utf-8"))
    same = controller.build("mlops-lab")
    assert same.result == "SUCCESS" and set(same.stages.values()) == {"SUCCESS"}, same.console
    changed = re.findall(r" changed=(\d+) ", same.console)
    assert len(changed) > 8 and set(changed) == {"0"}, same.console
    assert json.loads((same.folder / "archive/reports/lab.json").read_text(encoding="utf-8"))["image"] == shell["image"]

    # The job of the project
    project = tmp_path / "workspace/project"
    shutil.copytree(ROOT / "examples/wine_cultivars", project, ignore=shutil.ignore_patterns("__pycache__", "dist", "build", ".*"))
    shutil.copy2(ROOT / "Jenkinsfile.publish", project / "Jenkinsfile")
    git(project, "init", "-q", "--initial-branch", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "A project")
    version = f"1.9.{int(time.time())}"
    git(project, "tag", f"v{version}")
    controller.job("publish", project / "Jenkinsfile", project)
    publisher = {"username": vault["vault_nexus_publisher_user"], "password": vault["vault_nexus_publisher_pass"]}
    controller.credentials["nexus-publisher"] = {"kind": "usernamePassword"} | publisher

    published = controller.build("publish", NEXUS_URL=f"http://127.0.0.1:{shared['lab_index_port']}", LAB_REPOSITORY=str(lab_repository))
    assert published.result == "SUCCESS", published.console
    assert published.description == f"wine-cultivars=={version}"
    trained = controller.last("mlops-lab")
    assert trained.result == "SUCCESS" and set(trained.stages.values()) == {"SUCCESS"}
    assert trained.description.startswith("The lab works: ")
    assert trained.told["tests"]["total"] > 20 and trained.told["tests"]["failed"] == 0

    verdict = json.loads((trained.folder / "archive/reports/lab.json").read_text(encoding="utf-8"))
    assert verdict["ok"] and verdict["model"]["uri"].startswith("models:/")
    assert verdict["run"]["id"].endswith(verdict["image"]["id"].removeprefix("sha256:")[:12]), "trained by the image with this version"
    assert f"wine-cultivars=={version}" in (trained.folder / "archive/reports/lock/project.txt").read_text(encoding="utf-8")
    bill = json.loads((trained.folder / "archive/reports/sbom.json").read_text(encoding="utf-8"))
    assert f"pkg:pypi/wine-cultivars@{version}" in [part["purl"] for part in bill["components"]]

    secrets = [str(value) for name, value in vault.items() if value and not name.endswith("user")] + [password]
    for build in (same, published, trained):
        assert [str(path) for path, text in build.everything() if any(form in text for secret in secrets for form in forms(secret))] == []
        assert build.told["masked"] == 0
    for workspace in (project, lab):
        assert [path for path in Path(f"{workspace}@tmp").rglob("*") if path.is_file()] == []
    assert not Path("/dev/shm/mlops-lab").exists()
