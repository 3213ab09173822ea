"""What a service costs: one is added to a copy of the project by the list of CONTRIBUTING.md, and all that is derived from the maps has it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Run

#: Beside the role's folder: files that are changed or made by hand, and those that `make docs` writes
MOST_FILES = 8

ROLE = {
    "meta/main.yml": """\
---
galaxy_info:
  role_name: toy
  author: The mlops.lab contributors
  description: A toy that shows what a service costs
  license: Apache-2.0
  min_ansible_version: "2.19"
  platforms:
    - name: Debian
      versions: [bookworm, trixie]
    - name: Ubuntu
      versions: [noble]
dependencies: []
""",
    "meta/argument_specs.yml": """\
---
argument_specs:
  main:
    short_description: A toy
    description: Runs a toy.
    options:
      toy_project:
        description: Compose project.
        type: str
        default: mlops-lab-toy
      toy_dir:
        description: Directory on the host.
        type: path
        default: /opt/mlops-lab/toy
      toy_network:
        description: Network in which it is reached.
        type: str
        default: mlops-lab-toy
      toy_port:
        description: Port.
        type: int
        default: 7777
      toy_password:
        description: Password of whoever plays.
        type: str
        required: true
""",
    "defaults/main.yml": """\
---
# Compose project, its directory on the host, its network, and the port of the loopback
toy_project: mlops-lab-toy
toy_dir: /opt/mlops-lab/toy
toy_network: mlops-lab-toy
toy_port: 7777

# toy_password    password of whoever plays: required
""",
    "tasks/main.yml": """\
---
- name: Start the toy and wait until it answers
  mlops.lab.compose_up:
    project: "{{ toy_project }}"
    project_src: "{{ toy_dir }}"
    networks: ["{{ toy_network }}"]
    secrets: {password: "{{ toy_password }}"}
    definition: "{{ lookup('ansible.builtin.template', 'compose.yml.j2') }}"
""",
    "templates/compose.yml.j2": """\
{{ ansible_managed | comment }}
# No secret is in here: docker compose ps, logs and down work without any.
name: {{ toy_project }}

services:
  toy:
    image: mlops-lab/debian:trixie
    pull_policy: never
    command: [sleep, infinity]
    init: true
    user: "50000:0"
    restart: unless-stopped
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    labels:
      lab.mlops.files: "FILES_DIGEST"
    logging:
      driver: json-file
      options: {max-size: 10m, max-file: "3"}
    ports: ["127.0.0.1:{{ toy_port }}:80"]
    networks: [{{ toy_network }}]
    secrets: [password]
    volumes: [cache:/cache, scores:/scores]
    healthcheck:
      test: [CMD, "true"]
      interval: 30s
      timeout: 5s
      start_period: 60s
      start_interval: 1s

networks:
  {{ toy_network }}: {external: true}

secrets:
  password: {file: {{ toy_dir }}/secrets/password}

volumes:
  cache:
  scores:
""",
    "README.md": """\
# toy

Runs a toy. Use it as in `playbooks/start.yml`:

```yaml
- name: Play
  hosts: lab_control
  roles:
    - role: mlops.lab.toy
      vars:
        toy_password: "{{ vault_swing_password }}"
```

A second run changes nothing.
""",
}
PLAY = """
- name: Run the toy
  hosts: lab_control
  gather_facts: false
  tags: [start, toy]
  any_errors_fatal: true
  pre_tasks:
    - name: Let no other run change the lab meanwhile
      ansible.builtin.import_tasks: tasks/lock.yml
  tasks:
    - name: Provide the toy
      block:
        - name: Configure and start it
          ansible.builtin.import_role:
            name: mlops.lab.toy
      rescue:
        - name: Clean and stop
          ansible.builtin.import_tasks: tasks/clean_and_stop.yml
"""
SYSTEM = """\
  toy:
    role: toy
    project: "{{ lab_name }}-toy"
    dir: "{{ lab_dir }}/toy"
    hosts: [lab_control]
    own: true
    network: "{{ lab_name }}-toy"
    ports:
      - {port: "{{ lab_toy_port }}", what: the toy, variable: lab_toy_port, address: "{{ lab_bind_address }}", group: lab_control}
    pages:
      - name: Toy
        place: 90
        port: "{{ lab_toy_port }}"
        url: "{{ lab_pages }}:{{ lab_toy_port }}"
        gateway: {upstream: "http://toy:80"}
        shown: {name: Toy, user: kid}
        opened: {path: /swing, user: kid, credential: vault_swing_password}
    services: [toy]
    backup:
      trees: [{name: toy_scores, volume: "{{ lab_name }}-toy_scores"}]
    volumes: ["{{ lab_name }}-toy_cache"]
lab_own_systems:"""
CREDENTIAL = "  - {name: vault_swing_password, kind: password, hosts: [lab_control], what: Whoever plays}\n\n# Those that create_vault may give"
WIRING = """\
---
toy_project: "{{ lab_systems.toy.project }}"
toy_dir: "{{ lab_systems.toy.dir }}"
toy_network: "{{ lab_systems.toy.network }}"
toy_port: "{{ lab_toy_port }}"
toy_password: "{{ vault_swing_password }}"
"""
TEST = '''\
"""The toy is published where the lab says."""

from tests.unit.rendering import COMPOSE_FILES


def test_the_port() -> None:
    assert '"127.0.0.1:7777:80"' in next(case for case in COMPOSE_FILES if case.role == "toy").render()
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, files: list[Path], tool: Run) -> Path:
    """A copy of the project with the service, whose index has the project without it."""
    root = tmp_path_factory.mktemp("toy") / "mlops.lab"
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, root / file, follow_symlinks=False)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=toy", "-c", "user.email=toy@example.com", "commit", "-qm", "As it is"]):
        assert tool(["git", *command], cwd=root).returncode == 0

    def put(name: str, text: str, before: str = "") -> None:
        """Write a file, or `text` in the place of `before` into one that is there."""
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        assert there.count(before) == 1 or not before, name
        path.write_text(there.replace(before, text) if before else there + text, encoding="utf-8")

    for name, text in ROLE.items():  # 1
        put(f"roles/toy/{name}", text)
    put("tests/unit/test_toy.py", TEST)
    put("playbooks/group_vars/all/shared.yml", SYSTEM, before="lab_own_systems:")  # 2
    put("playbooks/group_vars/all/shared.yml", "lab_toy_port: 7777\nlab_studies_port: 8889\n", before="lab_studies_port: 8889\n")  # 3
    put("playbooks/group_vars/all/toy.yml", WIRING)
    put("playbooks/start.yml", PLAY)  # 4
    put("playbooks/group_vars/all/credentials.yml", CREDENTIAL, before="\n# Those that create_vault may give")  # 5
    put("molecule/inventory/host_vars/labhost/credentials.yml", "vault_swing_password: canary7q-toy\n")
    put("tests/unit/rendering.py", '    Case("default", "toy", "compose.yml.j2", {"toy_password": CANARY}),\n    *stacks(),\n', before="    *stacks(),\n")  # 7
    written = tool([sys.executable, "tools/role_docs.py"], cwd=root, ANSIBLE_COLLECTIONS_PATH=str(root / "collections"))
    assert written.returncode == 0, written.stdout
    return root


def test_it_costs_few_files(copy: Path, tool: Run) -> None:
    shown = tool(["git", "status", "--porcelain", "--untracked-files=all"], cwd=copy).stdout
    touched = [line[3:] for line in shown.splitlines() if not line[3:].startswith("roles/toy/")]
    assert "playbooks/files/credentials_example.yml" in touched  # by `make docs`
    assert len(touched) <= MOST_FILES, touched


MAPS = [f"tests/repository/test_{name}.py" for name in ("systems", "credentials")]
MORE = [f"tests/{name}.py" for name in ("repository/test_roles", "repository/test_playbooks", "unit/test_templates")]


@pytest.mark.parametrize(
    "chosen",
    [
        [*MAPS, "tests/unit/test_toy.py"],
        pytest.param([*MORE, "-k", "toy or every_play_ or a_play_that or every_role_s_play"], marks=pytest.mark.deep),
    ],
    ids=["maps", "more"],
)
def test_the_project_s_own_tests_take_it(copy: Path, tool: Run, chosen: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *chosen]
    done = tool(command, cwd=copy, ANSIBLE_COLLECTIONS_PATH=str(copy / "collections"))
    assert done.returncode == 0 and re.search(r"[1-9]\d* passed", done.stdout), done.stdout[-6000:]


def test_what_goes_over_all_systems_and_credentials_has_it(copy: Path, tool: Run, tmp_path: Path) -> None:
    options: Any = {"cwd": copy, "ANSIBLE_COLLECTIONS_PATH": str(copy / "collections")}
    made = tool(["ansible-playbook", "playbooks/new_lab.yml", "-i", "localhost,", "-e", f"lab_home={tmp_path}/lab"], **options)
    assert made.returncode == 0, made.stdout
    at = ["-i", tmp_path / "lab/hosts.yml", "--playbook-dir", "playbooks"]
    names = ["lab_projects", "lab_directories", "lab_volumes", "sensitive_files_compose_files", "preflight_ports", "verdict_secrets", "lab_backup_systems"]
    names += ["gateway_pages", "gateway_networks", "verdict_urls", "verdict_users", "verdict_pages", "preflight_address_variables"]
    message = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
    asked = tool(
        ["ansible", "lab_control", *at, "-m", "ansible.builtin.debug", "-a", f"msg={message}"],
        ANSIBLE_CALLBACK_RESULT_FORMAT="json",
        ANSIBLE_VAULT_PASSWORD_FILE=str(tmp_path / "lab/.vault_password"),
        **options,
    )
    assert asked.returncode == 0, asked.stdout
    found = json.loads(asked.stdout.partition("=>")[2])["msg"]
    assert "lab-toy" in found["lab_projects"] and "/opt/lab/toy" in found["lab_directories"] and "lab-toy_cache" in found["lab_volumes"]
    trees = [{"name": "toy_scores", "volume": "lab-toy_scores"}]
    assert {"name": "toy", "project": "lab-toy", "dir": "/opt/lab/toy", "trees": trees} in found["lab_backup_systems"] and "lab-toy_scores" in found[
        "lab_volumes"
    ]
    assert "/opt/lab/toy/compose.yml" in found["sensitive_files_compose_files"]
    assert 7777 in [int(port["port"]) for port in found["preflight_ports"]]
    assert len(found["verdict_secrets"]["vault_swing_password"]) == 32, "a new vault has one"
    assert found["gateway_pages"][-1] == {"name": "Toy", "port": 7777, "upstream": "http://toy:80"} and "lab-toy" in found["gateway_networks"]
    assert (found["verdict_urls"]["Toy"], found["verdict_users"]["Toy"]) == ("http://127.0.0.1:7777", "kid")
    page = {"name": "Toy", "url": "http://127.0.0.1:7777", "path": "/swing", "user": "kid", "password": found["verdict_secrets"]["vault_swing_password"]}
    assert page in found["verdict_pages"] and "toy_bind_address" in found["preflight_address_variables"]
    tasks = tool(["ansible-playbook", "playbooks/start.yml", "-i", tmp_path / "lab/hosts.yml", "--tags", "toy", "--list-tasks"], **options)
    assert "mlops.lab.toy : Start the toy and wait until it answers" in tasks.stdout, tasks.stdout
    example = yaml.safe_load((copy / "playbooks/files/credentials_example.yml").read_text(encoding="utf-8"))
    assert example["vault_swing_password"] == "change-me"
