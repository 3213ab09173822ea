# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what no firewall can be made of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.mlops.lab.plugins.plugin_utils.networks import is_network

DOCUMENTATION = r"""
name: firewall_problem
short_description: What no firewall can be made of
version_added: 0.2.0
description:
  - Judges the values of role C(firewall), and returns the first thing that is wrong, one sentence that says what to write instead.
positional: outside, name, sources_in, egress
options:
  _input:
    description: The ports (C(firewall_ports)).
    type: list
    elements: dict
    required: true
  outside:
    description: Interfaces (C(firewall_outside)).
    type: list
    elements: str
    required: true
  name:
    description: The table's name (C(firewall_name)).
    type: str
    required: true
  sources_in:
    description: Where it is written from where ports are reached (C(firewall_sources_in)).
    type: str
    required: true
  egress:
    description: Who may open connections to where (C(firewall_egress)).
    type: list
    elements: dict
    default: []
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Stop at input that cannot be right
  ansible.builtin.fail:
    msg: "{{ problem }}"
  vars:
    problem: "{{ [{'port': 6379, 'what': 'Redis', 'from': ['10.0.0.5']}] | mlops.lab.firewall_problem([], 'lab', 'hosts.yml') }}"
  when: problem | length > 0
"""

RETURN = r"""
_value:
  description: The sentence, empty where nothing is wrong.
  type: str
"""

MOST_LETTERS = 60  # nft allows 128 bytes


def firewall_problem(ports: Sequence[Mapping[str, Any]], outside: Iterable[str], name: str, sources_in: str, egress: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the first thing that is wrong; options as documented above."""
    return next(_problems(ports, outside, name, sources_in, egress), "")


def _problems(ports: Sequence[Mapping[str, Any]], outside: Iterable[str], name: str, sources_in: str, egress: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    no_network = "is no IPv4 address and no network as 10.0.0.0/24 is one: write such a one into"
    for source in (source for port in ports for source in port["from"] if not is_network(source)):
        theirs = ", ".join(port["what"] for port in ports if source in port["from"])
        yield f"{json.dumps(source)}, from where {theirs} shall be reached, {no_network} {sources_in}."
    ways = [(way["what"], to) for way in egress for to in way["to"]]
    for who, network in ((who, network) for who, to in ways for network in to["networks"] if not is_network(network)):
        yield f"{json.dumps(network)}, which {who} shall reach, {no_network} firewall_egress."
    numbers = [("firewall_ports", port["port"]) for port in ports] + [("firewall_egress", port) for _who, to in ways for port in to.get("ports") or ()]
    for where, port in numbers:
        if not re.fullmatch(r"[1-9][0-9]{0,4}", str(port)) or int(port) > 65535:
            yield f"{json.dumps(port)} in {where} is no port: write a number from 1 to 65535."
    for number, times in Counter(int(port["port"]) for port in ports).items():
        if times > 1:
            yield f"port {number} is in firewall_ports {times} times: write it once."
    comments = [("firewall_ports", port["what"]) for port in ports] + [("firewall_egress", what) for who, to in ways for what in (who, to["what"])]
    for where, comment in comments:
        if not re.fullmatch(rf'[^"\n]{{1,{MOST_LETTERS}}}', comment):
            yield f"{json.dumps(comment)} in {where} can be no comment: write up to {MOST_LETTERS} characters in one line, without a double quote."
    for where, interface in [("firewall_outside", one) for one in outside] + [("firewall_egress", way["interface"]) for way in egress]:
        if not re.fullmatch(r'[^\s/"*]{1,15}', interface):
            yield f"{json.dumps(interface)} in {where} is the name of no interface: write one that `ip link` shows, without a pattern."
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        yield f"firewall_name is {json.dumps(name)}: write a letter, then letters, digits and _."


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filters of this file by their names."""
        return {"firewall_problem": firewall_problem}
