"""What a job of AWX makes of the expressions in its inventory: of answers, of none, and of the files of its credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.mlops.lab.plugins.filter.awx_inventory import answered, awx_inventory, secret

from tests.conftest import ROOT


def read(expression: str, **variables: Any) -> Any:
    """Return what a job reads, with the variables that it has."""
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(expression))


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        *((kind, nothing, "as given") for kind in ("text", "list", "path") for nothing in (None, "", " \r\n ")),
        *(("version", nothing, "as given") for nothing in (None, "")),
        ("text", " https://nexus.example.com/simple/ ", "https://nexus.example.com/simple/"),
        ("text", "{{ 1 }} \\1 NAME", "{{ 1 }} \\1 NAME"),
        ("list", "polars==1.0\r\n\r\n  duckdb\n", ["polars==1.0", "duckdb"]),
        ("list", " https://git.example.com/raw/requirements.txt\n", "https://git.example.com/raw/requirements.txt"),
        ("list", "https://git.example.com/a.whl\nduckdb", ["https://git.example.com/a.whl", "duckdb"]),
        ("path", "examples/wine_cultivars", ["/project/examples/wine_cultivars"]),
        ("path", "one\r\n\n  .two/three 3..4 \n", ["/project/one", "/project/.two/three 3..4"]),
        ("version", "python3.10", "3.10"),
    ],
)
def test_an_answer_counts_and_an_empty_one_does_not(kind: str, answer: str | None, value: object) -> None:
    found = read(answered("x", kind, "folder if folder else ''"), given_x="as given", folder="/project", **({} if answer is None else {"survey_x": answer}))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("answer", ["..", "../../etc", "examples/../../etc", "/etc", "examples/wine_cultivars\n..", "~root", "$HOME/x", "{{ x }}"])
def test_a_directory_outside_of_the_project_is_refused(answer: str) -> None:
    with pytest.raises(AnsibleError, match=r"The survey asks for directories inside the repository.* was answered .*: write for example") as refused:
        read(answered("x", "path", "folder"), given_x=[], folder="/project", survey_x=answer)
    assert ", ".join(answer.splitlines()) in str(refused.value)


@pytest.mark.parametrize(
    ("of_index", "index", "value"),
    [(False, {"vault_x": "of the index"}, "of the vault"), (True, {"vault_x": "of the index"}, "of the index"), (True, {"vault_x": ""}, "of the vault")],
)
def test_a_secret_is_that_of_the_vault_or_of_the_index_own_credential(tmp_path: Path, of_index: bool, index: dict[str, str], value: str) -> None:
    files = {"encrypted_vault_file": str(tmp_path / "vault"), "nexus_credentials_file": str(tmp_path / "index")}
    (tmp_path / "vault").write_text("vault_x: of the vault\n", encoding="utf-8")
    (tmp_path / "index").write_text(json.dumps(index), encoding="utf-8")
    assert read(secret("vault_x", of_index), **files) == value
    assert read(secret("vault_x", of_index), encrypted_vault_file=files["encrypted_vault_file"]) == "of the vault"


def test_what_a_host_has_beside_the_values_of_the_lab() -> None:
    values = {"lab_name": "lab", "b": ["{{ as_written }}"], "a": None}
    more = awx_inventory(values, {"a": "text", "nobody_s": "text", "b": "list"}, "folder", ["vault_z", "vault_y"], ["vault_y", "vault_not_there"])
    assert list(more) == ["given_a", "given_b", "a", "b", "vault_z", "vault_y"]
    assert more["given_a"] is None and more["given_b"] == ["{{ as_written }}"]
    assert "nexus_credentials_file" in more["vault_y"] and "nexus_credentials_file" not in more["vault_z"]


def test_the_guide_shows_what_is_written() -> None:
    assert f"`{answered('lab_index_url', 'text', '')}`" in (ROOT / "docs/awx.md").read_text(encoding="utf-8")
