#!/usr/bin/python
# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the PyPI repositories and users that a lab needs in a Nexus that runs already, or remove them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nexus_repositories
short_description: Declare PyPI repositories with a reader and a publisher in a Nexus that runs already
version_added: 0.2.0
description:
  - Reads through the REST API of Nexus what is there, compares, and writes only what differs, one after another until something is refused.
  - What it has no opinion about stays. A password is seen to be right by logging in with it.
  - Ends with the reason in RV(problem) instead of failing, so that the task can hide its arguments and another can show the reason.
    It names values as the variables of the role P(mlops.lab.nexus_repositories#role), whose README says all that is declared.
options:
  state:
    description: Whether everything is declared, or what was declared is removed again.
    type: str
    choices: [present, absent]
    default: present
  url: {description: "Address of Nexus, without C(/repository) or C(/service).", type: str, required: true}
  host: {description: "Name of the host that the module runs on, for messages.", type: str, required: true}
  admin_user: {description: Administrator of Nexus., type: str, default: admin}
  admin_password: {description: "The administrator's password.", type: str, required: true}
  first_password: {description: "Password of a new Nexus, used where O(admin_password) is refused, and replaced by that one.", type: str, default: ""}
  hosted: {description: Repository that packages are uploaded to., type: str, default: pypi-internal}
  proxy: {description: Repository that passes the public index on., type: str, default: pypi}
  group: {description: Repository of both., type: str, default: pypi-all}
  upstream_url: {description: Public index that is passed on; empty leaves that of a proxy that is there., type: str, default: ""}
  pip_url: {description: The index that a new proxy passes on without O(upstream_url)., type: str, default: ""}
  routing_rule: {description: Rule that blocks the list of all projects on the proxy., type: str, default: pypi-no-project-list}
  blob_store: {description: Blob store of repositories that are made., type: str, default: default}
  reader_user: {description: User who installs., type: str, required: true}
  reader_password: {description: The password of who installs., type: str, required: true}
  publisher_user: {description: User who installs and uploads., type: str, required: true}
  publisher_password: {description: The password of who uploads., type: str, required: true}
  anonymous_off: {description: Whether anonymous access to the whole Nexus is switched off; V(false) leaves it as it is., type: bool, default: true}
  ca_file: {description: "Where O(ca_certificates) come from, for messages.", type: str, default: ""}
  ca_certificates: {description: Text with PEM certificates that Nexus shall trust when it asks the public index., type: str, default: ""}
  names:
    description: Under which names values are set, for messages.
    type: dict
    required: true
    suboptions:
      url: {description: Name for O(url)., type: str, required: true}
      url_example: {description: How the address is written there., type: str, required: true}
      admin_password: {description: Name for O(admin_password)., type: str, required: true}
      reader_user: {description: Name for O(reader_user)., type: str, required: true}
      reader_password: {description: Name for O(reader_password)., type: str, required: true}
      publisher_user: {description: Name for O(publisher_user)., type: str, required: true}
      publisher_password: {description: Name for O(publisher_password)., type: str, required: true}
      ca_file: {description: Name for O(ca_file)., type: str, required: true}
  trust_hint: {description: "What makes the host trust the authority of a certificate, for messages.", type: str, required: true}
  delete_packages: {description: "Whether O(state=absent) removes a hosted repository that has packages, with them.", type: bool, default: false}
  timeout: {description: Seconds that Nexus may take for one answer., type: int, default: 60}
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Declare repositories and users
  ansible.builtin.import_role:
    name: mlops.lab.nexus_repositories # which runs the module, and says what it changed and what is wrong
  vars:
    nexus_repositories_url: https://nexus.example.com
    nexus_repositories_admin_password: "{{ vault_nexus_admin_password }}"
    nexus_repositories_reader_user: reader
    nexus_repositories_reader_password: "{{ vault_nexus_pass }}"
    nexus_repositories_publisher_user: publisher
    nexus_repositories_publisher_password: "{{ vault_nexus_publisher_pass }}"
"""

RETURN = r"""
changes:
  description: What was changed, or would be, in order. In check and diff mode with its values C(before) and C(after).
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: What it is.
      type: str
problem:
  description: What is wrong and what to write instead, one sentence; empty where all is well. What is in RV(changes) was changed before.
  returned: always
  type: str
"""

import http.client
import json
import textwrap
from dataclasses import MISSING, fields
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.mlops.lab.plugins.module_utils.nexus_plan import (
    QUESTIONS,
    Answer,
    Plan,
    Settings,
    Thing,
    answer_problem,
    input_problem,
    kind_of,
    login_problem,
)

JSON = "application/json"


class Problem(Exception):
    """Something is wrong; the message is a sentence for the user."""


def stop(problem: str) -> None:
    """Raise a problem if there is one."""
    if problem:
        raise Problem(problem)


def answer_of(status: int, reason: str, raw: bytes, kind: str) -> Answer:
    """Return an answer with its body as text, and as JSON where it says that it is some."""
    text = raw.decode("utf-8", "replace")
    try:
        return Answer(status, reason, text, json.loads(text) if kind == JSON else None)
    except ValueError:
        return Answer(status, reason, text)


class Run:
    """Asks, declares or removes, and remembers in `changes` what it changed."""

    def __init__(self, settings: Settings, check: bool = False, diff: bool = False) -> None:
        """Begin.

        Args:
            settings: the options.
            check: whether nothing is to be changed.
            diff: whether `changes` show values.
        """
        self.settings, self.check, self.diff = settings, check, check or diff
        self.admin = (settings.admin_user, settings.admin_password)
        self.changes: list[dict[str, Any]] = []

    def ask(self, path: str, method: str = "GET", body: Any = None, kind: str = "", account: tuple[str, str] | None = None) -> Answer:
        """Send a request.

        Args:
            path: what is asked for, below the address of the API.
            method: of HTTP.
            body: what is sent, as JSON unless `kind` is given.
            kind: media type of a body that is text already.
            account: user and password, if not the administrator's.
        """
        headers = {"Content-Type": kind} if kind else {"Accept": JSON, **({"Content-Type": JSON} if body else {})}
        data = None if body is None else (body if kind else json.dumps(body)).encode()
        user, password = account or self.admin
        try:
            with open_url(
                f"{self.settings.base}/service/rest/v1/{path}",
                data=data,
                headers=headers,
                method=method,
                timeout=self.settings.timeout,
                url_username=user,
                url_password=password,
                force_basic_auth=True,
                follow_redirects="safe",
            ) as response:
                return answer_of(response.status, "", response.read(), response.headers.get_content_type())
        except HTTPError as error:
            return answer_of(error.code, str(error), error.read(), error.headers.get_content_type())
        except URLError as error:
            return Answer(-1, str(error.reason))
        except (OSError, ValueError, http.client.HTTPException) as error:
            return Answer(-1, str(error))

    def change(self, what: str, **values: dict[str, Any]) -> None:
        """Remember a change, with its values where they are wanted."""
        self.changes.append({"what": what, **(values if self.diff else {})})

    def send(self, what: str, path: str, method: str, body: Any = None, kind: str = "", done: tuple[int, ...] = (200, 201, 204)) -> bool:
        """Send a change; returns whether it was made, False where there was nothing to do.

        Args:
            what: the sentence's end, if it is refused.
            path: as for `ask`, and so are `method`, `body` and `kind`.
            done: what is answered where all is well.
        """
        answer = self.ask(path, method, body, kind)
        if answer.status not in done:
            raise Problem(f"Nexus answered {answer.said} to {what}: {(answer.text or answer.reason).strip()}.")
        return answer.status in (200, 201, 204)

    def set_password(self, user: str, password: str, account: tuple[str, str] | None = None) -> Answer:
        """Give a user a password."""
        answer = self.ask(f"security/users/{quote(user)}/change-password", "PUT", password, "text/plain", account)
        if answer.status == 204:
            self.change(f"password of '{user}'")
        return answer

    def log_in(self) -> bool:
        """See that Nexus and its administrator work; returns whether more can be asked. A dry run does not replace the first password, and ends."""
        s, path = self.settings, QUESTIONS["the users"]
        answer = self.ask(path)
        first = (s.admin_user, s.first_password)
        if answer.status == 401 and s.first_password:
            if self.ask(path, account=first).status == 200:
                if self.check:
                    self.change("The first password works and would be replaced; what else would change cannot be predicted before.")
                    return False
                self.set_password(*self.admin, account=first)
            answer = self.ask(path)
        stop(login_problem(s, answer))
        return True

    def look(self) -> Plan:
        """Ask what is there, and compare."""
        found = {}
        for question, path in QUESTIONS.items():
            answer = self.ask(path)
            stop(answer_problem(self.settings, question, answer))
            found[question] = answer.json
        return Plan(self.settings, found)

    def declare(self, plan: Plan) -> None:
        """Make everything as it shall be, and see that the passwords work."""
        s = self.settings
        stop(plan.conflict())
        for pem in plan.missing_certificates:
            # Two of the file may be the same: 409
            what = f"a certificate of {s.ca_file} ({s.names['ca_file']})"
            if self.check or self.send(what, "security/ssl/truststore", "POST", pem, JSON, (201, 409)):
                self.change(f"certificate of {s.ca_file}, trusted by Nexus")
        for thing in plan.things:
            if thing.differs:
                self.put(thing)
        users = {user["userId"] for user in plan.found["the users"]}
        for user, password in s.passwords.items():
            if user in users or not self.check:
                self.prove(user, password)

    def put(self, thing: Thing) -> None:
        """Declare something that is missing or differs."""
        if not self.check:
            password = {"password": self.settings.passwords[thing.name]} if thing.path == "security/users" and not thing.there else {}
            path, method = (thing.at, "PUT") if thing.there else (thing.path, "POST")
            self.send(f"the {thing.what}", path, method, {**thing.body, **password})
        self.change(thing.what, before=thing.before, after=thing.wanted)

    def prove(self, user: str, password: str) -> None:
        """See that a user can log in, and set the password where not: Nexus shows none."""
        answer, step = self.ask("repositories", account=(user, password)), "login"
        if answer.status == 401 and self.check:
            self.change(f"password of '{user}'")
            return
        if answer.status == 401:
            answer, step = self.set_password(user, password), "new password"
        if answer.status not in (200, 204):
            raise Problem(f"Nexus answered {answer.said} to the {step} of '{user}': {answer.reason}.")

    def remove(self, plan: Plan) -> None:
        """Remove what was declared, the other way round: who uses a repository goes before it, and the rule goes last."""
        s = self.settings
        if kind_of(plan.repositories["hosted"]) == "pypi hosted" and not s.delete_packages:
            answer = self.ask(f"components?repository={quote(s.hosted)}")
            stop(answer_problem(s, "the packages", answer))
            if names := sorted({item["name"] for item in answer.json["items"]}):
                raise Problem(
                    f"The repository '{s.hosted}' of the Nexus at {s.base} holds packages ({textwrap.shorten(', '.join(names), 100, placeholder='...')}), so "
                    "nothing is removed: set nexus_repositories_delete_packages to true to remove them with it."
                )
        for thing in reversed(plan.things):
            if thing.there and thing.ours and (self.check or self.send(f"the removal of the {thing.what}", thing.removed_at, "DELETE", done=(200, 204, 404))):
                self.change(f"{thing.what}, removed")

    def all(self) -> str:
        """Do everything; returns what is wrong, an empty string where all is well."""
        try:
            stop(input_problem(self.settings))
            if self.log_in():
                plan = self.look()
                (self.declare if self.settings.state == "present" else self.remove)(plan)
        except Problem as problem:
            return str(problem)
        return ""


def main() -> None:
    """Run the module."""
    spec = {
        option.name: {
            "type": str(option.type).partition("[")[0],
            **({"required": True} if option.default is MISSING else {"default": option.default}),
            "no_log": option.name.endswith("_password"),
        }
        for option in fields(Settings)
    }
    spec["state"]["choices"] = ["present", "absent"]
    names = ("url", "url_example", "admin_password", "reader_user", "reader_password", "publisher_user", "publisher_password", "ca_file")
    spec["names"]["options"] = {name: {"type": "str", "required": True, "no_log": False} for name in names}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    run = Run(Settings(**module.params), module.check_mode, module._diff)
    problem = run.all()
    module.exit_json(changed=bool(run.changes), changes=run.changes, problem=problem)


if __name__ == "__main__":
    main()
