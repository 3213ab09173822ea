"""What a survey asks is what the verb's roles read: a value that only one of two jobs is asked for would make the lab disagree with itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

VARIABLES = ROOT / "roles/awx/vars/main"
QUESTIONS = yaml.safe_load((VARIABLES / "surveys.yml").read_text(encoding="utf-8"))["__awx_questions"]
TEMPLATES = yaml.safe_load((VARIABLES / "job_templates.yml").read_text(encoding="utf-8"))
VERBS = [template for template in TEMPLATES["__awx_job_templates"] + TEMPLATES["__awx_backup_templates"] if isinstance(template["questions"], list)]
#: what a verb only seems to depend on: whether the index is the lab's own, whose page the verdict neither shows nor opens
APART = {"verify": {"index_url"}}
SHARED = yaml.safe_load((ROOT / "playbooks/group_vars/all/shared.yml").read_text(encoding="utf-8"))
SYSTEMS = SHARED["lab_systems"]


def words(text: str) -> set[str]:
    """Return what could be names of variables in a text. Of the maps of systems and images only what is taken counts: lab_systems.models.project."""
    found = set(re.findall(r"\blab_systems\.\w+\.\w+|\blab_images\.\w+|\b[a-z_][a-z0-9_]+\b", text)) - {"lab_systems", "lab_images"}
    for part in re.findall(r"lab_(?:own_)?systems(?:\.values\(\)| \|).*", text, re.S):
        keys = re.findall(r"(?:attribute=|selectattr\(|parts\()'+(?:value\.)?(\w+)'+", part)
        found |= {f"lab_systems.{system}.{key}" for key in keys for system in SYSTEMS}
    return found


def read_by_tasks(role: str, entry: str) -> set[str]:
    """Return the names in a role's task file, in those that it includes, and in the role's templates."""
    todo, seen, found = [entry], set(), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        text = (ROOT / "roles" / role / "tasks" / name).read_text(encoding="utf-8")
        found |= words(text)
        todo += [more for more in re.findall(r"(?:import|include)_tasks: (\S+\.yml)", text) if more not in seen]
    for path in (ROOT / "roles" / role / "templates").rglob("*"):
        found |= words(path.read_text(encoding="utf-8")) if path.is_file() else set()
    return found


def definitions() -> dict[str, set[str]]:
    """Return every variable of the roles and of the inventory with the names in its value."""
    found: dict[str, set[str]] = {}
    for pattern in ("roles/*/defaults/main.yml", "roles/*/vars/**/*.yml", "playbooks/group_vars/all/*.yml"):
        for path in ROOT.glob(pattern):
            values = yaml.safe_load(path.read_text(encoding="utf-8").replace("!unsafe", ""))
            found |= {name: words(yaml.safe_dump(value)) for name, value in (values or {}).items() if name not in ("lab_systems", "lab_images")}
    found |= {f"lab_systems.{name}.{key}": words(yaml.safe_dump(value)) for name, system in SYSTEMS.items() for key, value in system.items()}
    return found | {f"lab_images.{name}": words(image) for name, image in SHARED["lab_images"].items()}


@pytest.mark.parametrize("template", VERBS, ids=lambda template: template["verb"])
def test_a_verb_asks_for_all_that_it_depends_on(template: dict[str, Any]) -> None:
    book = (ROOT / f"playbooks/{template['verb']}.yml").read_text(encoding="utf-8")
    known, todo, done = definitions(), set[str](), set[str]()
    for role, entry in re.findall(r"name: mlops\.lab\.(\w+)(?:\n\s+tasks_from: (\w+))?", book):
        todo |= read_by_tasks(role, f"{entry or 'main'}.yml") & known.keys()
    while todo:
        name = todo.pop()
        done.add(name)
        todo |= (known[name] & known.keys()) - done
    needed = {question for question, asked in QUESTIONS.items() if asked["variable"].removeprefix("survey_") in done}
    assert needed - set(template["questions"]) - APART.get(template["verb"], set()) == set(), "jobs of this verb read what their form does not ask"


def test_playbooks_neither_ask_nor_wait_for_a_person() -> None:
    for path in [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")]:
        text = path.read_text(encoding="utf-8")
        assert "vars_prompt" not in text and "ansible.builtin.pause" not in text, path
