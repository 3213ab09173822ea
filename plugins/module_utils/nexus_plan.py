# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab needs in a Nexus, compared with what Nexus says that it has, and what can be wrong with either, one sentence each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

#: stands in what is made here, so that nothing else is taken over or removed
MARK = "mlops.lab"
NOTE = f"{MARK}: made by role nexus_repositories"
#: No installer needs the list of all projects, and a proxy that asks the public index for it runs out of memory. Nexus compares the whole path with
#: this, the query included, and drops the query when it asks the public index: so any query is blocked, with line breaks in it too.
NO_LIST = r"^/*simple/*(index\.html?)?(\?[\s\S]*)?$"
#: what is asked for, by its name in a sentence, and the path of it
QUESTIONS = {
    "the repositories": "repositorySettings",
    "the routing rules": "routing-rules",
    "the roles": "security/roles",
    "the users": "security/users?source=default",
    "anonymous access": "security/anonymous",
    "the trust store": "security/ssl/truststore",
    "the blob stores": "blobstores",
}
PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of the module with their types and defaults; its documentation says what they are."""

    state: str = "present"
    url: str
    host: str
    admin_user: str = "admin"
    admin_password: str
    first_password: str = ""
    hosted: str = "pypi-internal"
    proxy: str = "pypi"
    group: str = "pypi-all"
    upstream_url: str = ""
    pip_url: str = ""
    routing_rule: str = "pypi-no-project-list"
    blob_store: str = "default"
    reader_user: str
    reader_password: str
    publisher_user: str
    publisher_password: str
    anonymous_off: bool = True
    ca_file: str = ""
    ca_certificates: str = ""
    names: dict[str, str]
    trust_hint: str
    delete_packages: bool = False
    timeout: int = 60

    @property
    def base(self) -> str:
        """Address of Nexus, without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def passwords(self) -> dict[str, str]:
        """The passwords of reader and publisher, by their names."""
        return {self.reader_user: self.reader_password, self.publisher_user: self.publisher_password}

    @property
    def certificates(self) -> list[str]:
        """The certificates that Nexus shall trust, as PEM."""
        return PEM.findall(self.ca_certificates)


@dataclass(frozen=True)
class Answer:
    """What Nexus answered.

    Attributes:
        status: the HTTP status, -1 where nothing answered.
        reason: why it is no good one, in the words of Python.
        text: the body.
        json: the body as JSON, None where it is none.
    """

    status: int
    reason: str = ""
    text: str = ""
    json: Any = None

    @property
    def said(self) -> str:
        """The status, for a sentence."""
        return str(self.status) if self.status > 0 else "nothing"


@dataclass(frozen=True)
class Thing:
    """Something that shall be there.

    Attributes:
        what: its kind and name, for a sentence.
        path: where it is added.
        name: its name there; empty for what there is one of.
        there: what Nexus has, empty where it has none.
        wanted: what this collection has an opinion about; of what is there already that is less.
        ours: whether it may be removed again.
    """

    what: str
    path: str
    name: str
    there: dict[str, Any]
    wanted: dict[str, Any]
    ours: bool

    @property
    def at(self) -> str:
        """Path of it, to replace it."""
        return f"{self.path}/{quote(self.name)}" if self.name else self.path

    @property
    def removed_at(self) -> str:
        """Path of it, to remove it."""
        return f"repositories/{quote(self.name)}" if self.path.startswith("repositories/") else self.at

    @property
    def body(self) -> dict[str, Any]:
        """All of it as it shall be: PUT replaces everything, so what nobody here has an opinion about is sent back as it was."""
        return merged(self.there, self.wanted)

    @property
    def differs(self) -> bool:
        """Whether it has to be declared."""
        return self.body != self.there

    @property
    def before(self) -> dict[str, Any]:
        """The present values of what is wanted."""
        return {key: value for key, value in self.there.items() if key in self.wanted}


def merged(there: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary with the values of another in it, at every depth; lists are replaced."""
    deeper = {key: merged(there[key], value) for key, value in wanted.items() if isinstance(value, dict) and isinstance(there.get(key), dict)}
    return {**there, **wanted, **deeper}


def first(entries: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
    """Return the entry that has a value, or an empty dictionary."""
    return next((entry for entry in entries if entry[key] == value), {})


def kind_of(repository: dict[str, Any]) -> str:
    """Return format and type of a repository, empty for none."""
    return f"{repository['format']} {repository['type']}" if repository else ""


class Plan:
    """What shall be there, in the order in which it is made: the rule comes before the proxy that it guards."""

    def __init__(self, settings: Settings, found: dict[str, Any]) -> None:
        """Compare.

        Args:
            settings: what is wanted.
            found: the answers to `QUESTIONS`.
        """
        self.settings, self.found = settings, found
        s = settings
        self.names = {"hosted": s.hosted, "proxy": s.proxy, "group": s.group}
        self.repositories = {kind: first(found["the repositories"], "name", name) for kind, name in self.names.items()}
        self.rule = first(found["the routing rules"], "name", s.routing_rule)
        given = s.upstream_url or self.repositories["proxy"].get("proxy", {}).get("remoteUrl") or s.pip_url
        # Nexus appends simple/ itself.
        self.upstream = re.sub("/simple/?$", "", given.strip()).rstrip("/")
        reader, publisher = f"{s.group}-reader", f"{s.hosted}-publisher"
        self.things = [
            self._rule(),
            self._hosted(),
            self._proxy(),
            self._group(),
            self._role(reader, [f"nx-repository-view-pypi-{s.group}-read"]),
            self._role(publisher, [f"nx-repository-view-pypi-{s.hosted}-{right}" for right in ("add", "read")]),
            self._user("reader", s.reader_user, [reader]),
            self._user("publisher", s.publisher_user, sorted([reader, publisher])),
            Thing("anonymous access", "security/anonymous", "", found["anonymous access"], {"enabled": False} if s.anonymous_off else {}, ours=False),
        ]

    @property
    def missing_certificates(self) -> list[str]:
        """The certificates that Nexus does not trust yet."""
        trusted = {"".join(entry["pem"].split()) for entry in self.found["the trust store"]}
        return [pem for pem in self.settings.certificates if "".join(pem.split()) not in trusted]

    def _rule(self) -> Thing:
        name, rule = self.settings.routing_rule, self.rule
        matchers = rule.get("matchers", [])
        others = [one for one in self.found["the repositories"] if one.get("routingRuleName") == name and one["name"] != self.settings.proxy]
        wanted = {
            "name": name,
            "description": rule.get("description", NOTE),
            "mode": "BLOCK",
            "matchers": matchers if NO_LIST in matchers else [*matchers, NO_LIST],
        }
        return Thing(f"routing rule '{name}'", "routing-rules", name, rule, wanted, ours=(rule.get("description") or "").startswith(MARK) and not others)

    def _repository(self, kind: str, wanted: dict[str, Any], new: dict[str, Any], ours: bool = True) -> Thing:
        """Return a repository; `new` is what one that is made gets besides."""
        name, there = self.names[kind], self.repositories[kind]
        made = {} if there else merged({"storage": {"blobStoreName": self.settings.blob_store, "strictContentTypeValidation": True}}, new)
        wanted = merged({"name": name, "online": True, **wanted}, made)
        return Thing(f"{kind} repository '{name}'", f"repositories/pypi/{kind}", name, there, wanted, ours and kind_of(there) == f"pypi {kind}")

    def _hosted(self) -> Thing:
        # Nexus answers in capitals and is asked in small letters.
        policy = self.repositories["hosted"].get("storage", {}).get("writePolicy") or ""
        return self._repository("hosted", {"storage": {"writePolicy": policy if policy.lower() == "allow_once" else "allow_once"}}, {})

    def _proxy(self) -> Thing:
        there = self.repositories["proxy"]
        url = there.get("proxy", {}).get("remoteUrl", "")
        wanted = {"proxy": {"remoteUrl": url if url.rstrip("/") == self.upstream else self.upstream}, "routingRule": self.settings.routing_rule}
        if self.settings.certificates and self.upstream.startswith("https:"):
            wanted["httpClient"] = {"connection": {"useTrustStore": True}}
        # Minutes, as Nexus's own pages suggest them
        new = {
            "proxy": {"contentMaxAge": 1440, "metadataMaxAge": 1440},
            "negativeCache": {"enabled": True, "timeToLive": 1440},
            "httpClient": {"blocked": False, "autoBlock": True},
        }
        # What PUT and POST call routingRule is routingRuleName in the answer: sent back as it came, it would take the rule away.
        known = {**there, "routingRule": there.get("routingRuleName")} if there else {}
        return replace(self._repository("proxy", wanted, new), there=known)

    def _group(self) -> Thing:
        s = self.settings
        others = [name for name in self.repositories["group"].get("group", {}).get("memberNames", []) if name not in (s.hosted, s.proxy)]
        return self._repository("group", {"group": {"memberNames": [s.hosted, s.proxy, *others]}}, {}, ours=not others)

    def _role(self, name: str, privileges: list[str]) -> Thing:
        there = first(self.found["the roles"], "id", name)
        wanted = {"id": name, "name": name, "description": NOTE, "privileges": privileges, "roles": []}
        return Thing(f"role '{name}'", "security/roles", name, in_order(there, "privileges"), wanted, (there.get("description") or "").startswith(MARK))

    def _user(self, kind: str, name: str, roles: list[str]) -> Thing:
        there = first(self.found["the users"], "userId", name)
        email = there.get("emailAddress", "nobody@example.com")
        wanted = {"userId": name, "firstName": MARK, "lastName": kind, "emailAddress": email, "status": "active", "roles": roles}
        return Thing(f"user '{name}'", "security/users", name, in_order(there, "roles"), wanted, there.get("firstName") == MARK)

    def conflict(self) -> str:
        """Return what is there and is another thing than this may change, or an empty string."""
        s, names, base = self.settings, self.settings.names, self.settings.base
        for kind, repository in self.repositories.items():
            if kind_of(repository) not in ("", f"pypi {kind}"):
                return (
                    f"The Nexus at {base} has a repository '{self.names[kind]}' already, of the format and type '{kind_of(repository)}' instead of "
                    f"'pypi {kind}': write another name into nexus_repositories_{kind}, or remove that one there."
                )
        stores = sorted(store["name"] for store in self.found["the blob stores"])
        if s.blob_store not in stores and not all(self.repositories.values()):
            # Nexus would make a repository there all the same, one that holds nothing.
            return f"The Nexus at {base} has no blob store '{s.blob_store}': write one of {', '.join(stores)} into nexus_repositories_blob_store."
        if self.rule.get("mode", "BLOCK") != "BLOCK":
            return (
                f"The routing rule '{s.routing_rule}' of the Nexus at {base} lists what is allowed, and this role needs one that blocks: write another name "
                "into nexus_repositories_routing_rule."
            )
        proxy = self.repositories["proxy"]
        if (rule := proxy.get("routingRuleName") or s.routing_rule) != s.routing_rule:
            return (
                f"The repository '{s.proxy}' of the Nexus at {base} has the routing rule '{rule}' already, and a repository has one alone: write that name "
                "into nexus_repositories_routing_rule, to have it block the list of all projects too."
            )
        if foreign := [one.what for one in self.things if one.path in ("security/roles", "security/users") and one.there and not one.ours]:
            return (
                f"The Nexus at {base} has the {' and the '.join(foreign)} already, not made by this role: write other names into {names['reader_user']} and "
                f"{names['publisher_user']} (for a role, into nexus_repositories_group and nexus_repositories_hosted), or remove them there."
            )
        if not re.match("https?://[^/@]+(/[^@]*)?$", self.upstream):
            return (
                f"Which public index '{s.proxy}' shall pass on is not known (pip on the control node names none without credentials): write it into "
                "nexus_repositories_upstream_url, as in https://mirror.example.com/simple/."
            )
        thing = next(one for one in self.things if one.path == "repositories/pypi/proxy")
        if (proxy.get("httpClient") or {}).get("authentication") and thing.differs:
            return (
                f"The repository '{s.proxy}' of the Nexus at {base} logs in at the public index with a password that Nexus shows to nobody, so a change would "
                f"lose it: set there by hand {json.dumps(thing.wanted)}."
            )
        return ""


def in_order(there: dict[str, Any], key: str) -> dict[str, Any]:
    """Return something that is there with one of its lists sorted: Nexus gives them in any order."""
    return {**there, key: sorted(there[key])} if there else {}


def input_problem(s: Settings) -> str:
    """Return what of the settings cannot work and what to write instead, or an empty string."""
    names = s.names
    if not s.url:
        return f"No Nexus is named: write its address into {names['url']}, as in {names['url_example']}."
    if not re.match(r"https?://[^/@\s]+", s.url) or re.search("@|/repository|/service", s.url):
        shown = re.sub("//[^/]*@", "//...@", s.url)
        return f"'{shown}' is no address of a Nexus ({names['url']}): write it as in {names['url_example']}, without a user."
    if not s.admin_password:
        return f"The password of Nexus's administrator '{s.admin_user}' is missing: write {names['admin_password']} into the vault, with `ansible-vault edit`."
    if len({user.lower() for user in (s.admin_user, s.reader_user, s.publisher_user)}) < 3:
        return (
            f"The administrator '{s.admin_user}', the reader '{s.reader_user}' and the publisher '{s.publisher_user}' have to be three users: write other "
            f"names into nexus_repositories_admin_user or, in the vault, {names['reader_user']} and {names['publisher_user']}."
        )
    if not (s.reader_password and s.publisher_password):
        return (
            f"The reader or the publisher has no password; write {names['reader_password']} and {names['publisher_password']} into the vault, with "
            "`ansible-vault edit`."
        )
    if len({name.lower() for name in (s.hosted, s.proxy, s.group)}) < 3:
        return (
            f"nexus_repositories_hosted, nexus_repositories_proxy and nexus_repositories_group name '{s.hosted}', '{s.proxy}' and '{s.group}': write three "
            "different names."
        )
    if s.upstream_url and not re.match(r"https?://[^/@\s]+(/[^@\s]*)?$", s.upstream_url):
        return (
            "nexus_repositories_upstream_url is no address without credentials: write one such as https://mirror.example.com/simple/, and set credentials "
            "for it in Nexus itself."
        )
    return ""


def login_problem(s: Settings, answer: Answer) -> str:
    """Return what is wrong with a Nexus or its administrator, who asked for the users, or an empty string. Anybody may ask for the status alone."""
    names, status = s.names, answer.status
    if status == -1 and "CERTIFICATE_VERIFY_FAILED" in answer.reason:
        return f"{s.host} does not trust the TLS certificate of {s.base}: {s.trust_hint}."
    if status == -1:
        reason = answer.reason.removesuffix(".")
        return f"{s.host} does not reach a Nexus at {s.base} ({names['url']}): {reason}. Start it, or write the address of one that this host reaches."
    if status == 401:
        given = "the password it was given" + (" and with nexus_repositories_first_password" if s.first_password else "")
        return (
            f"The Nexus at {s.base} refuses the administrator '{s.admin_user}' with {given} (401): write the right {names['admin_password']} into the vault, "
            "with `ansible-vault edit`."
        )
    if status == 403:
        return (
            f"The Nexus at {s.base} knows '{s.admin_user}', but does not let it administer (403): give it the role nx-admin there, or write another user into "
            "nexus_repositories_admin_user."
        )
    if (status == 200 and not isinstance(answer.json, list)) or status not in (200, 500, 502, 503, 504):
        return (
            f"What answers at {s.base} ({names['url']}) is no Nexus 3 ({status} at /service/rest/v1): write the address of one, with its path if it has one, "
            "as in https://www.example.com/nexus."
        )
    if status != 200:
        return f"The Nexus at {s.base} answers {status}: it is starting, stopping or ill; read why in its log and try again."
    return ""


def answer_problem(s: Settings, question: str, answer: Answer) -> str:
    """Return what is wrong with the answer to a question, or an empty string."""
    if answer.status == 200 and answer.json is not None:
        return ""
    return (
        f"The Nexus at {s.base} answers {answer.said} to '{s.admin_user}', who asks for {question}: give this user the role nx-admin there, or write another "
        "into nexus_repositories_admin_user."
    )
