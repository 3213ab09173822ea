# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks as the lab's firewall takes them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any


def is_network(value: Any) -> bool:
    """Tell whether a value is an IPv4 address or a network, written as the firewall takes it."""
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) and re.fullmatch(r"[0-9.]+(/[1-9]?[0-9])?", value) else "", strict=False)
    except ValueError:
        return False
    return network.prefixlen > 0 or value == "0.0.0.0/0"
