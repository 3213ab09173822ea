# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What preflight, the verdict and the status measure on a host, each more than one of them."""

from __future__ import annotations

import os
import ssl
from typing import Any

from ansible_collections.mlops.lab.plugins.module_utils.lab_checks import Failed


def disk(path: str) -> dict[str, Any]:
    """Return the free GiB of the file system that holds the path, or will hold it once it exists."""
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    status = os.statvfs(existing)
    return {"path": path, "device": os.stat(existing).st_dev, "free_gb": round(status.f_bavail * status.f_frsize / 2**30, 1)}


def clock_offset(now: float, before: float, after: float) -> float:
    """Return by how many seconds the host's clock is certainly ahead (+) or behind (-) between two readings of ours."""
    return now - after if now > after else now - before if now < before else 0.0


def certificate_end(directory: str, address: str) -> float:
    """Check that a client who trusts the authority accepts the host's certificate at this address now; return when it or its authority ends.

    That is in seconds since the epoch. Client and server are both in here, without a network: so key, chain, names and dates are judged by what judges them in
    the lab.

    Raises:
        Failed: a client would not accept it, or key and certificate do not fit.
    """
    try:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(f"{directory}/host.pem", f"{directory}/host.key")
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        asking.load_verify_locations(f"{directory}/ca.pem")
        asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = serving.wrap_bio(up, down, server_side=True)
        client = asking.wrap_bio(down, up, server_hostname=address)
        for side in (client, server, client):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        shown = client.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        raise Failed(f"{directory}/host.pem is not accepted at {address}: {error.verify_message}") from None
    except OSError as error:  # an SSLError is one
        raise Failed(f"{directory} has no key and certificate that fit ({error})") from None
    # Of several certificates of one authority, an older and a newer one, any is enough.
    authorities = [one for one in asking.get_ca_certs() if one["subject"] == shown["issuer"]]
    last = max((ssl.cert_time_to_seconds(str(one["notAfter"])) for one in authorities), default=float("inf"))
    return float(min(ssl.cert_time_to_seconds(str(shown["notAfter"])), last))
