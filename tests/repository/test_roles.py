"""Every role has the same anatomy, and what it says about itself is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import role_docs
from tests.conftest import ROOT

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
NAMES = [role.name for role in ROLES]


@cache
def read(path: Path) -> Any:
    """Return the content of a YAML file, or an empty dictionary where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def described(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every option with its name, those inside dictionaries too."""
    for name, option in options.items():
        yield prefix + name, option
        yield from described(option.get("options", {}), f"{prefix}{name}.")


def code_of(role: Path) -> Iterator[Path]:
    """Yield what a role runs: tasks, handlers, templates, internal and public variables."""
    for folder in ("defaults", "handlers", "tasks", "templates", "vars"):
        yield from sorted(path for path in (role / folder).rglob("*") if path.is_file())


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_newcomer_finds_values_spec_readme_and_tests(role: Path) -> None:
    for part in ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        assert (role / part).is_file(), f"roles/{role.name}/{part} is missing"
    assert list((ROOT / "tests").glob(f"*/test_{role.name}*.py")), f"there is no tests/unit/test_{role.name}*.py and no tests/testinfra/test_{role.name}*.py"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_the_metadata_say_what_the_role_runs_on(role: Path) -> None:
    said = read(role / "meta/main.yml")["galaxy_info"]
    assert said["role_name"] == role.name and said["license"] == "Apache-2.0" and said["author"] and len(said["description"]) > 20
    assert read(ROOT / "meta/runtime.yml")["requires_ansible"].startswith(f">={said['min_ansible_version']}.")
    codenames = {"bookworm": "debian 12", "trixie": "debian 13", "noble": "ubuntu 24.04"}
    assert [codenames[name] for platform in said["platforms"] for name in platform["versions"]] == read(ROOT / "roles/preflight/defaults/main.yml")[
        "preflight_systems"
    ]


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_defaults_equal_the_argument_spec(role: Path) -> None:
    options, defaults = role_docs.options_of(role), read(role / "defaults/main.yml")
    required = {name for name, option in options.items() if option.get("required")}
    assert defaults.keys() - options.keys() == set(), "defaults that the spec does not know"
    assert options.keys() - required - defaults.keys() == set(), "options without a default that the spec does not require"
    assert required & defaults.keys() == set(), "options that are required although they have a default"
    assert {name: options[name].get("default") for name in defaults} == defaults


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_every_option_is_typed_described_and_prefixed(role: Path) -> None:
    for name, option in described(role_docs.options_of(role)):
        assert name.startswith(f"{role.name}_"), f"{name} does not begin with the role's name"
        assert option.get("type"), f"{name} has no type"
        assert role_docs.text_of(option.get("description") or "").strip(), f"{name} has no description"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_the_readme_s_table_is_current(role: Path) -> None:
    readme = role / "README.md"
    assert readme.is_file() and readme.read_text(encoding="utf-8") == role_docs.readme_of(role), "run `make docs`"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_role_reads_nothing_but_its_own_variables(role: Path) -> None:
    others = "|".join(name for name in NAMES if name != role.name)
    foreign = re.compile(rf"\b(?:hostvars|groups)\b\[|\b(?:{others})_[a-z]\w*|\bvault_\w+|\blab_\w+")
    own = re.compile(rf"\b_*{role.name}_\w+")
    found = []
    for path in code_of(role):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith("#"):
                continue
            expressions = " ".join(re.findall(r"{{.*?}}|{%.*?%}|^\s*(?:- )?(?:when|that|loop|until|failed_when|changed_when):.*", line))
            found += [f"{path.relative_to(ROOT)}:{number}: {match[0]}" for match in foreign.finditer(own.sub("", expressions))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_tags_are_set_in_playbooks_alone(role: Path) -> None:
    tagged = [path for folder in ("tasks", "handlers") for path in (role / folder).rglob("*.yml") if re.search(r"^\s*(?:- )?tags:", path.read_text(), re.M)]
    assert not tagged
