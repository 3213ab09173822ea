"""Role nexus_repositories: its sentences for answers of a Nexus, and what follows from what is there; tests/nexus tries it on a real one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.conftest import ROOT

ROLE = ROOT / "roles/nexus_repositories"
PASSWORD = 'it\'s a "password" with {% and : in it'
QUESTIONS = ["repositorySettings", "routing-rules", "security/roles", "security/users", "security/anonymous", "security/ssl/truststore", "blobstores"]
PROXY = {
    "name": "pypi",
    "format": "pypi",
    "type": "proxy",
    "online": True,
    "proxy": {"remoteUrl": "https://mirror.example.com/", "contentMaxAge": 5, "metadataMaxAge": 5},
    "httpClient": {"connection": None, "authentication": None},
    "routingRuleName": "pypi-no-project-list",
}


def value(expression: str, there: dict[str, Any] | None = None, **values: Any) -> Any:
    """Return what an expression gives in the role, with `there` as Nexus's answers by path, and with the words of a lab for its messages."""
    loader = DataLoader()
    variables: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        variables.update(loader.load_from_file(str(ROLE / name / "main.yml"), trusted_as_template=True))
    wiring = loader.load_from_file(str(ROOT / "playbooks/group_vars/all/nexus_repositories.yml"))
    usual = {"security/anonymous": {"enabled": False}, "blobstores": [{"name": "default"}]}
    answers = [{"json": {**usual, **(there or {})}.get(path, [])} for path in QUESTIONS]
    variables.update(
        inventory_hostname="lab1",
        nexus_repositories_url="https://nexus.example/",
        nexus_repositories_admin_password=PASSWORD,
        nexus_repositories_reader_user="reader",
        nexus_repositories_reader_password=PASSWORD,
        nexus_repositories_publisher_user="publisher",
        nexus_repositories_publisher_password=PASSWORD,
        **{name: wiring[name] for name in ("nexus_repositories_names", "nexus_repositories_trust_hint")},
        __nexus_repositories_second_login={"skipped": True},
        __nexus_repositories_answers={"results": answers},
        __nexus_repositories_pip={"stdout": "https://pip.example/simple"},
    )
    return Templar(loader=loader, variables={**variables, **values}).template(trust_as_template(f"{{{{ {expression} }}}}"))


def objects(**values: Any) -> dict[str, dict[str, Any]]:
    """Return what the role compares, by path; of two with the same path the first."""
    found: dict[str, dict[str, Any]] = {}
    for entry in value("__nexus_repositories_objects", **values):
        found.setdefault(entry["path"], entry)
    return found


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": -1, "msg": "Request failed: <urlopen error [Errno 111] Connection refused>"}, ["lab1", "lab_index_url", "Connection refused."]),
        ({"status": -1, "msg": "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] self-signed>"}, ["lab_ca_bundle", "https://nexus.example"]),
        ({"msg": "The module interpreter was not found."}, ["not found. Start it"]),
        ({"status": 401}, ["'admin'", "vault_nexus_admin_password", "(401)"]),
        ({"status": 403}, ["nx-admin", "nexus_repositories_admin_user", "(403)"]),
        ({"status": 404}, ["no Nexus 3", "/nexus"]),
        ({"status": 200}, ["no Nexus 3"]),
        ({"status": 302}, ["no Nexus 3 (302"]),
        ({"status": 503}, ["503", "log"]),
    ],
)
def test_one_sentence_says_what_is_wrong_where_it_was_set_and_what_to_write(answer: dict[str, Any], words: list[str]) -> None:
    sentence = value("__nexus_repositories_login_problem", __nexus_repositories_login=answer)
    assert [word for word in words if word not in sentence] == []
    assert sentence.endswith(".") and "\n" not in sentence and ".." not in sentence
    assert PASSWORD not in sentence


def test_a_nexus_that_works_is_not_complained_about() -> None:
    assert value("__nexus_repositories_login_problem", __nexus_repositories_login={"status": 200, "json": []}) == ""
    assert value("__nexus_repositories_answer_problem") == value("__nexus_repositories_conflict") == value("__nexus_repositories_input_problem") == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"nexus_repositories_url": ""}, ["into lab_index_url, as in https://nexus.example.com/repository/pypi-all/simple/."]),
        (
            {"nexus_repositories_url": "nexus.example"},
            ["'nexus.example' is no address of a Nexus (lab_index_url)", "as in https://nexus.example.com/repository"],
        ),
        ({"nexus_repositories_admin_password": ""}, ["write vault_nexus_admin_password into the vault"]),
        ({"nexus_repositories_reader_user": "publisher"}, ["nexus_repositories_admin_user or, in the vault, vault_nexus_user and vault_nexus_publisher_user."]),
        ({"nexus_repositories_reader_password": ""}, ["vault_nexus_pass and vault_nexus_publisher_pass into the vault"]),
    ],
)
def test_what_is_missing_is_named_as_the_lab_s_user_sets_it(given: dict[str, Any], words: list[str]) -> None:
    sentence = value("__nexus_repositories_input_problem", **given)
    assert [word for word in words if word not in sentence] == []
    assert sentence.endswith(".") and "\n" not in sentence and PASSWORD not in sentence


def test_rights_that_are_missing_are_named() -> None:
    results = [{"status": 200, "json": []}, {"status": 403, "item": {"key": "the routing rules", "value": "routing-rules"}}]
    sentence = value("__nexus_repositories_answer_problem", __nexus_repositories_answers={"results": results})
    assert "answers 403 to 'admin', who asks for the routing rules" in sentence and "nx-admin" in sentence


@pytest.mark.parametrize(
    ("given", "there", "upstream"),
    [
        ("", {}, "https://pip.example"),
        ("", {"repositorySettings": [PROXY]}, "https://mirror.example.com/"),
        ("https://other.example/a/simple/", {"repositorySettings": [PROXY]}, "https://other.example/a"),
        ("https://mirror.example.com/simple", {"repositorySettings": [PROXY]}, "https://mirror.example.com/"),
    ],
)
def test_the_public_index_is_the_given_one_or_stays_or_is_pip_s_own(given: str, there: dict[str, Any], upstream: str) -> None:
    proxy = objects(there=there, nexus_repositories_upstream_url=given)["repositories/pypi/proxy"]
    assert proxy["wanted"]["proxy"]["remoteUrl"] == upstream


@pytest.mark.parametrize("pip", ["", "https://user:word@pip.example/simple"])
def test_a_public_index_that_is_unknown_or_has_credentials_is_asked_for(pip: str) -> None:
    sentence = value("__nexus_repositories_conflict", __nexus_repositories_pip={"stdout": pip})
    assert "nexus_repositories_upstream_url" in sentence and "word" not in sentence


def test_an_existing_proxy_gets_the_rule_and_keeps_the_rest() -> None:
    found = objects(there={"repositorySettings": [{**PROXY, "routingRuleName": None}]})["repositories/pypi/proxy"]
    assert found["wanted"]["routingRule"] == "pypi-no-project-list" and found["there"]["routingRule"] is None
    assert found["wanted"].keys() == {"name", "online", "proxy", "routingRule"} and found["wanted"]["proxy"].keys() == {"remoteUrl"}


def test_a_proxy_with_credentials_is_left_alone() -> None:
    login = {"type": "username", "username": "company", "password": None}
    proxy = {**PROXY, "httpClient": {**PROXY["httpClient"], "authentication": login}}  # type: ignore[dict-item]
    assert value("__nexus_repositories_conflict", there={"repositorySettings": [proxy]}) == ""
    sentence = value("__nexus_repositories_conflict", there={"repositorySettings": [proxy]}, nexus_repositories_upstream_url="https://other.example/simple")
    assert "shows to nobody" in sentence and "https://other.example" in sentence


def test_what_a_rule_blocks_besides_stays_blocked() -> None:
    rule = {"name": "pypi-no-project-list", "description": "theirs", "mode": "BLOCK", "matchers": ["^/secret"]}
    found = objects(there={"routing-rules": [rule]})["routing-rules"]
    assert found["wanted"]["matchers"][0] == "^/secret" and len(found["wanted"]["matchers"]) == 2 and found["wanted"]["description"] == "theirs"
    assert not found["ours"]


@pytest.mark.parametrize(
    "path", ["/simple/", "/simple", "simple/", "//simple//", "/simple/?x=1", "/simple/?a=\nb", "/simple/index.html", "/simple/index.html?x"]
)
def test_the_rule_matches_the_list_of_all_projects_however_it_is_asked_for(path: str) -> None:
    assert re.fullmatch(value("__nexus_repositories_no_list"), path)


@pytest.mark.parametrize("path", ["/simple/pip/", "/simple/simple/", "/simple/index/", "/packages/simple/", "/packages/p/pip/1.0/pip-1.0.whl"])
def test_the_rule_matches_nothing_that_an_installer_asks_for(path: str) -> None:
    assert not re.fullmatch(value("__nexus_repositories_no_list"), path)


def test_a_blob_store_that_is_missing_matters_to_new_repositories_only() -> None:
    assert "nexus_repositories_blob_store" in value("__nexus_repositories_conflict", nexus_repositories_blob_store="nowhere")
    repositories = [{**PROXY, "name": name, "type": kind} for name, kind in (("pypi", "proxy"), ("pypi-internal", "hosted"), ("pypi-all", "group"))]
    assert value("__nexus_repositories_conflict", there={"repositorySettings": repositories}, nexus_repositories_blob_store="nowhere") == ""


def test_certificates_are_taken_from_the_file_one_by_one(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    pems = [f"-----BEGIN CERTIFICATE-----\n{letter * 60}\n-----END CERTIFICATE-----" for letter in "AB"]
    bundle.write_text("# A company\n{}\n\n# Another\n{}\n".format(*pems), encoding="utf-8")
    there = {"security/ssl/truststore": [{"pem": pems[1].replace("\n", "\r\n")}], "repositorySettings": [PROXY]}
    assert value("__nexus_repositories_certificates", nexus_repositories_ca_file=str(bundle)) == pems
    missing = "__nexus_repositories_certificates | map('regex_replace', '\\s', '') | difference(__nexus_repositories_trusts) | length"
    assert value(missing, there=there, nexus_repositories_ca_file=str(bundle)) == 1
    proxy = objects(there=there, nexus_repositories_ca_file=str(bundle))["repositories/pypi/proxy"]
    assert proxy["wanted"]["httpClient"] == {"connection": {"useTrustStore": True}}
