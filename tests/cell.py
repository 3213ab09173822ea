"""Run a cell in a kernel of a JupyterLab over its own interface: ``cell.py <address> <file with the token> <kernel> <code>``.

Prints what came of it as JSON: ``status``, ``text`` and ``error``. Needs what JupyterLab's own environment has.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import requests
import websocket


def run(url: str, token: str, kernel: str, code: str) -> dict[str, Any]:
    """Start a kernel, run the cell in it, and end it."""
    login = {"Authorization": f"token {token}"}
    started = requests.post(f"{url}/api/kernels", json={"name": kernel}, headers=login, timeout=600)
    started.raise_for_status()
    place = f"{url}/api/kernels/{started.json()['id']}"
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    channel = websocket.create_connection(f"ws{place[4:]}/channels", header=login, timeout=600)
    channel.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}))
    found, idle = {"status": "", "text": "", "error": ""}, False
    while not (found["status"] and idle):
        message = json.loads(channel.recv())
        if message["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        said = message["content"]
        match message["msg_type"]:
            case "stream":
                found["text"] += said["text"]
            case "execute_result":
                found["text"] += said["data"]["text/plain"]
            case "error":
                found["error"] = said["evalue"]
            case "execute_reply":
                found["status"] = said["status"]
            case "status":
                idle = said["execution_state"] == "idle"
    channel.close()
    requests.delete(place, headers=login, timeout=60)
    return found


if __name__ == "__main__":
    address, file, name, cell = sys.argv[1:]
    print(json.dumps(run(address, Path(file).read_text(encoding="utf-8").strip(), name, cell)))
