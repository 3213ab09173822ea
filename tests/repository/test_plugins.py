"""The plugins: a module's documentation is the only list of its options."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ansible_collections.mlops.lab.plugins.plugin_utils.documentation import argument_spec

from tests.conftest import ROOT, VERBS

ACTIONS = sorted((ROOT / "plugins/action").glob("*.py"))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.stem)
def test_an_action_takes_what_its_module_documents(action: Path) -> None:
    module = ast.parse((ROOT / "plugins/modules" / action.name).read_text(encoding="utf-8"))
    names = [target.id for node in module.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)]
    assert names == ["DOCUMENTATION", "EXAMPLES", "RETURN"] and len(module.body) == 4, "what runs on the host is a module of its own, with its own options"
    calls = [node for node in ast.walk(ast.parse(action.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    specs = [call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "validate_argument_spec"]
    assert [ast.unparse(spec).partition(", inside=")[0].rstrip(")") for spec in specs] == ["argument_spec(DOCUMENTATION"]


@pytest.mark.parametrize("plugin", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: path.stem)
def test_a_plugin_knows_no_playbook(plugin: Path) -> None:
    """What a user types is told to it: a lab's own folder has no Makefile, and other playbooks may use it."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)) | {*VERBS}
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    texts = [node.value for node in ast.walk(ast.parse(plugin.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    typed = [name for text in texts for name in re.findall(r"\bmake ([a-z-]+)(?!\w)", text)]
    named = [name for text in texts for name in re.findall(r"\bmlops\.lab\.(\w+)|\b(\w+)\.yml\b", text)]
    assert not targets & set(typed) and not playbooks & {name for pair in named for name in pair}


def test_options_inside_of_options_are_read_where_the_plugin_asks_for_them() -> None:
    documentation = "options: {a: {type: list, elements: dict, suboptions: {b: {type: str, required: true, description: x}}}, c: {type: dict, suboptions: {}}}"
    found = argument_spec(documentation, inside=["a"])
    assert found == {"a": {"type": "list", "elements": "dict", "options": {"b": {"type": "str", "required": True}}}, "c": {"type": "dict"}}


def test_options_are_read_from_the_documentation() -> None:
    documentation = """
options:
  name: {description: Who., type: str, required: true}
  groups: {description: Which., type: list, elements: dict, default: [], suboptions: {min: {description: How many., type: int}}}
  kind: {description: What., type: str, choices: [a, b], default: a, version_added: 0.1.0}
"""
    assert argument_spec(documentation) == {
        "name": {"type": "str", "required": True},
        "groups": {"type": "list", "elements": "dict", "default": []},
        "kind": {"type": "str", "choices": ["a", "b"], "default": "a"},
    }
