# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that asks a package index for pages and says what is wrong with its answers. Needs the standard library alone."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

#: how many pages are asked for at once
AT_ONCE = 8
#: status of an answer that did not come
NOTHING = -1

# ------------------------------------------------------------------ asking


@dataclass(frozen=True)
class Answer:
    """What an index answered to one question: the HTTP status, the body where it was read, and why nothing came."""

    status: int
    body: bytes | None = None
    reason: str = ""

    @classmethod
    def of(cls, page: Mapping[str, Any]) -> Answer:
        """Return the answer that the module index_pages wrote down."""
        return cls(int(page["status"]), str(page.get("content", "")).encode(), str(page.get("reason", "")))

    @property
    def text(self) -> str:
        """The body as text, empty where there is none."""
        return (self.body or b"").decode("utf-8", "replace")

    @property
    def heard(self) -> str:
        """What was heard, in a word: the status, or why nothing came."""
        return self.reason if self.status == NOTHING else str(self.status)


def same_place(one: str, other: str) -> bool:
    """Tell whether a login for one address may go to the other: the same host and port, or the same host over TLS, as pip and requests see it."""
    old, new = urlsplit(one), urlsplit(other)
    if old.hostname != new.hostname:
        return False
    upgrade = (old.scheme, new.scheme) == ("http", "https") and old.port in (None, 80) and new.port in (None, 443)
    return upgrade or (old.scheme, old.port) == (new.scheme, new.port)


class Redirects(HTTPRedirectHandler):
    """Follows a redirect, with the login only where it stays at the same place."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str) -> Request | None:
        """Return what is asked next."""
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        login = req.unredirected_hdrs.get("Authorization")
        if following and login and same_place(req.full_url, newurl):
            following.add_unredirected_header("Authorization", login)
        return following


def ask_one(opener: OpenerDirector, page: str, login: str, timeout: float, read: bool) -> Answer:
    """Return the answer to one page; `login` is the value of the header, empty for none."""
    try:
        request = Request(page, headers={"Accept": "text/html", "User-Agent": "mlops.lab"})
        if login:
            request.add_unredirected_header("Authorization", login)
        with opener.open(request, timeout=timeout) as answer:
            return Answer(answer.status, answer.read() if read else None)
    except HTTPError as error:
        with error:
            return Answer(error.code)
    except (OSError, HTTPException, ValueError) as error:  # also those of a wrong address and of TLS
        return Answer(NOTHING, reason=str(getattr(error, "reason", "") or error) or type(error).__name__)


def ask(pages: Sequence[str], user: str = "", password: str = "", *, ca_text: str = "", timeout: float = 60, read: bool = True) -> list[Answer]:
    """Ask an index for pages, several at once, and return its answers in their order. Nothing that it answers is an error.

    Args:
        pages: their addresses.
        user: who asks, by basic authentication; empty: nobody. Neither user nor password follows a redirect to another place.
        password: the user's.
        ca_text: certificates in PEM that are trusted beside the system's.
        timeout: seconds for each answer.
        read: read the bodies; without it only the headers are waited for.
    """
    context = ssl.create_default_context()
    try:
        if ca_text:
            context.load_verify_locations(cadata=ca_text)
    except (OSError, ValueError) as error:
        return [Answer(NOTHING, reason=str(error))] * len(pages)
    opener = build_opener(HTTPSHandler(context=context), Redirects)
    login = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda page: ask_one(opener, page, login, timeout, read), pages))


# ------------------------------------------------------------------ judging


@dataclass(frozen=True)
class Account:
    """Who asks, in words: who it is, and what to do where its password is wrong, and where it may not do what it has to."""

    who: str
    right: str
    other: str

    @classmethod
    def written(cls, who: str, user: str, password: str, place: str) -> Account:
        """Return an account whose user and password are written under these names; `place` follows them, as in ``into the vault``."""
        return cls(who, f"write the right {user} and {password} {place}", f"write another {user} {place}")


@dataclass(frozen=True)
class Index:
    """An index that is there already, in words."""

    #: its address, and where that is set
    url: str
    place: str
    #: who asks it, and from where
    host: str
    account: Account | None
    #: the project that it is asked for, and the variable that says it
    package: str
    package_variable: str
    #: what makes the host trust another authority
    trust: str
    #: what to do where it wants a login and nobody is set
    nobody: str = ""
    #: what an empty address does
    empty: str = "; with an empty one the lab serves its own"


def refusal(status: int, url: str, account: Account) -> str:
    """Return the sentence about a login that is refused (401) or may not read (403)."""
    if status == 401:
        return f"The package index at {url} refuses the user {account.who} with the password it was given (401): {account.right}."
    return (
        f"The package index at {url} knows the user {account.who} but does not let it read (403): give it the rights to browse and read this repository "
        f"there, or {account.other}."
    )


def index_problem(answer: Answer, index: Index) -> str:
    """Return what is wrong with an index that answers so to its reader, or an empty string. A page that was not read is not judged."""
    place, status = f"{index.url} ({index.place})", answer.status
    if status == NOTHING and "CERTIFICATE_VERIFY_FAILED" in answer.reason:
        return f"{index.host} does not trust the TLS certificate of {place}: {index.trust}."
    if status == NOTHING:
        return (
            f"{index.host} does not reach the package index at {place}: {answer.reason}. "
            f"Start it, or write the URL of an index that this host reaches{index.empty}."
        )
    if status in (401, 403) and not index.account:
        return f"The package index at {place} answers {status}: it wants a user; {index.nobody}."
    if status in (401, 403) and index.account:
        return refusal(status, index.url, index.account)
    if status == 404:
        return (
            f"There is no page of '{index.package}' at {index.url} (404; {index.place}): write the URL of a simple index, as in "
            f"https://HOST/repository/pypi-all/simple/, or a project that it has into {index.package_variable}."
        )
    if status != 200:
        return f"The package index at {place} answers {status}: read why in the index's own log, or write the URL of an index that works."
    if answer.body is not None and b"<a " not in answer.body:
        return (
            f"The package index at {place} has no file of '{index.package}' on its page: see there whether its group holds the repository that passes the "
            "public index through, and whether that reaches it; or write the URL of a simple index, or a project that it has into "
            f"{index.package_variable}."
        )
    return ""


def odd(answers: Sequence[Answer]) -> str:
    """Return what was heard that does not tell whether wheels are there, empty for nothing. Who may not read may still add: the upload tells."""
    return ", ".join(dict.fromkeys(answer.heard for answer in answers if answer.status not in (200, 403, 404)))


@dataclass(frozen=True)
class Uploads:
    """Where an index that is there already takes uploads, in words: address, where that is set, who uploads, and the variable with what is to be uploaded."""

    url: str
    place: str
    account: Account
    projects: str = ""


def upload_problem(login: Answer, wheels: Sequence[Answer], uploads: Uploads, index: Index) -> str:
    """Return why nothing could be uploaded, or an empty string; `login` and `wheels` are what the publisher was answered."""
    if login.status == 401:
        return refusal(401, uploads.url or index.url, uploads.account)
    if heard := odd(wheels):
        return (
            f"The package index at {uploads.url} ({uploads.place}) answers {heard} to the user {uploads.account.who}: read why in the index's own log, or "
            "write the address that the index takes uploads at."
        )
    if uploads.projects and not uploads.url:
        return (
            f"{uploads.projects} names projects, but {uploads.place} is empty: write the address that the index takes uploads at, as in "
            "https://HOST/repository/pypi-internal/."
        )
    return ""


@dataclass(frozen=True)
class OwnIndex:
    """The index that role package_index serves, in words: its compose project, the page and the project it was asked for, and where it takes uploads."""

    project: str
    page: str
    package: str
    upload: str
    #: the public index that it passes through, and what makes the host trust another authority
    upstream: str
    trust: str


def own_problem(reader: Answer, wheels: Sequence[Answer], index: OwnIndex) -> str:
    """Return what is wrong with the lab's own index, or an empty string; `wheels` is what the publisher was answered."""
    logs = f"`docker compose -p {index.project} logs"
    if reader.status == 404:
        upstream = index.upstream or "devpi-server's default, as package_index_upstream_url is empty"
        return (
            f"The index runs, but gets no page of '{index.package}' from the public index ({upstream}): read why with {logs} devpi`, then set "
            "package_index_upstream_url to a public index or mirror that this host reaches; if it is the public index's certificate that this host does not "
            f"trust, {index.trust}."
        )
    if reader.status == NOTHING:
        return f"The index of the lab does not run ({reader.heard} at {index.page}): start the lab, or read why with {logs}`."
    if reader.status != 200:
        return f"The index of the lab answers {reader.heard} to its reader at {index.page}, and should answer 200: read why with {logs}`."
    if heard := odd(wheels):
        return f"The index of the lab answers {heard} to its publisher at {index.upload}, and should answer 200 or 404: read why with {logs}`."
    return ""
