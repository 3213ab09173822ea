"""The shipped inventory: every value goes to a role that knows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import role_docs
from tests.conftest import ROOT

GROUP_VARS = ROOT / "inventories/lab/group_vars/all"
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
FILES = sorted(path for path in GROUP_VARS.glob("*.yml") if path.name != "vault.yml")


def values(path: Path) -> dict[str, Any]:
    """Return the variables of an inventory file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variable_is_known_where_it_goes(path: Path) -> None:
    if path.stem == "ansible":
        assert all(name.startswith("ansible_") for name in values(path))
    elif path.stem == "shared":
        assert all(name.startswith("lab_") for name in values(path))
    else:
        assert path.stem in ROLES, "a file of values is named after the role that reads them"
        assert values(path).keys() - role_docs.options_of(ROOT / "roles" / path.stem).keys() == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_required_variable_has_a_value(role: str) -> None:
    required = {name for name, option in role_docs.options_of(ROOT / "roles" / role).items() if option.get("required")}
    given = values(GROUP_VARS / f"{role}.yml").keys() if (GROUP_VARS / f"{role}.yml").exists() else set()
    assert required - given == set()


def test_every_credential_that_is_used_is_in_the_example() -> None:
    used = {name for path in FILES for name in re.findall(r"(?<![.])\bvault_\w+", path.read_text(encoding="utf-8"))}
    assert used == values(GROUP_VARS / "vault.yml.example").keys()


def test_every_shared_name_that_is_used_exists() -> None:
    shared = values(GROUP_VARS / "shared.yml").keys()
    used = {name for path in FILES for name in re.findall(r"{{[^}]*?\b(lab_(?!check_|control|workers|builder)\w+)", path.read_text(encoding="utf-8"))}
    assert used - shared == set()


def test_hosts_yml_holds_hosts_and_groups_only() -> None:
    groups = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))
    assert groups == {group: {"hosts": {"localhost": None}} for group in ("lab_control", "lab_workers", "lab_builder")}
