"""What the collection wires together: every value goes to a role that knows it. And what a new lab is given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import role_docs
from tests.conftest import ROOT

GROUP_VARS = ROOT / "playbooks/group_vars/all"
SAMPLE = ROOT / "playbooks/templates/lab"
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
FILES = sorted(GROUP_VARS.glob("*.yml"))
SHARED = ("shared", "credentials")  # what more than one role needs


def values(path: Path) -> dict[str, Any]:
    """Return the variables of an inventory file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variable_is_known_where_it_goes(path: Path) -> None:
    if path.stem == "ansible":
        assert all(name.startswith("ansible_") for name in values(path))
    elif path.stem in SHARED:
        assert all(name.startswith("lab_") for name in values(path))
    else:
        assert path.stem in ROLES, "a file of values is named after the role that reads them"
        assert values(path).keys() - role_docs.options_of(ROOT / "roles" / path.stem).keys() == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_required_variable_has_a_value(role: str) -> None:
    required = {name for name, option in role_docs.options_of(ROOT / "roles" / role).items() if option.get("required")}
    given = values(GROUP_VARS / f"{role}.yml").keys() if (GROUP_VARS / f"{role}.yml").exists() else set()
    assert required - given == set()


def test_every_shared_name_that_is_used_exists() -> None:
    shared = {name for stem in SHARED for name in values(GROUP_VARS / f"{stem}.yml")}
    used = {name for path in FILES for name in re.findall(r"{{[^}]*?\b(lab_(?!control|workers|builder)\w+)", path.read_text(encoding="utf-8"))}
    assert used - shared == set()


def test_hosts_yml_holds_hosts_and_groups_only() -> None:
    hosts = values(SAMPLE / "hosts.yml.j2")
    groups = hosts["lab"]["children"]
    assert hosts.keys() == {"plugin", "lab"} and groups.keys() == {"lab_control", "lab_workers", "lab_builder"}
    assert {tuple(group["hosts"]) for group in groups.values()} == {("localhost",)}


def test_a_new_lab_s_values_are_shown_with_their_defaults() -> None:
    text = (SAMPLE / "lab.yml.j2").read_text(encoding="utf-8")
    shown = yaml.safe_load(
        re.sub(r"^# (?=\w+: )", "", text, flags=re.M).replace("{{ new_lab_name }}", "NAME").replace("{% raw %}", "").replace("{% endraw %}", "")
    )
    known: dict[str, Any] = {}
    for path in [*(ROOT / "roles").glob("*/defaults/main.yml"), *FILES]:
        known |= values(path)
    written = {name: value.replace("{{ lab_name }}", "NAME") if isinstance(value, str) else value for name, value in known.items()}
    assert {name for name, value in shown.items() if value != written[name]} == {"lab_name"}
    assert len(text.splitlines()) <= 59
