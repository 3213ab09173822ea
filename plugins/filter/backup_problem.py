# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a backup against the lab that it is brought back to, on the control node, so that the lab's key stays there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.text.formatters import bytes_to_human
from ansible.module_utils.compat.version import LooseVersion
from ansible_collections.mlops.lab.plugins.filter.hmac_sha256 import hmac_sha256

DOCUMENTATION = r"""
name: backup_problem
short_description: Why a backup cannot be brought back
version_added: 0.2.0
description:
  - Returns the first thing that is wrong with a backup of the role P(mlops.lab.lab_backup#role), one sentence that says what to do instead.
  - Without O(manifest) it is judged whether there is such a backup, with it who sealed it, and with O(compared) whether it is whole and fits the lab.
    What somebody else wrote is not even parsed.
positional: manifest, seal, compared
options:
  _input:
    description:
      - The lab, the C(dir) of its backups, their C(place) in words, those that are C(complete), the C(chosen) one and how it was C(wanted).
      - The C(mlflow_store) that has MLflow's files, empty where they are in a volume.
      - Its C(seal_key), C(fingerprints) of its secrets and their C(names), the C(versions) of its systems, C(free) bytes beside its data, and for
        messages C(start_command) and C(backup_command).
    type: dict
    required: true
  manifest:
    description: C(manifest.json) of the backup in base64, empty where there is none.
    type: str
  seal:
    description: C(manifest.hmac) of the backup in base64, empty where there is none.
    type: str
    default: ""
  compared:
    description: What C(find) and C(sha256sum --check) said of the files, as a command's C(rc), C(stdout_lines) and C(stderr).
    type: dict
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Stop where this lab did not write it
  ansible.builtin.fail:
    msg: "{{ problem }}"
  vars:
    problem: "{{ lab | mlops.lab.backup_problem(manifest, seal) }}"
  when: problem | length > 0
"""

RETURN = r"""
_value:
  description: The sentence, empty where nothing is wrong.
  type: str
"""


@dataclass(frozen=True)
class Lab:
    """The lab; the documentation says what of it."""

    dir: str
    place: str
    complete: list[str]
    wanted: str
    chosen: str
    seal_key: str
    fingerprints: Mapping[str, str]
    names: Mapping[str, str]
    versions: Mapping[str, str]
    mlflow_store: str
    free: int
    start_command: str
    backup_command: str

    @property
    def others(self) -> str:
        """The names of all that can be brought back."""
        return ", ".join(self.complete)


def comparable(name: str, version: str) -> LooseVersion:
    """Return what of a system's version is compared: of Postgres the first part, since its data is the same in all of that."""
    return LooseVersion(version.split(".")[0] if name == "postgres" else version)


def newer_versions(versions: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """Return the systems that are newer than the present ones, as ``airflow 3.4.0 (the lab has 3.3.2)``; those of unknown version are left out."""
    both = [(name, version, present[name]) for name, version in versions.items() if version and present.get(name)]
    return [f"{name} {version} (the lab has {there})" for name, version, there in both if comparable(name, version) > comparable(name, there)]


def choice_problem(lab: Lab) -> str:
    """Return why there is no such backup, or an empty string."""
    if not lab.complete:
        return f"There is no complete backup in {lab.place}: make one with `{lab.backup_command}`, or copy the directory of one there."
    if not lab.wanted:
        return f"lab_backup_restore is empty: say which backup is to be brought back, with -e lab_backup_restore=latest or one of {lab.others}."
    if lab.chosen not in lab.complete:
        return f"There is no complete backup '{lab.wanted}' (lab_backup_restore) in {lab.place}: write latest or one of {lab.others}."
    return ""


def seal_problem(lab: Lab, manifest: str, seal: str) -> str:
    """Return why this lab did not write it, or an empty string. The seal is the fingerprint of a key and an HMAC with it, both of them hexadecimal."""
    found = re.match("([0-9a-f]{16}) ([0-9a-f]{64})$", base64.b64decode(seal).decode("utf-8", "replace"))
    if not found:
        return (
            f"Backup {lab.chosen} has no seal (manifest.hmac), so that nobody can tell who wrote it: it was made by a version of the collection that sealed "
            "none, or is not whole. Restore it with the version that made it if you know where it comes from, or copy it again."
        )
    if found[1] != lab.fingerprints["airflow_fernet_key"]:
        return other_secret(lab, [lab.names["airflow_fernet_key"]])
    if found[2] != hmac_sha256(manifest, lab.seal_key):
        return (
            f"Backup {lab.chosen} was changed after it was made: its seal (manifest.hmac) is not that of its manifest.json. Nothing of it was read; copy it "
            f"again from where it came, or restore another one of {lab.others}."
        )
    return ""


def other_secret(lab: Lab, names: list[str]) -> str:
    """Return the sentence about secrets that differ."""
    return (
        f"Backup {lab.chosen} was made with another {' and '.join(names)} than the vault has, so the lab could not use it: put the vault of the lab that was "
        f"backed up in place, run `{lab.start_command}`, and restore then."
    )


def damage(manifest: Mapping[str, Any], lines: list[str]) -> list[str]:
    """Return what is wrong with the files.

    Args:
        manifest: what the backup says of itself.
        lines: ``<type>/<name>`` of each file that is there, and ``<name>: FAILED`` of those that differ.
    """
    of_it = {f"f/{name}" for name in ("manifest.json", "manifest.hmac", *(file["name"] for file in manifest["files"]))}
    there = [line for line in lines if re.match("[a-zA-Z]/", line)]
    return [line for line in lines if line not in there] + [f"{line[2:]}: is not of it" for line in there if line not in of_it]


def store_problem(lab: Lab, manifest: Mapping[str, Any]) -> str:
    """Return why MLflow would not find the files that the backup's database names, or an empty string. Before 0.2 all of them were in a volume."""
    then, now, name = manifest.get("mlflow_store", ""), lab.mlflow_store, lab.names["mlflow_store"]
    if then == now or not all("mlflow" in versions for versions in (manifest["versions"], lab.versions)):
        return ""
    if now and not then:
        return (
            f"Backup {lab.chosen} has MLflow's files, and the lab has them in {now} ({name}), where a restore brings none: take {name} out, run "
            f"`{lab.start_command}`, restore, and set it again, which says how they are copied there."
        )
    place = f"in {now} ({name})" if now else f"in a volume, since {name} is empty"
    return (
        f"Backup {lab.chosen} leaves MLflow's files in {then}, and the lab has them {place}: set {name} to {then}, run `{lab.start_command}`, and restore "
        f"then. Where they were copied, -e lab_backup_mlflow_store={then} restores the databases alone."
    )


def fit_problem(lab: Lab, manifest: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    """Return why a backup is not whole or does not fit the lab, or an empty string."""
    chosen = lab.chosen
    if manifest["format"] != 2:
        return (
            f"Backup {chosen} has the format {manifest['format']}, which version {manifest['collection_version']} of the collection wrote and this one does "
            "not know: restore it with that version."
        )
    if manifest["name"] != chosen:
        return f"Backup {chosen} is backup {manifest['name']} under another name: give its directory in {lab.dir} that name back."
    wrong = damage(manifest, compared["stdout_lines"])
    if compared["rc"] or wrong:
        return (
            f"Backup {chosen} is damaged, since what its manifest.json says of it does not hold ({', '.join(wrong) or compared['stderr']}): copy it again from "
            f"where it came, or restore another one of {lab.others}."
        )
    if newer := newer_versions(manifest["versions"], lab.versions):
        return (
            f"Backup {chosen} was made by newer versions than the lab's: {', '.join(newer)}. Bring the lab to them with `{lab.start_command}` first, or "
            "restore an older backup."
        )
    if others := [lab.names[name] for name, value in lab.fingerprints.items() if value not in manifest["fingerprints"].values()]:
        return other_secret(lab, others)
    if problem := store_problem(lab, manifest):
        return problem
    if lab.free < manifest["bytes_unpacked"]:
        return (
            f"Backup {chosen} takes {bytes_to_human(manifest['bytes_unpacked'])} beside the lab's data, and the disk of Docker's volumes has "
            f"{bytes_to_human(lab.free)} left: make room there."
        )
    return ""


def backup_problem(lab: Mapping[str, Any], manifest: str | None = None, seal: str = "", compared: Mapping[str, Any] | None = None) -> str:
    """Return the first thing that is wrong with a backup, as far as it was read; options as documented above."""
    judge = Lab(**lab)
    problem = choice_problem(judge)
    if not problem and manifest is not None:
        problem = seal_problem(judge, manifest, seal)
        if not problem and compared is not None:
            problem = fit_problem(judge, json.loads(base64.b64decode(manifest)), compared)
    return problem


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters of this file by their names."""
        return {"backup_problem": backup_problem}
