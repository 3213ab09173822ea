"""Time a second run of the lab's playbook, or write the benchmark's report. Runs on the control node.

Usage: ``report.py second-run INVENTORY...`` runs mlops.lab.site and prints where the time went as JSON;
``report.py table RESULTS REPORT`` reads what was measured from the JSON file RESULTS, writes REPORT and prints the table.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

PLAYBOOKS = Path(__file__).resolve().parent.parent / "playbooks"
SITE = "mlops.lab.site"
#: playbooks that only check: what they take is not the price of finding nothing to do
CHECKS = ("preflight", "train", "verify")
#: cores that may be busy with other things while a side is measured
QUIET = 0.2
#: what the lab is to reach beside the other side
TARGETS = {"up": 0.6, "cpu": 0.4, "memory": 0.5, "second_run": 1.2}


def seconds_of(duration: dict[str, str]) -> float:
    """Return the seconds between the two times that Ansible reports for a play or a task; a play or task for no host has no end, and took none."""
    start, end = (datetime.datetime.fromisoformat(duration.get(key, duration["start"]).replace("Z", "+00:00")) for key in ("start", "end"))
    return (end - start).total_seconds()


def second_run(inventories: list[str]) -> dict[str, Any]:
    """Run the playbook until it changes nothing, at most three times, and return what the last run took."""
    for _ in range(3):
        taken = run_site(inventories)
        if taken["changed"] == 0:
            break
    return taken


def run_site(inventories: list[str]) -> dict[str, Any]:
    """Run the playbook and return what its plays took.

    Returns:
        `seconds` of the whole command, `checks` of the plays that only check, `plays` by name, `slowest` tasks, and what Ansible `changed`.

    Raises:
        RuntimeError: the playbook failed.
    """
    command = ["ansible-playbook", SITE, *(word for inventory in inventories for word in ("-i", inventory))]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    begun = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=500)
    seconds = time.monotonic() - begun
    # Some actions write lines of their own before the document.
    _words, brace, document = ("\n" + done.stdout).partition("\n{\n")
    if not brace:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-1500:]}")
    run = json.JSONDecoder().raw_decode("{" + document)[0]
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: the lab must work before it is measured")
    checking = {play["name"] for verb in CHECKS for play in yaml.safe_load((PLAYBOOKS / f"{verb}.yml").read_text(encoding="utf-8"))}
    plays: dict[str, float] = {}
    tasks: list[tuple[float, str]] = []
    for play in run["plays"]:
        name = play["play"]["name"]
        plays[name] = round(plays.get(name, 0) + seconds_of(play["play"]["duration"]), 2)
        tasks += [(round(seconds_of(task["task"]["duration"]), 2), task["task"]["name"]) for task in play["tasks"] if "end" in task["task"]["duration"]]
    return {
        "seconds": round(seconds, 2),
        "checks": round(sum(taken for name, taken in plays.items() if name in checking), 2),
        "plays": plays,
        "slowest": [{"seconds": taken, "task": name} for taken, name in sorted(tasks, reverse=True)[:12]],
        "tasks": len(tasks),
        "changed": sum(stats["changed"] for stats in run["stats"].values()),
        "command": " ".join(command),
        "load": round(os.getloadavg()[0], 2),
    }


class Table:
    """The lines of the printed report."""

    def __init__(self) -> None:
        """Begin with the headings."""
        self.rows: list[tuple[str, str, str, str, str]] = [("measured", "official", "this lab", "ratio", "target")]
        self.ratios: dict[str, float] = {}

    def add(self, what: str, base: float, ours: float, unit: str, digits: int = 1, target: str = "") -> None:
        """Add a line with two figures and their ratio; with `target`, the name of a target, it says whether it was reached."""
        ratio = ours / base if base else float("nan")
        verdict = ""
        if target:
            self.ratios[target] = round(ratio, 3)
            verdict = f"<= {TARGETS[target]:.2f} {'reached' if ratio <= TARGETS[target] else 'MISSED'}"
        self.rows.append((what, f"{base:.{digits}f} {unit}", f"{ours:.{digits}f} {unit}", f"{ratio:.2f}", verdict))

    def note(self, words: str) -> None:
        """Add a line of text."""
        self.rows.append((words, "", "", "", ""))

    def text(self) -> str:
        """Return the table with its columns aligned."""
        figures = [row for row in self.rows if any(row[1:])]
        widths = [max(len(row[column]) for row in figures) for column in range(5)]
        lines = []
        for row in self.rows:
            aligned = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:4], widths[1:4], strict=True)), row[4]]
            lines.append("  ".join(aligned).rstrip() if any(row[1:]) else row[0])
        return "\n".join(lines)


def table(results: dict[str, Any]) -> Table:
    """Set the two sides beside each other."""
    base, ours, by_hand, again = results["official"], results["lab"], results["no_op"], results["second_run"]
    machine = ours["machine"]
    shown = Table()
    shown.add("from nothing to usable", base["up"]["seconds"], ours["up"]["seconds"], "s", target="up")
    shown.add("  this lab through its roles, one after the other", base["up"]["seconds"], results["roles"]["seconds"], "s")
    shown.add("  CPU that it took", base["up"]["machine_cpu_seconds"], ours["up"]["machine_cpu_seconds"], "s")
    shown.add("idle CPU: containers and health checks", base["idle"]["cores"], ours["idle"]["cores"], "cores", 3, target="cpu")
    engine = {name: results[name]["idle"]["cores"] + results[name]["idle"]["engine_cores"] for name in ("official", "lab")}
    shown.add("  with the engine's own share", engine["official"], engine["lab"], "cores", 3)
    shown.add("memory (PSS)", base["idle"]["memory_mib"], ours["idle"]["memory_mib"], "MiB", 0, target="memory")
    # The official file starts Flower on request only.
    for what, figure, unit, digits in (("CPU", "cores_by_container", "cores", 3), ("memory", "memory_mib_by_container", "MiB", 0)):
        sums = {name: sum(value for one, value in results[name]["idle"][figure].items() if not one.endswith("/flower")) for name in ("official", "lab")}
        shown.add(f"  {what} without Flower on both sides", sums["official"], sums["lab"], unit, digits)
    for image in ours["images"]:
        if image in base["images"]:
            shown.add(f"image {image}", base["images"][image] / 1e6, ours["images"][image] / 1e6, "MB", 0)
    shown.note("")
    shown.rows.append(("measured", "by hand", "this lab", "ratio", "target"))
    shown.add("second run, beside by hand + the checks", by_hand["seconds"] + again["checks"], again["seconds"], "s", target="second_run")
    shown.add("  without the checks on both sides", by_hand["seconds"], again["seconds"] - again["checks"], "s")
    shown.note(f"  the checks (plays {', '.join(CHECKS)}): {again['checks']:.1f} s; changed={again['changed']} in {again['tasks']} tasks")
    shown.note("")
    shown.note(
        f"{machine['cores']} cores, {machine['memory_mib']} MiB, {machine['system']}, "
        f"Docker {machine['engine']}, compose {machine['compose']}, cgroups {machine['cgroups']}"
    )
    for name, side in (("official", base), ("this lab", ours)):
        idle = side["idle"]
        shown.note(
            f"{name}: load {side['load_before']} before, {idle['load']} after; "
            f"beside it {idle['other_cores']} cores were busy and {side['machine']['other_containers']} containers ran"
        )
    busy = [side["idle"]["other_cores"] for side in (base, ours)]
    if max(busy) > QUIET:
        shown.note(f"The machine was not quiet (more than {QUIET} cores busy with other things): measure again before you rely on the figures.")
    shown.note(f"second run: load {again['load']}; by hand: load {by_hand['load']}, runs {by_hand['runs']}")
    return shown


def main(words: list[str]) -> int:
    """Run one part; returns the exit code."""
    try:
        if words[0] == "second-run":
            print(json.dumps(second_run(words[1:])))
            return 0
        results = json.loads(Path(words[1]).read_text(encoding="utf-8"))
        shown = table(results)
        report = {
            "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "targets": {name: {"at_most": most, "ratio": shown.ratios[name], "reached": shown.ratios[name] <= most} for name, most in TARGETS.items()},
            **results,
        }
        Path(words[2]).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        print(shown.text())
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
