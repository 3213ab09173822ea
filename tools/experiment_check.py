#!/usr/bin/env python3
"""Check experiment files before anything runs: ``make experiment-check``, ``make experiment-check EXPERIMENT=wine``.

Each mistake is one sentence: file, line, key, what was found, what is allowed. The files are read here; the callables they name are looked at in the lab's
image, when this machine has it, by the very command that the DAG's first task runs. The exit code is 1 when there is a mistake.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DAGS = ROOT / "dags"
LAB = ROOT / os.environ.get("LAB", "inventories/lab")
"""The lab's folder, which `make` names."""
PYTHON = "/opt/project/bin/python"

sys.path.append(str(DAGS))
from lab_experiment import data_files, document, failures  # noqa: E402 (the path above comes first)

IN_IMAGE = """
import contextlib, json, sys
sys.path.append(sys.argv[1])
from lab_experiment.__main__ import answered, check
answers, packages = {}, {}
with contextlib.redirect_stdout(sys.stderr):
    for name in sys.argv[3:]:
        answers[name] = answered(lambda: check({"experiment": name, "experiments_dir": sys.argv[2]}, packages))
    for process in packages.values():
        process.close()
print(json.dumps(answers))
"""
"""Runs the command `check` for several experiments; one process imports all packages of an environment, since that takes its time.

What they print goes to stderr.
"""


def name_of_lab() -> str:
    """The value of lab_name."""
    files = [ROOT / "playbooks/group_vars/all/shared.yml", *sorted((LAB / "group_vars/lab").glob("*.yml"))]
    texts = [path.read_text(encoding="utf-8") for path in files]
    values = [yaml.safe_load(text) or {} for text in texts if re.search(r"^lab_name:", text, re.M)]
    return str(values[-1]["lab_name"])


def image_of_lab() -> tuple[str, str]:
    """The newest image of the lab on this machine, and why there is none."""
    docker = shutil.which("docker")
    if docker is None:
        return "", "this machine has no Docker"
    command = [docker, "image", "ls", "--quiet", "--no-trunc", f"{name_of_lab()}/airflow"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].removesuffix(".")
        denied = "; use sudo, or an account of the group docker" if "permission denied" in said.lower() else ""
        return "", f"Docker does not say which images are here: {said}{denied}"
    return next(iter(done.stdout.split()), ""), "this machine has no image of the lab (make lab builds it)"


def in_image(image: str, folder: Path, names: list[str]) -> dict[str, Any]:
    """What the command ``check`` answers in an image, by experiment: without network, capabilities or a way to write.

    Raises:
        RuntimeError: The container did not answer; the message is what it said.
    """
    container = ["docker", "run", "--rm", "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", f"{os.getuid()}:0"]
    files = ["--read-only", "--tmpfs", "/tmp", "--env", "HOME=/tmp", "--volume", f"{DAGS}:/opt/airflow/dags:ro", "--volume", f"{folder}:{folder}:ro"]
    volume = f"{name_of_lab()}-environments"  # with the service that makes environments other than the image's own
    locks = folder.parent / "environments"
    if subprocess.run(["docker", "volume", "inspect", volume], capture_output=True, check=False).returncode == 0 and locks.is_dir():
        files += ["--volume", f"{volume}:/opt/environments:ro", "--volume", f"{locks}:/opt/airflow/environments:ro"]
    queues = Path("/opt", name_of_lab(), "airflow_stack/facts/queues.json")  # of a lab that runs on this machine: which ones its workers consume
    if os.access(queues, os.R_OK):
        files += ["--volume", f"{queues}:{queues}:ro", "--env", f"LAB_QUEUES_FILE={queues}"]
    command = [*container, *files, "--entrypoint", PYTHON, image, "-B", "-c", IN_IMAGE, "/opt/airflow/dags", str(folder), *names]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"docker run ended with exit code {done.returncode}")
    sys.stderr.writelines(line for line in done.stderr.splitlines(keepends=True) if " is right: " not in line)
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def data_of_lab(folder: Path) -> Path | None:
    """The folder beside that of the experiments that becomes the workers' ``/opt/data``; None where there is none, or ``lab_data_dir`` names another one."""
    lab = folder.parent
    files = [*lab.glob("group_vars/**/*.yml"), *lab.glob("host_vars/**/*.yml"), *lab.glob("*.yml")]
    used = re.compile(r"""^[ \t]*lab_data_dir:[ \t]+(?!""|''|~|null\b|#)\S""", re.M)
    there = (lab / "data").is_dir() and not any(used.search(path.read_text(encoding="utf-8")) for path in files)
    return lab / "data" if there else None


def check(folder: Path, names: list[str], image: str, without: str = "no image was named") -> bool:
    """Check experiments and tell what was found; tells whether all of them are right. Without an image it also tells why there is none."""
    found = names or document.experiments(folder)
    right: list[str] = []
    mistakes: list[str] = [] if found else [f"{folder} has no experiment file; allowed: files named like wine.yml."]
    mistakes += [] if names else document.passed_over(folder)
    data = data_of_lab(folder)
    missing: dict[str, list[str]] = {}
    for name in found:
        try:
            path = document.find(name, folder)
            content = document.read(path)
            right.append(name)
            source = document.Source(path, {})
            missing[name] = [f"{source.place(source.path(key))}: {words}" for key, words in (data_files.missing(content, data) if data else ())]
        except failures.Mistakes as error:
            mistakes += error.sentences
    looked = f"the callables were not looked at: {without}"
    if image and right:
        try:
            answers = in_image(image, folder, right)
            looked = "file and callables"
        except RuntimeError as error:
            answers = {}
            mistakes.append(f"The callables were not looked at: the lab's image {image} says: {error}")
        for name in list(right):
            answer = answers.get(name, {})
            if "result" not in answer:
                right.remove(name)
                mistakes += answer.get("mistakes", [answer["failure"]] if "failure" in answer else [])
    mistakes += [sentence for sentences in missing.values() for sentence in sentences]
    right = [name for name in right if not missing[name]]
    here = f"{Path.cwd()}{os.sep}"
    for sentence in mistakes:
        print(sentence.replace(here, ""), file=sys.stderr)
    if right:
        print(f"Right: {', '.join(right)} ({looked}).")
    return not mistakes


def main() -> int:
    """Read the arguments, and check; returns the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[2], prog="tools/experiment_check.py")
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="names of files without .yml; all of the folder when there is none")
    parser.add_argument("--experiments", type=Path, default=LAB / "experiments", help="the folder (%(default)s)")
    parser.add_argument("--image", help="the image whose project environment has the callables (default: the lab's newest on this machine; '' for none)")
    arguments = parser.parse_args()
    image, without = image_of_lab() if arguments.image is None else (arguments.image, "no image was named")
    folder = Path(os.path.abspath(arguments.experiments))  # beside which locks and data are, and not beside what it may be a link to
    return 0 if check(folder, arguments.names, image, without) else 1


if __name__ == "__main__":
    sys.exit(main())
