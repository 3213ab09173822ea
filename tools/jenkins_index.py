"""The address of an index as both pipelines take it. Needs the standard library alone."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Below the address of a Nexus: what is read from, and what is uploaded to
GROUP, HOSTED = "/repository/pypi-all/simple/", "/repository/pypi-internal/"


class Wrong(Exception):
    """A parameter that cannot be used; the text is the sentence for the user."""


def wrong_url(name: str, url: str) -> str:
    """Return what is wrong with the address of an index, or an empty text."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        return f"{name} is '{url}', which is no address: write it as in https://nexus.example.org."
    if parts.username or parts.password:
        return f"{name} has a user or a password in it: write the address alone, and the id of a credential into NEXUS_CREDS_ID."
    if parts.query or parts.fragment:
        return f"{name} is '{url}', with something after the path: write the address of the Nexus or of its group alone."
    return ""
