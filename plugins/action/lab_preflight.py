# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge one host, and on the first host of the play the inventory and the credentials. See the module of this name."""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime
import difflib
import functools
import hashlib
import importlib.util
import ipaddress
import itertools
import os
import re
import secrets
import socket
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
import yaml
from ansible.errors import AnsibleAction, AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.module_utils.urls import open_url
from ansible.plugins.action import ActionBase
from ansible.template import Templar
from ansible.utils.vars import load_extra_vars
from ansible_collections.mlops.lab.plugins.module_utils import package_index
from ansible_collections.mlops.lab.plugins.module_utils.lab_machine import clock_offset
from ansible_collections.mlops.lab.plugins.modules.lab_preflight import DOCUMENTATION
from ansible_collections.mlops.lab.plugins.plugin_utils import requirement_sources
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec
from ansible_collections.mlops.lab.plugins.plugin_utils.networks import is_network

try:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from packaging.utils import canonicalize_name, parse_wheel_filename
    from packaging.version import InvalidVersion, Version
except ImportError:  # nowhere but in ansible-test's import test: ansible-core needs both
    pass

VAULT_HEADER = "$ANSIBLE_VAULT"
FERNET_BYTES = 32
YAML_NAMES = (".yml", ".yaml", ".json", "")
ROLES = Path(__file__).parent.parent.parent / "roles"
MARKERS = ("{{", "{%", "{#")
OWN_VALUES = Path("group_vars/lab/lab.yml")
"""Where a lab's own values are, in its folder."""
DEFAULT_QUEUE = "default"
"""Airflow's own, where every task is that names none."""
HOST_QUEUE = "host."
"""How the queue begins that one worker alone consumes; the name of its host follows."""
ADDRESS = "lab_address"
"""The variable with the address by which others reach a host."""
NAME = "lab_name"
"""What the lab is called."""
NETWORKS = "lab_allowed_networks"
"""The variable with the networks that reach the pages at a gateway."""
EGRESS = "lab_egress_networks"
"""The variable with the networks that tasks on the workers reach beside the lab."""
MLFLOW = "lab_mlflow_url"
"""An MLflow elsewhere."""
REGISTRY = "lab_image_registry"
"""The variable with the registry that is there already, for the image of several hosts."""
OF_A_HOST = (ADDRESS, "lab_worker_queues", "lab_data_dir", "lab_output_dir", "lab_staging_dir")
"""The lab's values that hosts may have otherwise than one another."""
REACHED = "lab_reached"
"""The group of the hosts that a run reached, where it looked."""
SEVERAL_SINCE = "3.3"
"""The first Airflow whose workers can be on other hosts."""
MANY = 20
"""Values without effect that were not written by hand: the wiring of an older version."""
CHECKED_TYPES: dict[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


class Inventory:
    """The text of the inventory and the playbooks: where a variable is set, and whether anything uses it."""

    def __init__(self, sources: Iterable[str], playbooks: str | None = None, command_line: Mapping[str, Any] | Iterable[str] = ()) -> None:
        """Read the inventory sources, the ``group_vars`` and ``host_vars`` beside them, and the playbooks.

        Args:
            sources: files and directories of the inventory.
            playbooks: directory of the playbooks.
            command_line: what was set with ``-e``, names alone or with their values.
        """
        self.command_line = set(command_line)
        # A job of AWX has the answers of its survey with -e, and its secrets from credentials; nobody there types -e or edits a file.
        self.awx = "awx_job_id" in self.command_line
        self.answered = {name for name in command_line if str(command_line[name]).strip()} if isinstance(command_line, Mapping) else self.command_line
        self.texts: dict[Path, list[str]] = {}
        if playbooks:
            self._read(self._files(Path(playbooks), recursive=False))
            self._read(self._files(Path(playbooks, "tasks"), recursive=True))
        self.playbooks = set(self.texts)
        places = [(source, source if source.is_dir() else source.parent) for source in map(Path, sources)]
        # In the order of their precedence: what the collection brings wins over an inventory's group_vars/all.
        before = set(self.texts)
        for source, base in places:
            self._read([source] if source.is_file() else self._files(base, recursive=False))
        self.hosts = [path for path in self.texts if path not in before]
        before = set(self.texts)
        for _source, base in places:
            self._read([path for path in self._files(base / "group_vars", recursive=False) if path.stem == "all"])
            self._read(self._files(base / "group_vars/all", recursive=True))
        self.for_all = [path for path in self.texts if path not in before]
        before = set(self.texts)
        if playbooks:
            self._read(self._files(Path(playbooks, "group_vars/all"), recursive=True))
        self.wiring = [path for path in self.texts if path not in before]
        for _source, base in places:
            for kind in ("group_vars", "host_vars"):
                self._read(self._files(base / kind, recursive=True))
        self.home = places[0][1] if places else Path()

    @functools.cached_property
    def of_groups(self) -> dict[Path, set[str]]:
        """The variables that each file of hosts sets for its groups."""
        return {path: group_variables(self.texts[path]) for path in self.hosts}

    @functools.cached_property
    def keys(self) -> dict[Path, dict[str, list[int]]]:
        """The numbers of the lines of each file on which a key stands, the last one first."""
        anywhere = re.compile(r"""\s*(?:-\s+)?(["']?)([^\s"':=]+)\1\s*[:=]""")
        outermost = re.compile(r"""(["']?)([^\s"':=]+)\1\s*:""")  # what is further in is a key of another variable's value
        found: dict[Path, dict[str, list[int]]] = {}
        for path, lines in self.texts.items():
            pattern = outermost if {"group_vars", "host_vars"} & set(path.parts) and path.suffix != ".json" else anywhere
            of_file = found[path] = {}
            for number in range(len(lines), 0, -1):
                if key := pattern.match(lines[number - 1]):
                    of_file.setdefault(key[2], []).append(number)
        return found

    @staticmethod
    def _files(directory: Path, *, recursive: bool) -> list[Path]:
        """Return the files that Ansible reads as variables or hosts in a directory."""
        found = sorted(directory.glob("**/*" if recursive else "*"))
        return [path for path in found if path.is_file() and path.suffix in YAML_NAMES and not path.name.startswith(".")]

    def _read(self, paths: list[Path]) -> None:
        for path in paths:
            try:
                self.texts.setdefault(path, path.read_text(encoding="utf-8").splitlines())
            except (OSError, UnicodeDecodeError):
                continue

    @classmethod
    def of_task(cls, loader: Any, task_vars: Mapping[str, Any]) -> Inventory:
        """Read the inventory of a task. An answer to a question of a survey that is empty sets nothing."""
        given = {name for name, value in load_extra_vars(loader).items() if value != "" or not name.startswith("survey_")}
        return cls(task_vars.get("ansible_inventory_sources") or [], task_vars.get("playbook_dir"), given)

    def where(self, name: str, holding: str = "") -> str:
        """Return the words that say where a variable is set, "" where no file sets it in clear text.

        Of several places it is the one that Ansible lets win: the files were read in the order of their precedence.

        Args:
            name: the variable.
            holding: a part of its value, whose line is wanted instead of the first one.
        """
        if f"survey_{name}" in self.answered:
            return "in the survey"
        if name in self.command_line:
            return "in the survey" if self.awx else "with -e"
        ours = ""
        for path, lines in reversed(self.texts.items()):
            if ours and (path not in self.hosts or name in self.of_groups[path]):
                continue  # a host's own value alone wins over the collection's
            for number in self.keys[path].get(name, ()):
                if path not in self.playbooks or parent(lines, number) in ("vars:", "- vars:"):
                    end = next((n for n in range(number, len(lines)) if re.match(r"[\w'\"]", lines[n])), len(lines))
                    part = re.compile(rf"(?<![\w.-]){re.escape(holding)}(?![\w.-])")
                    inside = (n + 1 for n in range(number - 1, end) if holding and part.search(lines[n]))
                    if path in self.wiring:
                        ours = f"by the collection itself (yours goes into {self.own_values()})"
                        break
                    return f"in {shown_path(path)}:{next(inside, number)}"
        return ours

    def own_values(self) -> str:
        """Return the words for the place of a lab's own values."""
        return "the inventory of the controller" if self.awx else shown_path(self.home / OWN_VALUES)

    def where_of_host(self, name: str, host: str) -> str:
        """Return the words that say where a variable is set for one host: in its host_vars, or beside its name in a file of hosts; "" where neither has it."""
        own = re.compile(rf"""^(["']?){re.escape(name)}\1\s*:""")
        for path, lines in reversed(self.texts.items()):
            if "host_vars" in path.parts and path.parts[path.parts.index("host_vars") + 1].removesuffix(path.suffix) == host:
                for number, line in enumerate(lines, 1):
                    if own.match(line):
                        return f"in {shown_path(path)}:{number}"
        for path in self.hosts:
            if number := host_line(self.texts[path], host, name):
                return f"in {shown_path(path)}:{number}"
        return ""

    def clear(self, name: str) -> bool:
        """Tell whether a variable's value can be read in a file."""
        place = self.where(name)
        path, _colon, number = place.removeprefix("in ").rpartition(":")
        lines = next((lines for file, lines in self.texts.items() if shown_path(file) == path), [])
        return bool(lines) and "!vault" not in lines[int(number) - 1]

    def otherwise(self) -> str:
        """Return the words for a variable that no file sets in clear text."""
        return "in the controller's inventory" if self.awx else "by a plugin of the inventory"

    def vault(self, name: str = "") -> str:
        """Return the words that say where the credential of this name is set, or where credentials are."""
        if not self.awx:
            vaults = self.encrypted()
            return f"in {shown_path(vaults[0])}" if vaults else "in the inventory's vault"
        if not name:
            return "in the controller's credentials"
        kind = "Nexus" if name.startswith("vault_nexus_") and "nexus_credentials_file" in self.command_line else "Encrypted vault"
        return f"in the controller's credential of type {kind}"

    def encrypted(self) -> list[Path]:
        """Return the files that are encrypted as a whole."""
        return [path for path, lines in self.texts.items() if lines and lines[0].startswith(VAULT_HEADER)]

    @functools.cached_property
    def used(self) -> set[str]:
        """The words of all lines that are in a value, the names of variables among them."""
        word = re.compile(r"\b\w+\b(?!\s*:)")
        return {found for lines in self.texts.values() for line in lines for found in word.findall(line.split("#", 1)[0])}


def names_in(lines: Sequence[str]) -> list[str]:
    """Return the variables that a file of variables sets."""
    return [match[2] for line in lines if (match := re.match(r"""(["']?)(\w+)\1\s*:""", line))]


def group_variables(lines: Sequence[str]) -> set[str]:
    """Return the variables that a file of hosts sets for its groups."""

    def walk(groups: Any) -> Iterable[str]:
        for group in groups.values() if isinstance(groups, Mapping) else ():
            if isinstance(group, Mapping):
                yield from (str(name) for name in group.get("vars") or ())
                yield from walk(group.get("children"))

    with contextlib.suppress(yaml.YAMLError):
        document = yaml.safe_load("\n".join(lines))
        if isinstance(document, Mapping):
            return set(walk(document))
    found, section = set[str](), ""
    for line in lines:  # an INI file
        section = match[1] if (match := re.match(r"\[(.+)\]\s*$", line)) else section
        if section.endswith(":vars") and (match := re.match(r"(\w+)\s*=", line)):
            found.add(match[1])
    return found


def host_line(lines: Sequence[str], host: str, name: str) -> int:
    """Return the line of a file of hosts, in YAML or INI, that sets a variable for one host; 0 for none. The first line is 1."""
    key, variable = rf"""\s*(["']?){re.escape(host)}\1\s*:""", rf"""(?<![\w.-])(["']?){re.escape(name)}\1\s*[:=]"""
    depth = -1
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        if re.match(key, line) or re.match(rf"{re.escape(host)}\s", line):
            depth = indent
            rest = line[indent + len(host) :]
        elif depth >= 0 and indent > depth:
            rest = line
        else:
            depth, rest = -1, ""
        if re.search(variable, rest.split(" #", 1)[0]):
            return number
    return 0


def without_effect(inventory: Inventory) -> tuple[list[str], bool]:
    """Report values that are set where the collection's own values win; and tell whether the wiring of an older version is there."""
    ours = {name for path in inventory.wiring for name in names_in(inventory.texts[path])}
    own = shown_path(inventory.home / OWN_VALUES)
    problems, of_all = list[str](), dict[Path, list[str]]()
    for path in inventory.for_all:
        if names := [name for name in names_in(inventory.texts[path]) if name in ours]:
            of_all[path] = names
    if sum(map(len, of_all.values())) >= MANY:
        folder = shown_path(next(iter(of_all)).parent)
        vault = shown_path(inventory.home / OWN_VALUES.with_name("vault.yml"))
        return [
            f"{folder} holds what an older version wanted in every inventory, and what the collection brings itself now: "
            f"move the values that you changed to {own}, a vault to {vault}, and remove {folder}."
        ], True
    of_group = f"{shown_path(inventory.home)}/group_vars/<group>/{OWN_VALUES.name}, with the name of the group"
    places = [(names, f"set in {shown_path(path)}", " over group_vars/all", own) for path, names in of_all.items()]
    for path in inventory.hosts:
        given, place = inventory.of_groups[path] & ours, f"set for a group in {shown_path(path)}"
        places += [(sorted(given.difference(OF_A_HOST)), place, "", own), (sorted(given.intersection(OF_A_HOST)), place, "", of_group)]
    for found, place, over, there in places:
        if found:
            has, them = ("has", "it") if len(found) == 1 else ("have", "them")
            problems.append(f"{', '.join(found)}, {place}, {has} no effect there, since the collection's own values win{over}: move {them} to {there}.")
    return problems, False


def outside_of_lab(groups: Mapping[str, list[str]], hosts: Iterable[str], inventory: Inventory, sources: str) -> list[str]:
    """Report hosts of the lab that are not in group `lab`, whose values they would not have."""
    members = {host for part in ("lab_control", "lab_workers", "lab_builder") for host in groups.get(part, [])}
    outside = [host for host in hosts if host in members and host not in groups.get("lab", [])]
    if not outside:
        return []
    where = "no value of the lab counts" if inventory.awx else f"no value in {shown_path(inventory.home / OWN_VALUES.parent)} counts"
    verb = "is" if len(outside) == 1 else "are"
    return [
        f"{', '.join(outside)} {verb} not in group lab, so that {where} there; set in {sources}: make lab_control, lab_builder and lab_workers children of lab."
    ]


def parent(lines: Sequence[str], number: int) -> str:
    """Return the line that a line of YAML belongs to, by their indentation; "" for none. The first line is 1."""
    depth = len(lines[number - 1]) - len(lines[number - 1].lstrip())
    above = (line for line in reversed(lines[: number - 1]) if line.strip() and len(line) - len(line.lstrip()) < depth)
    return next(above, "").strip()


def shown_path(path: Path) -> str:
    """Return the path as a user would type it: relative where it is below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def inventory_sources(task_vars: Mapping[str, Any]) -> str:
    """Return the words for the files of the inventory."""
    return " and ".join(shown_path(Path(source)) for source in task_vars.get("ansible_inventory_sources") or ["no inventory"])


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that a typing error most likely meant, "" where none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return near[0] if near else ""


def set_at(inventory: Inventory, name: str, default: str = "") -> str:
    """Return the words that say where a variable is set."""
    return inventory.where(name) or default or inventory.otherwise()


def stop(count: int, what: str, problems: Sequence[str]) -> dict[str, Any]:
    """Return, or raise, a failure whose message has each problem in a line of its own.

    ansible-core 2.19 prints the message of a failure twice, as an error and in the task's result, and lets both be different.
    """
    message = "\n- ".join([f"{count} to put right {what}:", *problems])
    if hasattr(AnsibleAction, "result_contribution"):
        raise AnsibleAction(f"{count} to put right, each in a line below", result={"changed": False, "msg": message})
    return {"changed": False, "failed": True, "msg": message}


@functools.cache
def read_specs(roles: Path) -> dict[str, dict[str, Any]]:
    """Return the options of every role, over all its entry points: role name -> option name -> its specification."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        document = yaml_load(path.read_text(encoding="utf-8")) or {}
        options: dict[str, Any] = {}
        for entry in (document.get("argument_specs") or {}).values():
            options.update(entry.get("options") or {})
        found[path.parent.parent.name] = options
    return found


def role_of(name: str, roles: Iterable[str]) -> str:
    """Return the role whose prefix a variable's name carries, "" for none."""
    owners = [role for role in roles if name.startswith(f"{role}_")]
    return max(owners, key=len, default="")


#: A role that is three now, and where the one of its variables went that all of them read.
FORMER_ROLE, ITS_HEIRS, MOVED = "lab_check", ("preflight", "first_model", "verdict"), {"lab_check_experiment": "lab_first_experiment"}


def renamed(name: str, specs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what a variable of a former role is called now, "" where it is none."""
    if not name.startswith(f"{FORMER_ROLE}_"):
        return ""
    heirs = [heir + name.removeprefix(FORMER_ROLE) for heir in ITS_HEIRS]
    return MOVED.get(name) or " and ".join(heir for role, heir in zip(ITS_HEIRS, heirs, strict=True) if heir in specs.get(role, {}))


def unknown_names(names: Iterable[str], specs: Mapping[str, Mapping[str, Any]], inventory: Inventory) -> list[str]:
    """Report variables that carry a role's prefix but that the role does not know, and ``lab_`` names nobody uses."""
    problems = []
    # A job in AWX is told about itself with -e, in names that begin as those of role awx do.
    by_awx = {name for name in inventory.command_line if name.startswith("awx_")} if "awx_job_id" in inventory.command_line else set()
    for name in sorted(set(names) - by_awx):
        role = role_of(name, specs)
        if role:
            wrong = name not in specs[role]
            reason = f"role {role} has no such variable"
        else:
            wrong = name.startswith("lab_") and name not in inventory.used
            reason = "nothing in the inventory uses it"
        if wrong and (now := renamed(name, specs)):
            problems.append(f"Variable {name}, set {set_at(inventory, name)}, is called {now} now: write that name.")
        elif wrong:
            lines = itertools.chain.from_iterable(inventory.texts.values())
            known = specs[role] if role else [word for line in lines for word in re.findall(r"\blab_\w+", line) if word != name]
            guess = closest(name, known)
            remedy = f"did you mean {guess}?" if guess else "remove it."
            problems.append(f"Unknown variable {name}, set {set_at(inventory, name)}: {reason}; {remedy}")
    return problems


def is_port(value: Any) -> bool:
    """Tell whether a value is the number of a port, as a number or as -e and AWX hand it over."""
    return not isinstance(value, bool) and re.fullmatch(r"[1-9][0-9]{0,4}", str(value)) is not None and int(value) < 1 << 16


def fits(value: Any, kind: str) -> bool:
    """Tell whether Ansible would accept a value as this type."""
    if kind == "bool":
        try:
            boolean(value)
        except TypeError:
            return False
        return True
    if kind in ("int", "float"):
        try:
            (int if kind == "int" else float)(str(value))
        except ValueError:
            return False
        return not isinstance(value, bool)
    if kind == "list":
        return isinstance(value, (list, tuple, str, int, float))
    return isinstance(value, Mapping) if kind == "dict" else True


def source_of(name: str, raw_of: Callable[[str], Any], inventory: Inventory) -> str:
    """Return the variable that a user wrote the value of: what one variable hands on to another is nobody's mistake there."""
    seen = {name}
    while True:
        reference = re.fullmatch(r"\{\{\s*(\w+)\s*\}\}", str(raw_of(name)))
        if reference is None or reference[1] in seen or not inventory.where(reference[1]):
            return name
        name = reference[1]
        seen.add(name)


def wrong_values(
    names: Iterable[str],
    specs: Mapping[str, Mapping[str, Any]],
    value_of: Callable[[str], Any],
    inventory: Inventory,
    raw_of: Callable[[str], Any] = str,
    host: str = "",
) -> list[str]:
    """Report variables whose value has not the type, or is not among the choices, that the role asks for; each where a user wrote it, and once.

    Args:
        names: the variables.
        specs: options of the roles, as :func:`read_specs` returns them.
        value_of: returns a variable's value, or raises :class:`AnsibleError` where it cannot be known yet.
        inventory: where variables are set.
        raw_of: returns a variable's value as it is written.
        host: whose values they are.
    """
    problems: dict[str, str] = {}
    for name in sorted(set(names)):
        option = specs.get(role_of(name, specs), {}).get(name)
        if option is None:
            continue
        try:
            value = value_of(name)
        except AnsibleError as error:
            if asked := re.search(r"The survey asks for .*", str(error)):  # an expression of the filter awx_inventory refuses an answer
                problems[name] = asked.group()
            continue
        secret = option.get("no_log", False) or bool(re.search(r"pass|secret|key|token|credential", name))
        shown = "its value" if secret else f"'{value}'"
        kind, choices = option.get("type", "str"), option.get("choices")
        no_port = kind == "int" and name.endswith("_port") and not is_port(value)
        unfit = kind in CHECKED_TYPES and not fits(value, kind)
        other = bool(choices) and kind in ("str", "int") and value not in choices
        if value is None or not (no_port or unfit or other):
            continue
        source = source_of(name, raw_of, inventory)
        place = (host and inventory.where_of_host(source, host)) or set_at(inventory, source)
        if no_port:
            problems[source] = port_problem(source, place, value)
        elif unfit:
            problems[source] = f"{source}, set {place}: {shown} is not {CHECKED_TYPES[kind]}; write {CHECKED_TYPES[kind]}."
        else:
            problems[source] = f"{source}, set {place}: {shown} is not possible; write one of {', '.join(map(str, choices))}."
    return list(problems.values())


def port_problem(variable: str, place: str, value: Any) -> str:
    """Return the sentence about a value that is no port."""
    return f"{variable}, set {place}, is '{value}', which is no port: write a whole number from 1 to 65535, and no spaces."


def parses(value: Any) -> bool:
    """Tell whether all texts in a value are expressions that Jinja reads, whatever they refer to."""
    if isinstance(value, Mapping):
        return all(map(parses, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(parses, value))
    try:
        jinja2.Environment().parse(str(value))
    except jinja2.TemplateSyntaxError:
        return False
    return True


def unreadable_values(names: Iterable[str], variables: Mapping[str, Any], value_of: Callable[[str], Any], inventory: Inventory) -> list[str]:
    """Report values that Ansible cannot read: they refer to names that are not defined, or are no expressions.

    Args:
        names: the variables to look at.
        variables: all that is defined, as it is written.
        value_of: returns a variable's value, or raises :class:`AnsibleError`.
        inventory: where variables are set.
    """
    missing: dict[str, list[str]] = {}
    problems = []
    for name in sorted(set(names)):
        try:
            value_of(name)
        except AnsibleError as error:
            undefined = re.search(r"'(\w+)' is undefined", str(error))
            if undefined and undefined[1] not in variables and not undefined[1].startswith("ansible_"):
                if re.search(rf"\b{re.escape(undefined[1])}\b", str(variables[name])):  # not what only refers to a variable that does
                    missing.setdefault(undefined[1], []).append(name)
            elif not parses(variables[name]):
                problems.append(
                    f"{name}, set {set_at(inventory, name)}, has {{{{, {{% or {{# in it and is no expression: correct it, or write !unsafe before the value."
                )
    for name, users in missing.items():
        shown = " and ".join(f"{user}, set {set_at(inventory, user)}," for user in users[:2])
        more = f" and {len(users) - 2} more" if len(users) > 2 else ""
        guess = closest(name, variables)
        remedy = f"did you mean {guess}?" if guess else f"define {name}, or correct the name."
        problems.append(f"{shown}{more} {'refers' if len(users) == 1 else 'refer'} to {name}, which is not defined: {remedy}")
    return problems


def group_problems(wanted: Iterable[Mapping[str, Any]], groups: Mapping[str, list[str]], inventory: str) -> list[str]:
    """Report groups that are missing, or have too few or too many hosts."""
    problems = []
    for group in wanted:
        name, least, most = group["name"], int(group.get("min", 1)), int(group.get("max", 0))
        hosts = list(groups.get(name, []))
        expected = f"exactly {least}" if least == most else f"at least {least}" if not most else f"{least} to {most}"
        if least <= len(hosts) and (not most or len(hosts) <= most):
            continue
        found = "is missing" if name not in groups else f"has {len(hosts)} hosts ({', '.join(hosts)})" if hosts else "has no host"
        guess = "" if name in groups else closest(name, groups)
        remedy = f"did you mean it by {guess}?" if guess else f"list {expected} there."
        problems.append(f"Group {name} {found}, it needs {expected}; set in {inventory}: {remedy}")
    return problems


def credential_fault(value: Any, kind: str, min_length: int, placeholders: Iterable[str], example: Any, without: str = "") -> str:
    """Return what is wrong with a credential's value, "" when it can be used. The words never contain the value."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if not text.strip():
        return "is empty"
    if (kind != "user" and text == example) or text.strip().lower() in {p.lower() for p in placeholders} or re.fullmatch(r"<.*>", text.strip()):
        return "still has the example's placeholder"
    if kind in ("private_key", "certificate"):
        return pem_fault(text, kind)
    if text != text.strip() or "\n" in text:
        return "begins or ends with white space or has more than one line"
    if any(character in text for character in without):
        return f"holds one of the characters {' '.join(without)}, which its program cannot take"
    if kind == "password" and len(text) < min_length:
        return f"has {len(text)} characters, it needs at least {min_length}"
    if kind == "fernet":
        for key in text.split(","):
            try:
                raw = base64.b64decode(key.strip().encode("ascii"), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError, UnicodeEncodeError):
                raw = b""
            if len(raw) != FERNET_BYTES:
                return f"is not a Fernet key ({FERNET_BYTES} bytes in URL-safe base64)"
    return ""


def pem_fault(text: str, kind: str) -> str:
    """Return what is wrong with a key or a certificate in PEM, of several lines, "" when it can be used. The words never contain the value."""
    no_key = "is no private key in PEM (from BEGIN PRIVATE KEY to END, line by line)"
    no_certificate = "is no certificate in PEM (from BEGIN CERTIFICATE to END, line by line)"
    if not re.search(r"^-----BEGIN [A-Z0-9 ]+-----$", text, re.MULTILINE):  # on one line with the rest: Python reads that, OpenSSL does not
        return no_key if kind == "private_key" else no_certificate
    if kind == "private_key":
        try:
            serialization.load_pem_private_key(text.encode(), None)
        except TypeError:
            return "has a passphrase, which nobody is there to type: write the key without one"
        except (ValueError, UnsupportedAlgorithm):
            return no_key
        return ""
    try:
        chain = authorities(text)
        signs = [is_authority(certificate) for certificate in chain]
        [certificate.public_key() for certificate in chain]
    except (ValueError, UnsupportedAlgorithm):
        return no_certificate
    if not all(signs):
        return "is not the certificate of an authority (CA:TRUE)"
    for certificate in chain:
        end = getattr(certificate, "not_valid_after_utc", None)  # which versions of the library before 42 have not
        if end and end < datetime.datetime.now(datetime.UTC):
            return f"expired on {end:%Y-%m-%d}"
    # PostgreSQL's and other clients accept nothing that does not end in a root.
    for certificate, next_one in zip(chain, [*chain[1:], chain[-1]], strict=True):
        if certificate.issuer in (certificate.subject, next_one.subject):
            continue
        if any(certificate.issuer == other.subject for other in chain):
            return "has its certificates in another order than that of the chain, the one that signs first and the root last"
        return f"lacks the certificate of {certificate.issuer.rfc4514_string()}, which signed it (that of the root comes last)"
    return ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may sign others."""
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def authorities(text: str) -> list[x509.Certificate]:
    """Return the certificates of a chain, one after the other: versions of the library before 39 read the first alone."""
    found = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in found or [text]]


def belong_together(key: str, certificate: str) -> bool:
    """Tell whether a private key is that of a certificate, of the first one of a chain; both are PEM that can be read."""
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    mine = serialization.load_pem_private_key(key.encode(), None).public_key().public_bytes(*form)
    return mine == authorities(certificate)[0].public_key().public_bytes(*form)


def is_template_by_accident(raw: str, name: str, inventory: Inventory) -> bool:
    """Tell whether a credential is a text with an expression somewhere in it; in clear text that may be meant, as in ``prefix-{{ other }}``."""
    return not inventory.clear(name) and not re.fullmatch(r"\s*\{\{.*\}\}\s*", raw, re.DOTALL)


def read_example(path: str) -> dict[str, Any]:
    """Return the example's credentials, nothing where there is no such file."""
    if not path or not Path(path).is_file():
        return {}
    document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return dict(document) if isinstance(document, Mapping) else {}


def credential_problems(
    wanted: Iterable[Mapping[str, Any]],
    defined: Iterable[str],
    value_of: Callable[[str], Any],
    placeholders: Iterable[str],
    example: Mapping[str, Any],
    hint: str,
    inventory: Inventory,
    raw_of: Callable[[str], Any] = str,
) -> list[str]:
    """Report credentials that are missing, empty, left at the example's value, too short or no key."""
    problems, missing = [], []
    right: dict[str, str] = {}
    wanted = [credential for credential in wanted if credential.get("needed", True)]
    names = [credential["name"] for credential in wanted]
    defined = set(defined)
    opens = "that credential and the one of type Vault" if inventory.awx else "the vault password and the value's own expression"
    unread: Any = object()
    for credential in wanted:
        name = credential["name"]
        where = set_at(inventory, name, inventory.vault(name))
        if name not in defined:
            guess = closest(name, [d for d in defined if d.startswith("vault_") and d not in names])
            if guess:
                problems.append(f"Credential {name} is not defined; did you mean it by {guess}, set {set_at(inventory, guess, inventory.vault(guess))}?")
            else:
                missing.append(name)
            continue
        raw, value = "", unread
        with contextlib.suppress(AnsibleError):
            raw = str(raw_of(name))
            value = value_of(name)
        if any(marker in raw for marker in MARKERS) and (value is unread or (is_template_by_accident(raw, name, inventory) and value != raw)):
            problems.append(
                f"Credential {name}, set {where}, has {{{{, {{% or {{# in it, which Ansible reads as an expression: "
                f"write `{name}: !unsafe '...'` there, or choose one without."
            )
            continue
        if value is unread:
            problems.append(f"Credential {name}, set {where}, cannot be read: check {opens}.")
            continue
        kind, min_length = credential.get("kind", "password"), int(credential.get("min_length", 12))
        fault = credential_fault(value, kind, min_length, placeholders, example.get(name), str(credential.get("without") or ""))
        if fault:
            wishes = {"user": "a user name", "fernet": "a Fernet key", "private_key": "a private key (PEM)", "certificate": "a certificate (PEM)"}
            wishes["given"] = "what its owner gave you"
            wish = wishes.get(kind, f"{min_length} or more random characters")
            problems.append(f"Credential {name}, set {where}, {fault}: write {wish} there.")
            continue
        right[name] = str(value)
        key = str(credential.get("key") or "")
        if key in right and not belong_together(right[key], right[name]):
            problems.append(f"Credential {name}, set {where}, is not the certificate of the key in {key}: write the two that belong together.")
    if missing:
        subject = f"Credential {missing[0]} is" if len(missing) == 1 else f"{len(missing)} credentials are"
        names_text = f" ({', '.join(missing)})" if len(missing) > 1 else ""
        problems.insert(0, f"{subject} not defined {inventory.vault()}{names_text}: {hint}")
    return problems


def kept_problems(names: Iterable[str], kept: Iterable[Mapping[str, Any]], inventory: Inventory) -> list[str]:
    """Report credentials that are not those which data on the host was made with."""
    volumes = {entry["name"]: entry["volume"] for entry in kept}
    return [
        f"Credential {name}, set {set_at(inventory, name, inventory.vault(name))}, is not the one that the data in the volume {volumes[name]} was made with: "
        "write the former one there, or remove the lab with its data."
        for name in names
    ]


def directory_problems(wanted: Iterable[Mapping[str, Any]], missing: Iterable[str], inventory: Inventory) -> list[str]:
    """Report directories of others that are not there; Docker would make an empty one."""
    gone = set(missing)
    return [
        f"{entry['variable']}, set {set_at(inventory, entry['variable'])}, is '{entry['path']}', which is no directory of this host: "
        "mount it there, write the path of one that is there, or leave the value empty."
        for entry in wanted
        if entry["path"] in gone
    ]


def queue_problems(queues: Mapping[str, Any], variable: str, inventory: Inventory) -> list[str]:
    """Report queues that no worker can consume under their names, and the want of a worker for what names no queue.

    Args:
        queues: worker -> its queues.
        variable: the variable that says them.
        inventory: where variables are set.
    """
    place = set_at(inventory, variable)
    remedy = f"write names of letters, digits, _, - and ., each once, such as [{DEFAULT_QUEUE}, gpu]; those that begin with {HOST_QUEUE} are the lab's own."
    problems = [
        f"{variable} of {host}, set {place}, is '{wanted}', which is no list of queues: {remedy}"
        for host, wanted in queues.items()
        if not isinstance(wanted, list)
        or not wanted
        or not all(
            isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_.-]+", name) and not name.startswith(HOST_QUEUE) and wanted.count(name) == 1 for name in wanted
        )
    ]
    if queues and not problems and not any(DEFAULT_QUEUE in wanted for wanted in queues.values()):
        remedy = f"add it for one of {', '.join(queues)}."
        problems.append(f"{variable}, set {place}, has no worker consume the queue {DEFAULT_QUEUE}, where everything is that names no other: {remedy}")
    return problems


def host_name_problems(hosts: Iterable[str]) -> list[str]:
    """Report hosts whose name neither a queue nor a certificate can have."""
    return [
        f"The lab has the host '{host}', and its worker's queue and its certificate have its name: write one of letters, digits, _, - and . in the inventory."
        for host in dict.fromkeys(hosts)
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", host)
    ]


def index_url_problems(index: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """Report an index URL that cannot work or that holds credentials, and an authority file that cannot be read."""
    problems = []
    url, variable = str(index.get("url", "")), index.get("variable", "lab_index_url")
    where = set_at(inventory, variable)
    if url and not re.match(r"https?://[^/]+/", url):
        problems.append(f"{variable}, set {where}, is no URL: write one like https://nexus.example.com/repository/pypi-all/simple/.")
    elif re.match(r"https?://[^/]*@", url):
        keep = "the controller's credential of type Nexus" if inventory.awx else "the vault"
        problems.append(f"{variable}, set {where}, holds a user or a password: write the URL without and put them in {keep}.")
    elif url and not url.rstrip("/").endswith("/simple"):
        problems.append(f"{variable}, set {where}, is '{url}', which is no simple index: write the address that ends with /simple/.")
    ca_file, ca_variable = str(index.get("ca_file") or ""), index.get("ca_variable", "lab_ca_bundle")
    if ca_file:
        where = set_at(inventory, ca_variable)
        try:
            pem = Path(ca_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            problems.append(f"{ca_variable}, set {where}, names {ca_file}, which cannot be read on the control node: write a PEM file's path.")
        else:
            if "-----BEGIN CERTIFICATE-----" not in pem:
                problems.append(f"{ca_variable}, set {where}, names {ca_file}, which holds no PEM certificate: write a PEM file's path.")
    return problems


def object_store_problems(store: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """Report a place that is none in a store that speaks S3, an address that is none, and what nobody would use.

    Args:
        store: `url`, `endpoint` and `mlflow_url`, and the variables that say them.
        inventory: where variables are set.
    """
    url, endpoint, mlflow = (str(store.get(key) or "") for key in ("url", "endpoint", "mlflow_url"))
    names = {"variable": "lab_object_store_url", "endpoint_variable": "lab_object_store_endpoint", "mlflow_variable": "lab_mlflow_url", **store}
    place, of_endpoint = (f"{name}, set {set_at(inventory, name)}," for name in (names["variable"], names["endpoint_variable"]))
    problems = []
    if re.match(r"[a-z0-9+]+://[^/]*@", url):
        problems.append(f"{place} holds a user or a password: write the URL without, and put the keys in the vault.")
    elif url and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*/?", url):
        problems.append(
            f"{place} is '{url}', which is no place in a store that speaks S3: write s3://bucket or s3://bucket/prefix, "
            "of letters, digits, '.', '_', '=' and '-', those of the bucket small."
        )
    if re.match(r"https?://[^/]*@", endpoint):
        problems.append(f"{of_endpoint} holds a user or a password: write the address without, and put the keys in the vault.")
    elif endpoint and not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._-]+)*/?", endpoint):
        problems.append(f"{of_endpoint} is '{endpoint}', which is no address of a store: write one like https://s3.example.com, or nothing for Amazon's own.")
    elif endpoint and not url:
        problems.append(
            f"{of_endpoint} is '{endpoint}', but {names['variable']} is empty, so that nobody uses it: write s3://bucket there, or remove the address."
        )
    if url and mlflow:
        of_mlflow = f"{names['mlflow_variable']}, set {set_at(inventory, names['mlflow_variable'])}"
        problems.append(f"{place} is for the lab's own MLflow, and {of_mlflow}, names another one, which has a store of its own: remove one of them.")
    return problems


def fetch(url: str) -> bytes:
    """Return what is at a URL, as far as a file of requirements may reach. Raises OSError."""
    content: bytes = open_url(url, timeout=30, http_agent="mlops.lab").read(requirement_sources.LARGEST)
    return content


def read_requirements(
    asked: Mapping[str, Any], inventory: Inventory, task_vars: Mapping[str, Any]
) -> tuple[dict[str, list[requirement_sources.Entry]], list[str]]:
    """Return the requirements of each variable, and one sentence for each thing that is wrong.

    Args:
        asked: ``project``, ``airflow``, ``own``, ``allowed``, ``allowed_variable`` as in the options of module ``read_requirements``.
        inventory: where variables are set.
        task_vars: variables of the task.
    """

    def place_of(variable: str, line: str) -> str:
        source = source_of(variable, task_vars.get, inventory)
        return f"{source}, set {inventory.where(source, line) or set_at(inventory, source)},"

    allowed, allowed_variable = [str(address) for address in asked.get("allowed") or ()], str(asked.get("allowed_variable") or "")
    folders = [Path.cwd(), *(Path(str(task_vars[name])) for name in ("playbook_dir", "inventory_dir") if task_vars.get(name))]
    reader = requirement_sources.Reader(place_of, allowed, allowed_variable, folders, fetch)
    project, airflow = {**asked.get("own", {}), **asked["project"]}, asked.get("airflow", {})
    found, problems = dict[str, list[requirement_sources.Entry]](), list[str]()
    for variable, value in {**project, **airflow}.items():
        entries, wrong = reader.read(variable, value)
        own = variable in asked.get("own", {}) and not inventory.where(variable)
        found[variable] = [requirement_sources.Entry(entry.requirement, "") for entry in entries] if own else entries
        problems += wrong
    for address in allowed:
        if not re.match(r"https?://[^/@]+(/[^@]*)?$", address):
            problems.append(f"{place_of(allowed_variable, address)} has an entry that is no address; write one as in https://git.example.com/wheels/.")
    for environment in (project, airflow):
        problems += requirement_sources.contradictions(entry for variable in environment for entry in found[variable])
    return found, problems


def conflicts(wanted: str, listening: str) -> bool:
    """Tell whether a listener on one address keeps another from binding the same port."""
    wildcards = {"0.0.0.0", "::", "*", ""}
    return wanted == listening or wanted in wildcards or listening in wildcards


def port_problems(wanted: Sequence[Mapping[str, Any]], taken: Sequence[Mapping[str, Any]], projects: Iterable[str], inventory: Inventory) -> list[str]:
    """Report ports that somebody else holds or that the lab itself wants twice."""
    problems = []
    ours, busy = set(projects), {int(entry["port"]) for entry in [*taken, *wanted]}
    for position, port in enumerate(wanted):
        number, address, variable = int(port["port"]), port.get("address", "127.0.0.1"), port["variable"]
        where = set_at(inventory, variable)
        holder = next((t for t in taken if int(t["port"]) == number and t["project"] not in ours and conflicts(address, t["address"])), None)
        if holder:
            free = next(n for n in range(number % 65535 + 1, number + 2 + len(busy)) if n not in busy)
            problems.append(
                f"Port {number} for {port['what']} ({variable}, set {where}) is taken by {holder['owner']}: "
                f"stop that, or write a free port there, {free} for example."
            )
        # Pages are published twice where there are several hosts: by themselves for their own host, and by a gateway for all.
        same = (o for o in wanted[:position] if int(o["port"]) == number and o["variable"] != variable)
        other = next((o for o in same if conflicts(address, o.get("address", "127.0.0.1"))), None)
        if other:
            problems.append(
                f"Port {number} is wanted by {other['what']} ({other['variable']}, set {set_at(inventory, other['variable'])}) "
                f"and by {port['what']} ({variable}, set {where}): write different ports."
            )
    return list(dict.fromkeys(problems))


def page_problems(bound: Mapping[str, str], front: str, gateway: str, inventory: Inventory) -> list[str]:
    """Report addresses that pages cannot be published at: plain HTTP stays on the host's own loopback.

    Args:
        bound: variable -> the address that it says.
        front: the words for why there is a gateway in front of the pages, "" where there is none.
        gateway: the variable that puts one in front of the pages of one host.
        inventory: where variables are set.
    """
    problems = []
    for variable, address in bound.items():
        try:
            if ipaddress.IPv4Address(address).is_loopback:
                continue
            plain = True
        except ValueError:
            plain = False
        place = f"{variable}, set {set_at(inventory, variable)}, is"
        if front:
            problems.append(f"{place} {address}, but {front} the gateway publishes the pages on {ADDRESS} of the control host over TLS: remove the value.")
        elif plain:
            problems.append(
                f"{place} '{address}', where the pages would be plain HTTP and passwords would cross the network in the clear: "
                f"remove the value and write '{gateway}: true' into {inventory.own_values()}, which publishes the pages at https://<{ADDRESS}> for {NETWORKS}."
            )
        else:
            problems.append(f"{place} '{address}', which is no IPv4 address: write 127.0.0.1, or another one of the loopback.")
    return problems


def is_reachable(address: str) -> bool:
    """Tell whether other hosts could reach a host at this address."""
    try:
        parsed = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast)


def origin_of_address(host: str, inventory: Inventory, sources: str) -> str:
    """Return the words that say where the address of a host comes from: what was written, else the address that Ansible has, else its name."""
    if place := inventory.where_of_host(ADDRESS, host):
        return f"set {place}"
    place = inventory.where(ADDRESS)
    if place and not re.search(r"^by |/host_vars/|^in host_vars/", place) and not any(place.startswith(f"in {shown_path(path)}:") for path in inventory.hosts):
        return f"set {place}"  # for all of them, and not by the collection nor for another host
    if place := inventory.where_of_host("ansible_host", host):
        return f"which is its ansible_host, set {place}"
    return f"which is its name or its ansible_host, set {inventory.otherwise() if inventory.awx else f'in {sources}'}"


def reach_problems(addresses: Mapping[str, Any], inventory: Inventory, sources: str) -> list[str]:
    """Report addresses by which others cannot reach the hosts of a lab, and those that two hosts have.

    Args:
        addresses: host -> its address.
        inventory: where variables are set.
        sources: the words for the inventory's files.
    """
    remedy = "write the IPv4 address by which others reach it."
    problems, hosts = list[str](), dict[str, str]()
    for host, address in ((host, str(address)) for host, address in addresses.items()):
        origin = origin_of_address(host, inventory, sources)
        if not is_reachable(address):
            problems.append(f"{ADDRESS} of {host}, {origin}, is '{address}': {remedy}")
        elif address in hosts:
            problems.append(f"{ADDRESS} of {host}, {origin}, is '{address}', which {hosts[address]} has already: {remedy}")
        hosts.setdefault(address, host)
    return problems


def network_problems(networks: Any, inventory: Inventory, name: str = NETWORKS) -> list[str]:
    """Report networks that no firewall can let in or out: it knows IPv4, and everybody.

    Args:
        networks: what `name` says, None where nothing does.
        inventory: where variables are set.
        name: the variable, :data:`NETWORKS` or :data:`EGRESS`.
    """
    nobody, everybody = ("the lab alone", "everywhere") if name == EGRESS else ("nobody", "everybody, over IPv6 too")
    if networks is not None and not isinstance(networks, list):
        return [f"{name}, set {set_at(inventory, name)}, is '{networks}', which is no list: write one, as [10.1.0.0/16] is, or [] for {nobody}."]
    return [
        f"{name}, set {inventory.where(name, str(network)) or inventory.otherwise()}, has '{network}', "
        f"which is no IPv4 address and no network as 10.1.0.0/16 is one: write such a one, or 0.0.0.0/0 for {everybody}."
        for network in networks or ()
        if not is_network(network)
    ]


def empty_problems(names: Iterable[str], inventory: Inventory) -> list[str]:
    """Report lists that somebody named and gave no value."""
    return [f"{name}, set {set_at(inventory, name)}, is empty: write [] for none, or remove the line." for name in names]


def egress_problems(networks: Any, filtered: bool, inventory: Inventory) -> list[str]:
    """Report networks that tasks are to reach alone, where there is no firewall that keeps them from the rest.

    Args:
        networks: what :data:`EGRESS` says, None where nothing does.
        filtered: whether the lab has a gateway, and with it a firewall.
        inventory: where variables are set.
    """
    problems = network_problems(networks, inventory, EGRESS)
    if not problems and networks is not None and "0.0.0.0/0" not in networks and not filtered:
        problems.append(
            f"{EGRESS}, set {set_at(inventory, EGRESS)}, has no effect on one host without a gateway, which has no firewall: "
            "write 'lab_gateway: true' beside it, or remove it."
        )
    return problems


def kept_from_mlflow(networks: Any, url: Any, inventory: Inventory) -> list[str]:
    """Report an MLflow elsewhere that tasks may not open connections to, and need.

    Args:
        networks: what :data:`EGRESS` says, None where nothing does.
        url: what :data:`MLFLOW` says, empty for the lab's own.
        inventory: where variables are set.
    """
    if not url or not isinstance(networks, list) or not all(is_network(network) for network in networks):
        return []
    with contextlib.suppress(OSError, ValueError):  # of a name that is not known here nothing is said
        parts = urlsplit(str(url))
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, parts.port or 443, socket.AF_INET, socket.SOCK_STREAM)}
        for address in sorted(found):
            if not any(ipaddress.ip_address(address) in ipaddress.ip_network(str(network), strict=False) for network in networks):
                return [f"{MLFLOW}, set {set_at(inventory, MLFLOW)}, is at {address}, which {EGRESS} keeps tasks from: add {address} to {EGRESS}."]
    return []


def registry_problems(registry: Any, inventory: Inventory) -> list[str]:
    """Report a registry whose address no engine takes as part of an image's name.

    Args:
        registry: what :data:`REGISTRY` says, empty for the lab's own.
        inventory: where variables are set.
    """
    name = str(registry or "")
    if not name or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*", name):
        return []
    return [
        f"{REGISTRY}, set {set_at(inventory, REGISTRY)}, is '{name}', which no image's name can begin with: write it without https:// and "
        "without a / at the end, the path in small letters, as in registry.example.org/lab."
    ]


def control_problems(packages: Iterable[str]) -> list[str]:
    """Return the sentence about packages that Ansible's Python on the control node has not: what its own package brings is not all that a lab needs."""
    absent = " ".join(name for name in packages if importlib.util.find_spec(name) is None)
    if not absent:
        return []
    return [f"Ansible's Python on this machine, {sys.executable}, lacks what the package index needs: run `{sys.executable} -m pip install {absent}`."]


def name_problems(name: Any, inventory: Inventory) -> list[str]:
    """Report a name of the lab that containers, images and directories cannot have.

    Args:
        name: what :data:`NAME` says, None where nothing does.
        inventory: where variables are set.
    """
    if name is None or (isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name) and not name.endswith("-bench")):
        return []
    return [
        f"{NAME}, set {set_at(inventory, NAME)}, is '{name}', which can be no lab's name: write at most 40 small letters, digits, - and _, without -bench "
        "at the end, such as churn-lab."
    ]


def different_values(values: Mapping[str, Mapping[str, Any]], inventory: Inventory) -> list[str]:
    """Report values of the lab as a whole that one host has otherwise than another, for hosts ask each other at what they have themselves.

    Args:
        values: host -> its variables as they are written.
        inventory: where variables are set.
    """
    problems, first = list[str](), next(iter(values), "")
    for name in sorted({name for own in values.values() for name in own if name.startswith("lab_") and name not in OF_A_HOST}):
        odd = next((host for host, own in values.items() if own.get(name) != values[first].get(name)), "")
        place = odd and (next(filter(None, (inventory.where_of_host(name, host) for host in values)), "") or inventory.where(name))
        if place and not place.startswith("by "):
            problems.append(f"{name}, set {place}, is not the same for {first} and {odd}, and a lab has one: write it into {inventory.own_values()}.")
    return problems


def source_problems(host: str, own: str, peers: Mapping[str, str], sources: Mapping[str, str], origin: str) -> list[str]:
    """Report that a host reaches others from another address of its own than they let in.

    Args:
        host: its name.
        own: its address for the others.
        peers: host -> the address at which it is reached.
        sources: address of a peer -> the one that this host reaches it from, "" where there is no road.
        origin: the words for where its address comes from.
    """
    problems: dict[str, str] = {}
    for peer, address in peers.items():
        source = sources.get(address, own)
        if not source:
            problems[address] = f"{host} has no road to {peer}, whose {ADDRESS} is '{address}': write the address of {peer} by which others reach it."
        elif source != own:
            problems.setdefault(
                source,
                f"{ADDRESS} of {host}, {origin}, is '{own}', but it reaches {peer} ({address}) from '{source}', which is not let in there: "
                f"write '{source}', or for {peer} an address that is reached from '{own}'.",
            )
    return list(problems.values())


def airflow_problems(airflow: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """Report an Airflow that a lab of one host may have, and a lab of several may not.

    Args:
        airflow: ``version`` of Airflow, which is not judged if it is empty, and the ``variable`` that says it.
        inventory: where variables are set.
    """
    problems = []
    version, variable = str(airflow.get("version") or ""), str(airflow.get("variable") or "")
    with contextlib.suppress(InvalidVersion):  # whatever that is, no package is called so
        if version and Version(version) < Version(SEVERAL_SINCE):
            problems.append(
                f"{variable}, set {set_at(inventory, variable)}, is {version}, and a lab of several hosts needs {SEVERAL_SINCE} or later: "
                "an older one has no TLS for the logs and the tasks of workers on other hosts; write a later one, or list one host alone."
            )
    return problems


def experiment_problems(name: str, variable: str, directory: str, inventory: Inventory) -> list[str]:
    """Report the first model's experiment when there is no such file."""
    known = sorted(path.stem for path in Path(directory).glob("*.yml")) if directory else []
    if not directory or name in known:
        return []
    stem = re.sub(r"\.ya?ml$", "", name)
    guess = stem if stem in known else closest(stem, known)
    remedy = f"did you mean {guess}?" if guess else f"write one of {', '.join(known)}." if known else "write an experiment file there."
    return [f"{variable}, set {set_at(inventory, variable)}, is '{name}', and there is no {shown_path(Path(directory) / name)}.yml: {remedy}"]


def published_names(folders: Iterable[Any]) -> set[str]:
    """Return the names of the projects and wheels that the lab itself uploads, those that can be read."""
    names = set[str]()
    for folder in folders:
        try:
            if str(folder).endswith(".whl"):
                names.add(parse_wheel_filename(Path(str(folder)).name)[0])
                continue
            project = tomllib.loads(Path(str(folder), "pyproject.toml").read_text(encoding="utf-8"))
            names.add(canonicalize_name(str(project["project"]["name"])))
        except (OSError, ValueError, KeyError):
            continue
    return names


def host_problems(found: Mapping[str, Any], args: Mapping[str, Any]) -> list[str]:
    """Report what the host itself lacks."""
    problems = []
    limits = args["limits"]
    vm_file = "list a host that fits in the inventory, or lower"
    if found["memory_mb"] < limits["memory_mb"]:
        problems.append(f"Memory is {found['memory_mb']} MB, the lab needs {limits['memory_mb']} MB: give the machine more, {vm_file} preflight_min_memory_mb.")
    if found["cores"] < limits["cores"]:
        problems.append(f"Processors are {found['cores']}, the lab needs {limits['cores']}: give the machine more, {vm_file} preflight_min_cores.")
    floor_name = "preflight_min_disk_running_gb" if found["lab_present"] else "preflight_min_disk_gb"
    floor = limits["disk_running_gb" if found["lab_present"] else "disk_gb"]
    seen: dict[int, list[Mapping[str, Any]]] = {}
    for entry in found["disks"]:
        seen.setdefault(entry["device"], []).append(entry)
    for entries in seen.values():
        if entries[0]["free_gb"] < floor:
            paths = " and ".join(entry["path"] for entry in entries)
            problems.append(
                f"The file system of {paths} has {entries[0]['free_gb']} GB free, the lab needs {floor} GB: "
                f"free some, name other paths in preflight_disk_paths, or lower {floor_name}."
            )
    oldest = tuple(int(part) for part in str(limits["python"]).split("."))
    if tuple(found["python"][: len(oldest)]) < oldest:
        version = ".".join(map(str, found["python"]))
        problems.append(f"Python is {version}, the lab needs {limits['python']}: set ansible_python_interpreter to a newer one.")
    system = f"{found['system']['id']} {found['system']['version']}".strip()
    if args["systems"] and system not in args["systems"]:
        problems.append(
            f"The system is {found['system']['name']} ({system}), supported are {', '.join(args['systems'])}: "
            f"use one of these, or add '{system}' to preflight_systems at your own risk."
        )
    if args["machines"] and found["machine"] not in args["machines"]:
        problems.append(f"The architecture is {found['machine']}, supported are {', '.join(args['machines'])}: use a machine of these.")
    return problems


def clock_problems(offset: float, limit: int) -> list[str]:
    """Report a clock that is too far from the control node's; without a limit none is."""
    if not limit or abs(offset) <= limit:
        return []
    direction = "ahead of" if offset > 0 else "behind"
    return [
        f"The clock is {abs(offset):.0f} s {direction} the control node's, the limit is {limit} s because tokens live 30 s: "
        f"set the clocks by NTP (timedatectl set-ntp true, or install chrony)."
    ]


def index_problem(answer: Mapping[str, Any] | None, index: Mapping[str, Any], inventory: Inventory, host: str) -> list[str]:
    """Say what the index's answer to a host means, None where it was not asked. Neither user nor password is shown."""
    if answer is None:
        return []
    user, password, variable = index.get("user_variable"), index.get("password_variable"), index["variable"]
    account = package_index.Account.written(f"in {user}", user, str(password), set_at(inventory, user, inventory.vault(user))) if user else None
    given = package_index.Index(
        url=index["url"],
        place=f"{variable}, set {set_at(inventory, variable)}",
        host=host,
        account=account,
        package=index["package"],
        package_variable="preflight_index_package",
        trust=f"set {index['ca_variable']} to the PEM file of the authority that signed it",
        nobody="write the names of the variables with user and password into preflight_index_user_variable and preflight_index_password_variable",
    )
    problem = package_index.index_problem(package_index.Answer(answer["status"], None, answer["reason"]), given)
    return [problem] if problem else []


def missing_packages(missing: Iterable[str], entries: Iterable[requirement_sources.Entry], index: Mapping[str, Any], inventory: Inventory) -> list[str]:
    """Report packages that the index does not have, each where it is asked for."""
    place = f"{index['url']} ({index['variable']}, set {set_at(inventory, index['variable'])})"
    gone, problems = set(missing), []
    for entry in entries:
        if entry.name in gone:
            gone.discard(entry.name)
            who = (
                f"which {entry.place.rstrip(',')} asks for: correct the name"
                if entry.place
                else "which the lab itself needs: let its group have the public packages"
            )
            problems.append(f"The index {place} has no package {entry.requirement.name}, {who}, or publish it there.")
    return problems


def first_host(hosts: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """Return the host on which the lab as a whole is judged: the first of a play's that was reached, where the run looked who is; "" for no host."""
    there = [host for host in hosts if host in groups.get(REACHED, [])]
    return next(iter([*there, *hosts]), "")


def behind_gateway(args: Mapping[str, Any]) -> str:
    """Return the words for why there is a gateway in front of the lab's pages, "" where there is none."""
    gateway = args["gateway"]
    return "with several hosts" if len(args["addresses"]) > 1 else f"with {gateway['variable']}" if gateway["used"] else ""


class Once:
    """The values of a host's variables, each templated once, and not anew by each expression that names it."""

    def __init__(self, variables: Mapping[str, Any], loader: Any) -> None:
        """Take the variables as they are written."""
        self._variables = dict(variables)
        self._templar = Templar(loader=loader, variables=self._variables)
        self._looked_at: set[str] = set()
        self._settled: set[str] = set()

    def value(self, name: str) -> Any:
        """Return a value. Raises :class:`AnsibleError` where it cannot be templated."""
        self._settle(name)
        return self._variables[name] if name in self._settled else self._templar.template(self._variables[name])

    def _settle(self, name: str) -> None:
        """Put the value of a variable in the place of what is written, after those that it names. What cannot be templated stays, for Ansible's own error."""
        written = self._variables.get(name)
        if name in self._looked_at or not isinstance(written, str | list | dict):
            return
        self._looked_at.add(name)
        words = set(re.findall(r"[A-Za-z_]\w*", str(written)))
        for other in words & self._variables.keys():
            self._settle(other)
        # Ansible copies all variables for each expression: those alone that it names are enough, but for the lookups that find others by their names.
        if not words & {"vars", "varnames"}:
            self._templar.available_variables = {other: self._variables[other] for other in words & self._variables.keys()}
        with contextlib.suppress(Exception):
            self._variables[name] = self._templar.template(written)
            self._settled.add(name)
        self._templar.available_variables = self._variables


class ActionModule(ActionBase):
    """Measure the host by the module, judge it here."""

    _supports_check_mode = True
    _requires_connection = True
    TRANSFERS_FILES = False

    @functools.cached_property
    def _variables(self) -> Once:
        return Once(self._templar.available_variables, self._loader)

    def _value(self, name: str) -> Any:
        """Return the value of an inventory variable. Raises :class:`AnsibleError` where it cannot be templated."""
        return self._variables.value(name)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the problems and what was measured."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _unused, args = self.validate_argument_spec(argument_spec(DOCUMENTATION))
        floors = {"memory_mb": 0, "cores": 0, "disk_gb": 0, "disk_running_gb": 0, "python": "3.9", "clock_seconds": 20}
        limits = {**floors, **args["limits"]}
        gateway = {"used": False, "variable": "lab_gateway", **args["gateway"]}
        args["gateway"] = {**gateway, "used": boolean(gateway["used"], strict=False)}  # with -e it is a text
        args["limits"] = {key: value if key == "python" else int(value) for key, value in limits.items()}
        index = {"url": "", "package": "pip", "variable": "lab_index_url", "ca_variable": "lab_ca_bundle", **args["index"]}
        inventory = Inventory.of_task(self._loader, task_vars)
        mine = set(task_vars.get("group_names", []))
        host = task_vars.get("inventory_hostname", "")
        first = host == first_host(task_vars.get("ansible_play_hosts_all") or [], task_vars.get("groups") or {})
        what = f"on {host} before anything is changed"
        if args["values_only"]:
            unreadable, wrong = self._judge_values(args["credentials"], inventory, task_vars) if first else ([], [])
            return stop(len(unreadable), what, [*unreadable, *wrong]) if unreadable else {"changed": False, "problems": wrong}
        ports = [port for port in args["ports"] if is_port(port["port"]) and (not port.get("group") or port["group"] in mine)]
        # What else ports are published at is the loopback, or told of on the first host.
        own = str(args["addresses"].get(host, "")) if behind_gateway(args) else ""
        addresses = [own] if is_reachable(own) else []
        control = (task_vars.get("groups") or {}).get("lab_control", [])
        peers = {
            other: str(address)
            for other, address in (args["addresses"].items() if addresses else ())
            if other != host and is_reachable(str(address)) and (other in control or host in control)
        }
        directories = [entry for entry in args["directories"] if entry["path"] and entry["group"] in mine]
        index_args = self._index_args(index, inventory, task_vars, mine)

        lab_problems: list[str] = []
        entries: list[requirement_sources.Entry] = []
        if first or index_args:
            entries, lab_problems = self._requirements(args["requirements"], inventory, task_vars)
        lab_problems = [*self._judge_inventory(args, index, inventory, task_vars), *lab_problems] if first else []
        if index_args:
            published = published_names(self._known(args["requirements"].get("published", "")) or ())
            named = {entry.name for entry in entries if not entry.requirement.url}
            index_args["index_packages"] = sorted(named - published)

        module_args = {
            "disk_paths": args["disk_paths"],
            "ports": [int(port["port"]) for port in ports],
            "addresses": addresses,
            "peers": list(peers.values()),
            "projects": args["projects"],
            "directories": [entry["path"] for entry in directories],
            **self._kept_args(args["kept"]),
            **index_args,
        }
        before = time.time()
        measured = self._execute_module(module_name="mlops.lab.lab_host", module_args=module_args, task_vars=task_vars)
        after = time.time()
        if measured.get("failed") or "found" not in measured:
            measured.pop("invocation", None)
            return dict(measured)
        found = dict(measured["found"])
        found["clock_offset"] = round(clock_offset(found["now"], before, after), 1)

        origin = origin_of_address(host, inventory, inventory_sources(task_vars)) if addresses else ""
        problems = [
            *host_problems(found, args),
            *port_problems(ports, found["ports"], args["projects"], inventory),
            *(
                f"{ADDRESS} of {host}, {origin}, is '{address}', which is no address of this host: write the one of its own by which others reach it."
                for address in found["foreign_addresses"]
            ),
            *(source_problems(host, own, peers, found["sources"], origin) if not found["foreign_addresses"] else ()),
            *clock_problems(found["clock_offset"], args["limits"]["clock_seconds"]),
            *directory_problems(directories, found["missing_directories"], inventory),
            *kept_problems(found["kept_otherwise"], args["kept"], inventory),
            *index_problem(found["index"], index, inventory, host),
            *missing_packages(found["index_missing"], entries, index, inventory),
            *lab_problems,
        ]
        return stop(len(problems), what, problems) if problems else {"changed": False, "found": found}

    def _known(self, name: str) -> Any:
        """Return the value of a variable, what its role says where nobody set it, None where it cannot be known."""
        if name in self._templar.available_variables:
            with contextlib.suppress(AnsibleError):
                return self._value(name)
            return None
        specs = read_specs(ROLES)
        return specs.get(role_of(name, specs), {}).get(name, {}).get("default")

    def _requirements(self, names: Mapping[str, Any], inventory: Inventory, task_vars: Mapping[str, Any]) -> tuple[list[requirement_sources.Entry], list[str]]:
        """Return what the variables with these names ask for, and what is wrong with it."""
        kinds = {kind: {name: self._known(name) for name in names.get(kind) or ()} for kind in ("project", "airflow", "own")}
        allowed = str(names.get("allowed") or "")
        found, problems = read_requirements({**kinds, "allowed": self._known(allowed), "allowed_variable": allowed}, inventory, task_vars)
        return [entry for entries in found.values() for entry in entries], problems

    def _judge_values(self, credentials: Iterable[Mapping[str, Any]], inventory: Inventory, task_vars: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """Return what is to be told at once, values of all hosts that nobody can read or this role not work with, and what with the rest."""
        unreadable, wrong, seen = list[str](), list[str](), dict[str, Any]()
        judged_elsewhere = {credential["name"] for credential in credentials}
        specs = read_specs(ROLES)
        for host in task_vars.get("ansible_play_hosts_all", []):
            own = task_vars["hostvars"].raw_get(host)
            variables = {**task_vars, **own}
            names = [
                name
                for name in own
                if name not in judged_elsewhere
                and (name not in seen or seen[name] is not own[name])
                and (name.startswith("lab_") or role_of(name, specs) or inventory.where(name))
            ]
            seen.update((name, own[name]) for name in names)

            value_of = Once(variables, self._loader).value
            known = {**dict.fromkeys(judged_elsewhere), **variables}
            unreadable += unreadable_values(names, known, value_of, inventory)
            of_roles = [(name, role) for name in names if (role := role_of(name, specs))]
            written = [(name, role) for name, role in of_roles if role == "preflight" or inventory.where(name) or inventory.where_of_host(name, host)]
            for problems, ours in ((unreadable, True), (wrong, False)):
                problems += wrong_values([name for name, role in written if (role == "preflight") is ours], specs, value_of, inventory, variables.get, host)
        return list(dict.fromkeys(unreadable)), list(dict.fromkeys(wrong))

    def _judge_inventory(self, args: Mapping[str, Any], index: Mapping[str, Any], inventory: Inventory, task_vars: Mapping[str, Any]) -> list[str]:
        """Return the problems that belong to the inventory as a whole."""
        names: set[str] = set()
        for host in task_vars.get("ansible_play_hosts_all", []):
            names.update(task_vars["hostvars"].raw_get(host))
        specs = read_specs(ROLES)
        groups = {name: list(hosts) for name, hosts in task_vars.get("groups", {}).items()}
        sources = inventory_sources(task_vars)
        hint = args["credentials_hint"]
        used = [port for port in args["ports"] if not port.get("group") or port["group"] in groups]
        front = behind_gateway(args)
        no_ports = {port["variable"]: port["port"] for port in used if not is_port(port["port"])}
        raw_of = self._templar.available_variables.get
        bound = {source_of(name, raw_of, inventory): address for name in args["address_variables"] if isinstance(address := self._known(name), str)}
        # Those that the run leaves out, too: what is done here is told to them.
        hosts = dict.fromkeys(itertools.chain.from_iterable(groups.get(group["name"], []) for group in args["groups"]))
        values = {host: task_vars["hostvars"].raw_get(host) for host in hosts}
        experiment = args["experiment"]
        lost, old = without_effect(inventory)
        lost += outside_of_lab(groups, task_vars.get("ansible_play_hosts_all", []), inventory, sources)
        if old:
            return lost
        return [
            *lost,
            *group_problems(args["groups"], groups, sources),
            *credential_problems(args["credentials"], names, self._value, args["placeholders"], read_example(args["example_file"]), hint, inventory, raw_of),
            *unknown_names(names, specs, inventory),
            *dict.fromkeys([*(port_problem(name, set_at(inventory, name), value) for name, value in no_ports.items()), *args["problems"]]),
            *different_values(values, inventory),
            *page_problems(bound, front, args["gateway"]["variable"], inventory),
            *name_problems(self._known(NAME), inventory),
            *control_problems(args["control_packages"]),
            *(reach_problems(args["addresses"], inventory, sources) if front else ()),
            *network_problems(self._known(NETWORKS), inventory),
            *egress_problems(self._known(EGRESS), bool(front), inventory),
            *kept_from_mlflow(self._known(EGRESS), self._known(MLFLOW), inventory),
            *empty_problems((name for name in (NETWORKS, EGRESS) if raw_of(name, ()) is None), inventory),
            *((*airflow_problems(args["airflow"], inventory), *registry_problems(self._known(REGISTRY), inventory)) if len(args["addresses"]) > 1 else ()),
            *queue_problems(args["queues"], "lab_worker_queues", inventory),
            *host_name_problems([*args["queues"], *(args["addresses"] if front else ())]),
            *experiment_problems(str(experiment.get("name", "")), experiment.get("variable", ""), experiment.get("directory", ""), inventory),
            *index_url_problems(index, inventory),
            *object_store_problems(args["object_store"], inventory),
        ]

    def _kept_args(self, kept: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the module's arguments for credentials that data on the host was made with. No value goes there, nor what could be looked up as one."""
        salt, entries = secrets.token_hex(16), []
        for entry in kept:
            with contextlib.suppress(AnsibleError, KeyError):  # one that cannot be read is told of elsewhere
                value = str(self._value(entry["name"])).strip()
                entries.append({**entry, "digest": hashlib.sha256((salt + value).encode()).hexdigest()})
        return {"kept": entries, "salt": salt}

    def _index_args(self, index: Mapping[str, Any], inventory: Inventory, task_vars: Mapping[str, Any], mine: set[str]) -> dict[str, Any]:
        """Return the module's arguments for the index; none where this host need not reach it or its URL is wrong."""
        if not index.get("url") or index.get("group", "lab_builder") not in mine or index_url_problems(index, inventory):
            return {}
        values = {}
        for key in ("user", "password"):
            name = index.get(f"{key}_variable", "")
            try:
                values[f"index_{key}"] = str(self._value(name)) if name in task_vars else ""
            except AnsibleError:
                values[f"index_{key}"] = ""
        if index.get("user_variable") and not all(values.values()):
            return {}
        ca_file = index.get("ca_file") or ""
        ca_text = Path(os.path.expanduser(ca_file)).read_text(encoding="utf-8") if ca_file else ""
        return {"index_url": index["url"], "index_package": index["package"], "index_ca_text": ca_text, **values}
