"""Role nexus_repositories: its sentences for answers of a Nexus, and what follows from what is there; tests/nexus tries it on a real one."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.lab.plugins.module_utils import nexus_plan
from ansible_collections.mlops.lab.plugins.module_utils.nexus_plan import Answer, Plan, Settings, Thing
from ansible_collections.mlops.lab.plugins.modules import nexus_repositories
from ansible_collections.mlops.lab.plugins.modules.nexus_repositories import Run

from tests.conftest import ROOT

ROLE = ROOT / "roles/nexus_repositories"
PASSWORD = 'it\'s a "password" with {% and : in it'
PROXY = {
    "name": "pypi",
    "format": "pypi",
    "type": "proxy",
    "online": True,
    "proxy": {"remoteUrl": "https://mirror.example.com/", "contentMaxAge": 5, "metadataMaxAge": 5},
    "httpClient": {"connection": None, "authentication": None},
    "routingRuleName": "pypi-no-project-list",
}
Found = dict[str, Any]


def settings(**given: Any) -> Settings:
    """Return what the role hands on by default, with the words of a lab for its messages."""
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    wiring = yaml.safe_load((ROOT / "playbooks/group_vars/all/nexus_repositories.yml").read_text(encoding="utf-8"))
    options = {name.removeprefix("nexus_repositories_"): value for name, value in defaults.items()}
    del options["secure_logging"]
    passwords = {f"{who}_password": PASSWORD for who in ("admin", "reader", "publisher")}
    usual = {"url": "https://nexus.example/", "host": "lab1", "reader_user": "reader", "publisher_user": "publisher", **passwords}
    words = {name: wiring[f"nexus_repositories_{name}"] for name in ("names", "trust_hint")}
    return Settings(**{**options, **usual, **words, "pip_url": "https://pip.example/simple", "ca_certificates": "", **given})


def plan(there: Found | None = None, **given: Any) -> Plan:
    """Return what follows from what is there: answers by what is asked for."""
    usual: Found = {question: [] for question in nexus_plan.QUESTIONS}
    usual |= {"anonymous access": {"enabled": False}, "the blob stores": [{"name": "default"}]}
    return Plan(settings(**given), {**usual, **(there or {})})


def thing(path: str, there: Found | None = None, **given: Any) -> Thing:
    """Return what is compared at a path; of two with the same path the first."""
    return next(one for one in plan(there, **given).things if one.path == path)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(-1, "[Errno 111] Connection refused"), ["lab1", "lab_index_url", "Connection refused."]),
        (Answer(-1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), ["lab_ca_bundle", "https://nexus.example"]),
        (Answer(-1, "It was not found."), ["not found. Start it"]),
        (Answer(401), ["'admin'", "vault_nexus_admin_password", "(401)"]),
        (Answer(403), ["nx-admin", "nexus_repositories_admin_user", "(403)"]),
        (Answer(404), ["no Nexus 3", "/nexus"]),
        (Answer(200), ["no Nexus 3"]),
        (Answer(200, json={"another": "service"}), ["no Nexus 3"]),
        (Answer(302), ["no Nexus 3 (302"]),
        (Answer(503), ["503", "log"]),
    ],
)
def test_one_sentence_says_what_is_wrong_where_it_was_set_and_what_to_write(answer: Answer, words: list[str]) -> None:
    sentence = nexus_plan.login_problem(settings(), answer)
    assert [word for word in words if word not in sentence] == []
    assert sentence.endswith(".") and "\n" not in sentence and ".." not in sentence
    assert PASSWORD not in sentence


def test_a_nexus_that_works_is_not_complained_about() -> None:
    answer = Answer(200, json=[])
    assert nexus_plan.login_problem(settings(), answer) == nexus_plan.answer_problem(settings(), "the users", answer) == ""
    assert plan().conflict() == nexus_plan.input_problem(settings()) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": ""}, ["into lab_index_url, as in https://nexus.example.com/repository/pypi-all/simple/."]),
        (
            {"url": "nexus.example"},
            ["'nexus.example' is no address of a Nexus (lab_index_url)", "as in https://nexus.example.com/repository"],
        ),
        ({"admin_password": ""}, ["write vault_nexus_admin_password into the vault"]),
        ({"reader_user": "publisher"}, ["nexus_repositories_admin_user or, in the vault, vault_nexus_user and vault_nexus_publisher_user."]),
        ({"reader_password": ""}, ["vault_nexus_pass and vault_nexus_publisher_pass into the vault"]),
        ({"url": "https://a:word@nexus.example"}, ["'https://...@nexus.example' is no address", "without a user."]),
        ({"proxy": "PYPI-all"}, ["'pypi-internal', 'PYPI-all' and 'pypi-all': write three different names."]),
        ({"upstream_url": "https://a:b@mirror.example"}, ["nexus_repositories_upstream_url is no address without credentials"]),
    ],
)
def test_what_is_missing_is_named_as_the_lab_s_user_sets_it(given: dict[str, Any], words: list[str]) -> None:
    sentence = nexus_plan.input_problem(settings(**given))
    assert [word for word in words if word not in sentence] == []
    assert sentence.endswith(".") and "\n" not in sentence and PASSWORD not in sentence


def test_rights_that_are_missing_are_named() -> None:
    sentence = nexus_plan.answer_problem(settings(), "the routing rules", Answer(403))
    assert "answers 403 to 'admin', who asks for the routing rules" in sentence and "nx-admin" in sentence


@pytest.mark.parametrize(
    ("given", "there", "upstream"),
    [
        ("", {}, "https://pip.example"),
        ("", {"the repositories": [PROXY]}, "https://mirror.example.com/"),
        ("https://other.example/a/simple/", {"the repositories": [PROXY]}, "https://other.example/a"),
        ("https://mirror.example.com/simple", {"the repositories": [PROXY]}, "https://mirror.example.com/"),
    ],
)
def test_the_public_index_is_the_given_one_or_stays_or_is_pip_s_own(given: str, there: dict[str, Any], upstream: str) -> None:
    proxy = thing("repositories/pypi/proxy", there, upstream_url=given)
    assert proxy.wanted["proxy"]["remoteUrl"] == upstream


@pytest.mark.parametrize("pip", ["", "https://user:word@pip.example/simple"])
def test_a_public_index_that_is_unknown_or_has_credentials_is_asked_for(pip: str) -> None:
    sentence = plan(pip_url=pip).conflict()
    assert "nexus_repositories_upstream_url" in sentence and "word" not in sentence


def test_an_existing_proxy_gets_the_rule_and_keeps_the_rest() -> None:
    found = thing("repositories/pypi/proxy", {"the repositories": [{**PROXY, "routingRuleName": None}]})
    assert found.wanted["routingRule"] == "pypi-no-project-list" and found.there["routingRule"] is None
    assert found.wanted.keys() == {"name", "online", "proxy", "routingRule"} and found.wanted["proxy"].keys() == {"remoteUrl"}
    assert found.body["proxy"] == PROXY["proxy"] and found.before.keys() == found.wanted.keys()


def test_a_proxy_with_credentials_is_left_alone() -> None:
    login = {"type": "username", "username": "company", "password": None}
    proxy = {**PROXY, "httpClient": {**PROXY["httpClient"], "authentication": login}}  # type: ignore[dict-item]
    assert plan({"the repositories": [proxy]}).conflict() == ""
    sentence = plan({"the repositories": [proxy]}, upstream_url="https://other.example/simple").conflict()
    assert "shows to nobody" in sentence and "https://other.example" in sentence


def test_what_a_rule_blocks_besides_stays_blocked() -> None:
    rule = {"name": "pypi-no-project-list", "description": "theirs", "mode": "BLOCK", "matchers": ["^/secret"]}
    found = thing("routing-rules", {"the routing rules": [rule]})
    assert found.wanted["matchers"] == ["^/secret", nexus_plan.NO_LIST] and found.wanted["description"] == "theirs"
    assert not found.ours


@pytest.mark.parametrize(
    "path", ["/simple/", "/simple", "simple/", "//simple//", "/simple/?x=1", "/simple/?a=\nb", "/simple/index.html", "/simple/index.html?x"]
)
def test_the_rule_matches_the_list_of_all_projects_however_it_is_asked_for(path: str) -> None:
    assert re.fullmatch(nexus_plan.NO_LIST, path)


@pytest.mark.parametrize("path", ["/simple/pip/", "/simple/simple/", "/simple/index/", "/packages/simple/", "/packages/p/pip/1.0/pip-1.0.whl"])
def test_the_rule_matches_nothing_that_an_installer_asks_for(path: str) -> None:
    assert not re.fullmatch(nexus_plan.NO_LIST, path)


def test_a_blob_store_that_is_missing_matters_to_new_repositories_only() -> None:
    assert "nexus_repositories_blob_store" in plan(blob_store="nowhere").conflict()
    repositories = [{**PROXY, "name": name, "type": kind} for name, kind in (("pypi", "proxy"), ("pypi-internal", "hosted"), ("pypi-all", "group"))]
    assert plan({"the repositories": repositories}, blob_store="nowhere").conflict() == ""


def test_certificates_are_taken_from_the_file_one_by_one() -> None:
    pems = [f"-----BEGIN CERTIFICATE-----\n{letter * 60}\n-----END CERTIFICATE-----" for letter in "AB"]
    there = {"the trust store": [{"pem": pems[1].replace("\n", "\r\n")}], "the repositories": [PROXY]}
    found = plan(there, ca_certificates="# A company\n{}\n\n# Another\n{}\n".format(*pems))
    assert found.settings.certificates == pems and found.missing_certificates == pems[:1]
    proxy = next(one for one in found.things if one.path == "repositories/pypi/proxy")
    assert proxy.wanted["httpClient"] == {"connection": {"useTrustStore": True}}


# -------------------------------------------------------------------- what follows from what is there


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"the repositories": [{**PROXY, "type": "hosted"}]}, "'pypi' already, of the format and type 'pypi hosted' instead of 'pypi proxy'"),
        ({"the repositories": [{**PROXY, "routingRuleName": "other"}]}, "has the routing rule 'other' already"),
        ({"the routing rules": [{"name": "pypi-no-project-list", "mode": "ALLOW"}]}, "lists what is allowed"),
        ({"the users": [{"userId": "reader", "firstName": "T", "roles": []}]}, "has the user 'reader' already, not made by this role"),
        (
            {"the roles": [{"id": f"pypi-{name}", "description": None, "privileges": []} for name in ("all-reader", "internal-publisher")]},
            "has the role 'pypi-all-reader' and the role 'pypi-internal-publisher' already",
        ),
        ({"the roles": [{"id": "pypi-all-reader", "description": nexus_plan.NOTE, "privileges": []}]}, ""),
    ],
)
def test_what_is_there_and_is_another_thing_is_not_taken_over(there: Found, words: str) -> None:
    sentence = plan(there).conflict()
    assert words in sentence and bool(words) == bool(sentence)


@pytest.mark.parametrize(
    ("there", "wanted", "both"),
    [
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}}, {"a": {"b": 1, "c": [3]}, "d": 1}),
        ({"a": None}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
    ],
)
def test_dictionaries_are_merged_at_every_depth(there: Found, wanted: Found, both: Found) -> None:
    assert nexus_plan.merged(there, wanted) == both


@pytest.mark.parametrize(("others", "ours"), [([], True), (["theirs"], False)])
def test_a_group_with_other_members_keeps_them_and_is_not_removed(others: list[str], ours: bool) -> None:
    group = {"name": "pypi-all", "format": "pypi", "type": "group", "online": True, "group": {"memberNames": [*others, "pypi", "pypi-internal"]}}
    found = thing("repositories/pypi/group", {"the repositories": [group]})
    assert found.wanted == {"name": "pypi-all", "online": True, "group": {"memberNames": ["pypi-internal", "pypi", *others]}}
    assert found.ours is ours and found.differs and found.removed_at == "repositories/pypi-all"


@pytest.mark.parametrize(("policy", "differs"), [("ALLOW_ONCE", False), ("ALLOW", True)])
def test_a_policy_in_capitals_is_the_same(policy: str, differs: bool) -> None:
    hosted = {"name": "pypi-internal", "format": "pypi", "type": "hosted", "online": True, "storage": {"blobStoreName": "theirs", "writePolicy": policy}}
    found = thing("repositories/pypi/hosted", {"the repositories": [hosted]}, blob_store="other")
    assert found.differs is differs and found.body["storage"]["blobStoreName"] == "theirs"


def test_a_rule_that_others_use_is_not_removed() -> None:
    rule = {"name": "pypi-no-project-list", "description": nexus_plan.NOTE, "mode": "BLOCK", "matchers": [nexus_plan.NO_LIST]}
    assert thing("routing-rules", {"the routing rules": [rule], "the repositories": [PROXY]}).ours
    assert not thing("routing-rules", {"the routing rules": [rule], "the repositories": [{**PROXY, "name": "theirs"}]}).ours


@pytest.mark.parametrize(("off", "there", "differs"), [(True, True, True), (True, False, False), (False, True, False)])
def test_anonymous_access_is_left_where_nobody_wants_it_off(off: bool, there: bool, differs: bool) -> None:
    found = thing("security/anonymous", {"anonymous access": {"enabled": there}}, anonymous_off=off)
    assert found.differs is differs and found.at == "security/anonymous" and not found.ours


# -------------------------------------------------------------------- a whole run, against answers


class Told(Run):
    """A run that is told what Nexus answers, and remembers what it asked."""

    answers: dict[tuple[str, str], Answer]

    def ask(self, path: str, method: str = "GET", body: Any = None, kind: str = "", account: tuple[str, str] | None = None) -> Answer:
        """Answer as the test says; by default as a new Nexus does, which refuses nothing."""
        self.asked = [*getattr(self, "asked", []), f"{method} {path}"]
        empty: Found = {"security/anonymous": {"enabled": True}, "blobstores": [{"name": "default"}], "components?repository=pypi-internal": {"items": []}}
        usual = Answer(200, json=empty.get(path, [])) if method == "GET" else Answer(204)
        who = account[1] if account and account[1] != PASSWORD else ""
        return self.answers.get((method, path + who), usual)


def told(answers: dict[tuple[str, str], Answer] | None = None, check: bool = False, **given: Any) -> tuple[Told, str]:
    """Return a run after its end, and what was wrong."""
    run = Told(settings(**given), check)
    run.answers = answers or {}
    return run, run.all()


NEW = [
    "routing rule 'pypi-no-project-list'",
    "hosted repository 'pypi-internal'",
    "proxy repository 'pypi'",
    "group repository 'pypi-all'",
    "role 'pypi-all-reader'",
    "role 'pypi-internal-publisher'",
    "user 'reader'",
    "user 'publisher'",
    "anonymous access",
]


@pytest.mark.parametrize("check", [True, False])
def test_a_dry_run_predicts_what_a_run_does_and_changes_nothing(check: bool) -> None:
    run, problem = told(check=check)
    assert problem == "" and [change["what"] for change in run.changes] == NEW
    assert any(not asked.startswith("GET ") for asked in run.asked) is not check
    assert all(("before" in change) is check for change in run.changes) and PASSWORD not in str(run.changes)


def test_what_is_refused_ends_the_run_and_what_was_changed_is_known() -> None:
    run, problem = told({("POST", "repositories/pypi/hosted"): Answer(400, text=" duplicated key\n")})
    assert problem == "Nexus answered 400 to the hosted repository 'pypi-internal': duplicated key."
    assert [change["what"] for change in run.changes] == NEW[:1] and run.asked[-1] == "POST repositories/pypi/hosted"


@pytest.mark.parametrize(("check", "changes"), [(True, ["The first password works and would be replaced"]), (False, ["password of 'admin'", *NEW])])
def test_the_first_password_is_replaced_and_a_dry_run_ends_there(check: bool, changes: list[str]) -> None:
    users = "security/users?source=default"
    answers = {("GET", users): Answer(401), ("GET", f"{users}first"): Answer(200, json=[])}

    class Fresh(Told):
        def set_password(self, user: str, password: str, account: tuple[str, str] | None = None) -> Answer:
            """Let the administrator in from now on."""
            self.answers = {}
            return super().set_password(user, password, account)

    run = Fresh(settings(first_password="first"), check)
    run.answers = answers
    assert run.all() == "" and all(change["what"].startswith(words) for change, words in zip(run.changes, changes, strict=True))


@pytest.mark.parametrize(
    ("status", "check", "words"),
    [(401, False, "answered nothing to the new password of 'reader': gone."), (403, True, "answered 403 to the login of 'reader': no."), (401, True, "")],
)
def test_a_password_is_tried_before_it_is_set(status: int, check: bool, words: str) -> None:
    users = Answer(200, json=[{"userId": "reader", "firstName": "mlops.lab", "roles": []}])
    answers = {("GET", "security/users?source=default"): users, ("GET", "repositorieswrong"): Answer(status, "no")}
    answers["PUT", "security/users/reader/change-password"] = Answer(-1, "gone")
    run, problem = told(answers, check, reader_password="wrong")
    assert problem.removeprefix("Nexus ") == words and (check and not words) == ({"what": "password of 'reader'"} in run.changes)


@pytest.mark.parametrize(("delete", "packages", "problem"), [(False, ["b", "a", "a"], "holds packages (a, b), so"), (False, [], ""), (True, ["a"], "")])
def test_packages_stop_the_removal(delete: bool, packages: list[str], problem: str) -> None:
    hosted = {"name": "pypi-internal", "format": "pypi", "type": "hosted"}
    answers = {("GET", "repositorySettings"): Answer(200, json=[hosted, PROXY])}
    answers["GET", "components?repository=pypi-internal"] = Answer(200, json={"items": [{"name": name} for name in packages]})
    run, said = told(answers, state="absent", delete_packages=delete)
    assert problem in said and bool(problem) == bool(said)
    assert [asked for asked in run.asked if asked.startswith("DELETE")] == (
        [] if problem else ["DELETE repositories/pypi", "DELETE repositories/pypi-internal"]
    )


# -------------------------------------------------------------------- requests


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server whose answers are in the paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, status, kind, body = self.path.removeprefix("/service/rest/v1").split("/", 3)
            self.send_response(int(status))
            self.send_header("Content-Type", f"application/{kind}")
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(body.encode() or (self.headers["Authorization"] or "").encode())

        do_PUT = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    served = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "200/json/[1]", Answer(200, "", "[1]", [1])),
        ("GET", "200/json/[", Answer(200, "", "[")),
        ("GET", "200/text/[1]", Answer(200, "", "[1]")),
        ("GET", "200/text/", Answer(200, "", "Basic YTrDpA==")),
        ("GET", "403/json/[1]", Answer(403, "HTTP Error 403: Forbidden", "[1]", [1])),
        ("PUT", "302/text/x", Answer(302, "HTTP Error 302: Found", "x")),
    ],
)
def test_an_answer_is_what_was_answered(server: str, method: str, path: str, answer: Answer) -> None:
    assert Run(settings(url=server, admin_user="a", admin_password="ä")).ask(path, method) == answer


def test_silence_is_an_answer_without_a_status() -> None:
    assert Run(settings(url="http://127.0.0.1:9")).ask("status") == Answer(-1, "[Errno 111] Connection refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = Run(settings(url=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)).ask("status")
    assert found.status == -1 and "timed out" in found.reason and found.said == "nothing"


def test_the_role_hands_on_every_option_and_has_the_same_defaults() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text(encoding="utf-8"))
    given = next(task["mlops.lab.nexus_repositories"] for task in tasks if "mlops.lab.nexus_repositories" in task)
    options = yaml.safe_load(nexus_repositories.DOCUMENTATION)["options"]
    assert given.keys() == options.keys() == Settings.__annotations__.keys()
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    own = {f"nexus_repositories_{name}": option["default"] for name, option in options.items() if "default" in option}
    assert {name: value for name, value in own.items() if defaults.get(name, value) != value} == {}
