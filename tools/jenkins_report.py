#!/usr/bin/env python3
"""Make of what a Jenkins build left what it shows and keeps.

Usage: ``.venv/bin/python tools/jenkins_report.py FOLDER``, in the workspace; FOLDER is that of ``jenkins_parameters.py``, and may be gone. It
writes, from what is there,

- ``reports/description.txt``: the build's description, one line
- ``reports/junit/verdict.xml``: the checks of the verdict as test results
- ``reports/lock/``: the lock of the lab's image
- ``reports/sbom.json``: the packages of the lock as a CycloneDX bill of materials
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

REPORTS = Path("reports")


def describe(verdict: dict[str, Any] | None, mistakes: list[str], dry_run: bool) -> str:
    """Return the build's description."""
    if mistakes:
        return f"Wrong parameters: {' '.join(mistakes)}"
    if dry_run:
        return "Dry run: nothing was changed."
    if verdict is None:
        return "No verdict: the verb verify did not come to an end."
    failed = [check["name"] for check in verdict["checks"] if not check["ok"]]
    if failed:
        return f"{len(failed)} of {len(verdict['checks'])} checks failed: {'; '.join(failed)}"
    parts = [f"The lab works: {len(verdict['checks'])} checks"]
    parts += [f"{name} {version}" for name, version in verdict.get("versions", {}).items()]
    if image := verdict.get("image", {}).get("id"):
        parts.append(f"image {image.removeprefix('sha256:')[:12]}")
    if uri := verdict.get("model", {}).get("uri"):
        parts.append(uri)
    return ", ".join(parts)


def junit(verdict: dict[str, Any]) -> bytes:
    """Return the verdict's checks in the form of JUnit."""
    suite = ElementTree.Element("testsuite", name="verdict", tests=str(len(verdict["checks"])))
    for check in verdict["checks"]:
        case = ElementTree.SubElement(suite, "testcase", classname="verdict", name=check["name"], time=str(check["seconds"]))
        if not check["ok"]:
            ElementTree.SubElement(case, "failure", message=check["detail"])
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    return bytes(ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def bill_of_materials(lock: Path, to: Path) -> None:
    """Write the packages of a lock as a CycloneDX document."""
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), "requirements", str(lock), "--output-reproducible", "--of", "JSON", "-o", str(to)]
    subprocess.run(command, check=True)


def main(arguments: list[str]) -> int:
    """Run as in the module's docstring."""
    folder = Path(arguments[0])
    (REPORTS / "junit").mkdir(parents=True, exist_ok=True)
    report, wrong, place = REPORTS / "lab.json", REPORTS / "mistakes.txt", folder / "lock_dir"
    verdict = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    mistakes = wrong.read_text(encoding="utf-8").splitlines() if wrong.exists() else []
    text = describe(verdict, mistakes, os.environ.get("DRY_RUN") == "true")
    (REPORTS / "description.txt").write_text(text + "\n", encoding="utf-8")
    print(text)
    if verdict is not None:
        (REPORTS / "junit/verdict.xml").write_bytes(junit(verdict))
    lock_dir = Path(place.read_text(encoding="utf-8")) if place.exists() else None
    if lock_dir and (lock_dir / "project.txt").exists():
        shutil.copytree(lock_dir, REPORTS / "lock", dirs_exist_ok=True)
        bill_of_materials(lock_dir / "project.txt", REPORTS / "sbom.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
