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


# What looks like a variable and is none: packages and modules of the DAGs, the roles themselves with their files, the lab's groups
NO_VARIABLES = (
    {path.stem for path in (ROOT / "dags").iterdir()}
    | {*NAMES, *(path.stem for role in ROLES for path in (role / "files").glob("*"))}
    | {"lab", "lab_control", "lab_builder", "lab_workers"}
    | {
        "lab_result",  # what the callback `terminal` ends with
        "vault_password",  # an input of a credential of AWX
        "workbench_notebooks",  # a part of a backup
    }
)
# Files that may name variables of others, and why
ALLOWED = {
    "roles/awx/vars/main/surveys.yml": "what a question of a survey sets is a variable of the playbooks that its job runs",
    "roles/awx/vars/main/inventory.yml": "so is what a host of the controller's inventory has from an answer",
}


#: What a page shows as code: an example of how a role is used may name anything
CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.M | re.S)


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what a file says, each with its line.

    Of YAML that is keys and values however many lines they have, of a page its lines outside of code blocks, of other files their lines without comments.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        prose = CODE_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
        yield from enumerate(prose.splitlines(), 1)
        return
    if path.suffix != ".yml":
        yield from ((number, line) for number, line in enumerate(text.splitlines(), 1) if not line.lstrip().startswith("#"))
        return
    nodes = [yaml.compose(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.ScalarNode):
            yield node.start_mark.line + 1, node.value
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            nodes += [part for pair in node.value for part in pair]


def foreign_names(role: str, path: Path) -> Iterator[str]:
    """Yield the variables that a file of a role names, in an expression or a sentence, and that are not the role's own."""
    others = "|".join(name for name in NAMES if name != role)
    foreign = re.compile(rf"(?<![\w.])(?:hostvars\b|groups(?:\[|\.[a-z]|\s*\|)|(?:__)?(?:{others}|lab|vault)_[a-z]\w*)")
    for number, text in texts_of(path):
        for match in foreign.finditer(re.sub(rf"\b_*{role}_\w+", "", text)):
            if match[0] not in NO_VARIABLES:
                yield f"{path}:{number}: {match[0]}"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_a_role_names_nothing_but_its_own_variables(role: Path) -> None:
    folders = ("defaults", "files", "handlers", "meta", "tasks", "templates", "vars")
    files = [path for folder in folders for path in sorted((role / folder).rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    files.append(role / "README.md")
    found = {str(path.relative_to(ROOT)): list(foreign_names(role.name, path)) for path in files}
    assert not [name for path, names in found.items() if path not in ALLOWED for name in names]
    assert all(found[path] for path in ALLOWED if path in found), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("main.yml", "- debug:\n    msg: >-\n      {{ first_model_dag\n      ~ lab_dir }}\n", ["2: lab_dir"]),
        ("main.yml", "- fail: {msg: Write the right vault_nexus_pass into the vault.}\n  when: groups.lab | length\n", ["1: vault_nexus_pass", "2: groups.l"]),
        ("main.yml", "# lab_dir\n- mlops.lab.lab_dag_run:\n    run: |\n      echo {{ __verdict_run\n      | trim }} # .vault_password\n", ["3: __verdict_run"]),
        ("page.j2", "# lab_dir\n{{ hostvars[\n'a'].x }} {{ first_model_lab_dir }}\n{{ mlflow_server_port\n}}\n", ["2: hostvars", "4: mlflow_server_port"]),
        ("main.yml", "running: >-\n  {{ first_model_hosts | map('extract', hostvars)\n  | map(attribute='running') }}\n", ["1: hostvars"]),
        ("README.md", "# Uses `lab_dir`\n```yaml\na: '{{ lab_dir }}'\n```\nAsk for `vault_nexus_pass`.\n", ["1: lab_dir", "5: vault_nexus_pass"]),
    ],
)
def test_names_are_found_in_expressions_of_several_lines_and_in_sentences(tmp_path: Path, name: str, text: str, names: list[str]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert sorted(foreign_names("first_model", tmp_path / name)) == [f"{tmp_path / name}:{found}" for found in names]


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_messages_name_what_the_wiring_hands_to_the_role(role: Path) -> None:
    """`<role>_names` says under which name each value is set: in the role its own, in the wiring what is handed on there."""
    own, options = read(role / "defaults/main.yml").get(f"{role.name}_names", {}), role_docs.options_of(role)
    wiring = read(ROOT / f"playbooks/group_vars/all/{role.name}.yml")
    names = wiring.get(f"{role.name}_names", {})
    assert own.keys() == names.keys() == options.get(f"{role.name}_names", {}).get("options", {}).keys()
    for key in [key for key in own if f"{role.name}_{key}" in options]:
        assert own[key] == f"{role.name}_{key}" and names[key] in str(wiring[own[key]]), f"{own[key]} is not set by {names[key]}"


DOCKERFILES = [(role, path) for role in ROLES for path in sorted(role.glob("templates/**/Dockerfile*"))]
LOGIN = {"index_user", "index_password"}


@pytest.mark.parametrize(("role", "path"), DOCKERFILES, ids=[f"{role.name}/{path.stem}" for role, path in DOCKERFILES])
def test_the_login_of_the_index_has_one_pair_of_names_and_one_way_into_a_build(role: Path, path: Path) -> None:
    text, options = path.read_text(encoding="utf-8"), role_docs.options_of(role)
    mounted = set(re.findall(r"\bid=([\w-]+)", text)) | set(re.findall(r"/run/secrets/([\w-]+)", text))
    assert mounted <= {*LOGIN, "ca_bundle"}, "a build secret of another name"
    assert (mounted & LOGIN) in (set(), LOGIN), "half a login"
    if mounted & LOGIN:
        assert {f"{role.name}_{name}" for name in LOGIN} <= options.keys(), "the role takes the login under other names"
        handed = "".join(file.read_text(encoding="utf-8") for folder in ("tasks", "vars") for file in sorted((role / folder).rglob("*.yml")))
        for name in LOGIN:
            assert re.search(rf"\b{name}'?: [^,}}\n]*{role.name}_{name}\b", handed), f"{role.name}_{name} is not handed to the build as {name}"
        for part in ("UV_DEFAULT_INDEX=['\"]lab=", 'UV_INDEX_LAB_USERNAME="[$]user"', 'UV_INDEX_LAB_PASSWORD="[$]pass"'):
            assert re.search(part, text), "uv is told the login in another way than everywhere else"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_who_reads_the_index_has_one_pair_of_names(role: Path) -> None:
    """AWX has a credential of type Nexus, whose fields are its own."""
    options = {name.removeprefix(f"{role.name}_"): option for name, option in role_docs.options_of(role).items()}
    assert role.name == "awx" or not [name for name in options if re.fullmatch(r"nexus_.*|index_(?:username|login|pass)", name)]
    assert (options.keys() & LOGIN) in (set(), LOGIN)
    assert "index_password" not in options or options["index_password"].get("no_log") is True, f"{role.name}_index_password may be shown"


@pytest.mark.parametrize("role", ROLES, ids=NAMES)
def test_tags_are_set_in_playbooks_alone(role: Path) -> None:
    tagged = [path for folder in ("tasks", "handlers") for path in (role / folder).rglob("*.yml") if re.search(r"^\s*(?:- )?tags:", path.read_text(), re.M)]
    assert not tagged


def test_no_task_says_become_false_which_loses_to_the_variable_of_a_lab() -> None:
    """What runs as whoever logs in, on the control node above all, says so by the variable: ``vars: {ansible_become: false}``."""
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml")]
    said = [path for path in files if re.search(r"^\s+become: false", path.read_text(encoding="utf-8"), re.M)]
    assert len(files) > 50 and not said
