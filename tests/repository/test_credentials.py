"""The map of the lab's credentials (lab_credentials), from which everything else is derived: it is complete, and nothing beside it lists them again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.filter.short_name import short_name

import role_docs
from tests.conftest import ROOT, Run

CREDENTIALS = {one["name"]: one for one in role_docs.credentials()}
USUAL = {"name", "kind", "hosts", "what"}
KINDS = set(role_docs.options_of(ROOT / "roles/preflight")["preflight_credentials"]["options"]["kind"]["choices"])
# A name in a file that is not a part of another one, of a file's or of a variable's: .vault_password, awx_vault_file
NAME = re.compile(r"(?<![\w./-])vault_[a-z_]*[a-z]\b(?![.]yml)")
NO_CREDENTIALS = {"vault_id"}  # an argument of a filter
READ = [
    *(path for folder in ("playbooks", "roles") for path in sorted((ROOT / folder).rglob("*.yml"))),
    *(path for folder in ("plugins", "tools", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
]
TEXTS = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for path in READ if path not in (role_docs.CREDENTIALS, role_docs.EXAMPLE)}
TOY = {"name": "vault_toy_password", "kind": "password", "min_length": 20, "hosts": ["lab_control", "lab_workers"], "what": "The toy's users"}


def nodes_of(text: str) -> Iterator[yaml.Node]:
    """Yield every part of a YAML text."""
    nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if node:
            yield node
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            nodes += [part for pair in node.value for part in pair]


def listed(text: str) -> set[str]:
    """Return the credentials that a YAML text lists: as keys, as entries, and as names of entries."""
    found = set()
    for node in nodes_of(text):
        parts = [value for key, value in node.value if key.value == "name"] if isinstance(node, yaml.MappingNode) else []
        parts += [key for key, _value in node.value] if isinstance(node, yaml.MappingNode) else node.value if isinstance(node, yaml.SequenceNode) else []
        found |= {part.value for part in parts if isinstance(part, yaml.ScalarNode)}
    return found & CREDENTIALS.keys()


@pytest.fixture(scope="module")
def values(tool: Run) -> Any:
    """Return a function that says what names are in the shipped lab, with other values of variables."""

    def ask(*names: str, **more: Any) -> dict[str, Any]:
        message = "{{ {" + ", ".join(f"'{name}': {name}" for name in names) + "} }}"
        where = ["-i", "localhost,", "--playbook-dir", ROOT / "playbooks", "-e", json.dumps(more), "-c", "local"]
        done = tool(["ansible", "localhost", *where, "-m", "ansible.builtin.debug", "-a", f"msg={message}"], ANSIBLE_CALLBACK_RESULT_FORMAT="json")
        assert done.returncode == 0, done.stdout
        found: dict[str, Any] = json.loads(done.stdout.partition("=>")[2])["msg"]
        return found

    return ask


@pytest.mark.parametrize("name", CREDENTIALS)
def test_an_entry_says_what_is_needed_of_it(name: str) -> None:
    entry = CREDENTIALS[name]
    assert NAME.fullmatch(name) and len(CREDENTIALS) == len(role_docs.credentials())
    assert entry["kind"] in KINDS and len(entry["what"]) > 8
    assert set(entry["hosts"]) <= {"lab_control", "lab_builder", "lab_workers"}
    more = {"user": {"first"}, "password": {"min_length", "without", "kept", "renewed", "elsewhere"}, "certificate": {"key"}, "given": {"secret"}}
    allowed = more.get(entry["kind"], set())
    assert entry.keys() - USUAL - allowed <= {"needed"} and entry.keys() >= USUAL
    assert ("first" in entry) == (entry["kind"] == "user")


def test_every_credential_that_is_named_is_in_the_map_and_each_is_used() -> None:
    named = {(name, str(place)) for place, text in TEXTS.items() if place.parts[0] == "playbooks" for name in NAME.findall(text)}
    for pattern in ("README.md", "docs/*.md", "roles/*/README.md", "benchmarks/README.md"):
        named |= {(name, str(path.relative_to(ROOT))) for path in ROOT.glob(pattern) for name in NAME.findall(path.read_text(encoding="utf-8"))}
    assert {(name, place) for name, place in named if name not in CREDENTIALS.keys() | NO_CREDENTIALS} == set()
    wired = {name for name, place in named if place.startswith("playbooks/group_vars/")}
    assert wired == CREDENTIALS.keys(), "a credential that no role is given"


def test_nothing_beside_the_map_lists_credentials() -> None:
    """What uses one names it as a value: `role_password: "{{ vault_... }}"`, and in `role_names` for messages."""
    found = {str(place): listed(text) for place, text in TEXTS.items() if place.suffix == ".yml"}
    assert {place: names for place, names in found.items() if names} == {}
    assert listed("{vault_ca_key: 1, a: [vault_nexus_pass], b: [{name: vault_redis_password}], c: vault_models_password, '{{ vault_nexus_user }}': 2}") == {
        *("vault_ca_key", "vault_nexus_pass", "vault_redis_password")
    }
    sentences = [f"{place}: {line}" for place, text in TEXTS.items() for line in text.splitlines() if len(set(NAME.findall(line)) & CREDENTIALS.keys()) > 2]
    assert sentences == []


def test_the_credentials_of_the_test_hosts_are_all_that_a_lab_may_need() -> None:
    planted = yaml.safe_load((ROOT / "molecule/inventory/host_vars/labhost/credentials.yml").read_text(encoding="utf-8"))
    assert planted.keys() == {name for name, entry in CREDENTIALS.items() if entry.get("needed") is not False}
    assert not [name for name, entry in CREDENTIALS.items() if entry["kind"] == "password" and "canary7q" not in planted.get(name, "canary7q")]


def test_the_guide_says_of_every_secret_that_a_worker_knows_how_it_is_changed(values: Any) -> None:
    guide = (ROOT / "docs/hosts.md").read_text(encoding="utf-8")
    table = guide.partition("| What it knew |")[2].partition("\n\n")[0]
    found = values("lab_worker_secrets", "lab_renewable")
    renewed = {name for names in re.findall(r"make renew NAME=([a-z_,]+)", table) for name in names.split(",")}
    assert renewed <= set(found["lab_renewable"])
    assert renewed | {short_name(name) for name in NAME.findall(table)} == {short_name(name) for name in found["lab_worker_secrets"]}


def test_a_new_entry_is_made_demanded_looked_for_and_explained(values: Any, tool: Run, tmp_path: Path) -> None:
    """All that CONTRIBUTING.md says a credential costs, beside its use."""
    added = {"lab_credentials": [*role_docs.credentials(), TOY]}
    names = ("preflight_credentials", "verdict_secrets", "verdict_worker_secrets", "verdict_idle_secrets", "preflight_kept")
    found = values(*names, vault_toy_password="t", **added)
    assert found["preflight_credentials"][-1] == {"name": "vault_toy_password", "kind": "password", "min_length": 20}
    assert [one["name"] for one in found["preflight_credentials"]] == [*CREDENTIALS, "vault_toy_password"]
    assert found["verdict_secrets"]["vault_toy_password"] == "t" and "vault_toy_password" in found["verdict_worker_secrets"]
    assert found["verdict_idle_secrets"] == ["vault_nexus_pass", "vault_registry_password"], "what a host has that builds alone"
    assert found["verdict_secrets"].keys() - {"vault_toy_password"} == {
        name for name, entry in CREDENTIALS.items() if entry["kind"] in ("password", "fernet", "given") and entry["hosts"] and entry.get("secret") is not False
    }
    assert [one["name"] for one in found["preflight_kept"]] == ["vault_airflow_db_password", "vault_mlflow_db_password"]
    assert found["preflight_kept"][1]["file"] == "/opt/mlops-lab/mlflow_server/secrets/postgres_password"
    assert found["preflight_kept"][1]["volume"] == "mlops-lab-mlflow_postgres"
    assert role_docs.example_of(added["lab_credentials"], "").endswith("# The toy's users; 20 or more characters\nvault_toy_password: change-me\n")

    (tmp_path / "hosts.yml").write_text("lab:\n", encoding="utf-8")
    done = tool(["ansible-playbook", "playbooks/create_vault.yml", "-i", "localhost,", "-e", f"lab_home={tmp_path}", "-e", json.dumps(added)])
    assert done.returncode == 0, done.stdout
    vault = tool(["ansible-vault", "view", "--vault-password-file", tmp_path / ".vault_password", tmp_path / "group_vars/lab/vault.yml"]).stdout
    assert list(yaml.safe_load(vault)) == [*CREDENTIALS, "vault_toy_password"] and len(yaml.safe_load(vault)["vault_toy_password"]) == 32


def test_the_example_is_current_and_a_stale_one_is_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = role_docs.EXAMPLE.read_text(encoding="utf-8")
    assert text == role_docs.example_of(role_docs.credentials(), text), "run `make docs`"
    assert list(yaml.safe_load(text)) == list(CREDENTIALS)
    monkeypatch.setattr(role_docs, "credentials", lambda: [*CREDENTIALS.values(), TOY])
    assert role_docs.main(["--check"]) == 1
    assert "playbooks/files/credentials_example.yml is not current: run `make docs`" in capsys.readouterr().out
