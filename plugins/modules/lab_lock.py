# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.lab_lock`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: lab_lock
short_description: Take the lab's lock for as long as this run of Ansible lasts
version_added: 0.1.0
description:
  - A file on the host says which run changes the lab now. A second run stops with a sentence that names the first one.
  - A process beside Ansible renews the file every five seconds, removes it when Ansible ends in whatever way, and ends itself.
  - A holder that is dead blocks nobody. On the machine where it ran this is seen at once; from another machine within 30 seconds after its last renewal.
  - A run that has the lock already goes on with it, and so does a run that another one started with E(MLOPS_LAB_LOCK) set to RV(run).
  - In check mode nothing is taken and nothing is asked.
  - Needs a connection that starts a program for each command, like C(ssh), C(local) and C(community.docker.docker).
  - Reports no change. The lock is no part of the lab.
options:
  path:
    description: The file on the host. Its directory has to be there, and must not be one that everybody may write to.
    type: path
    required: true
  lab:
    description: Name of the lab, for messages.
    type: str
    required: true
  wait:
    description: Seconds to wait for a lock that another run has. 0 stops at once.
    type: int
    default: 0
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Take the lab's lock
  mlops.lab.lab_lock:
    path: /run/mlops-lab.lock
    lab: mlops-lab
  delegate_to: "{{ groups['lab_control'][0] }}"
  run_once: true
"""

RETURN = r"""
run:
  description: What this run is called in the file. Empty in check mode.
  returned: success
  type: str
"""
