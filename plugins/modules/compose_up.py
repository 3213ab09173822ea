# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.compose_up`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: compose_up
short_description: Bring a compose project to its definition and show its containers until all are healthy
version_added: 0.1.0
description:
  - Writes the project's C(compose.yml), which compose has to accept first, makes the networks that it shares with other projects, and starts it, each
    only where it is not so already. One task, since on a lab that runs every task is a quarter of a second for nothing.
  - Starts a compose project with C(community.docker.docker_compose_v2) and shows the states of its containers, as they change, with the
    seconds waited.
  - Where every service runs healthy with the present definition and image, that is seen in a fraction of a second and nothing is started.
  - Images are never pulled, so that a name of the lab's own cannot be answered by a stranger's image in a public registry.
  - Containers that an earlier run left restarting, exited or unhealthy are removed first.
  - When it fails, the message names the services that are not healthy and their last words.
options:
  project:
    description: Name of the compose project.
    type: str
    required: true
  project_src:
    description: Directory on the host with the compose file.
    type: path
    required: true
  definition:
    description: Content of the compose file, which is to hold no secret. Without it, the file that is there counts.
    type: str
  networks:
    description: Networks to make where they are not there.
    type: list
    elements: str
    default: []
  start:
    description: Start the project; false only writes the file and makes the networks.
    type: bool
    default: true
  wait_timeout:
    description: Seconds that the project may take until all its services are healthy.
    type: int
    default: 600
  stop_timeout:
    description: Seconds beside O(wait_timeout) that containers which are replaced may take to end, the longest C(stop_grace_period) of the project.
    type: int
    default: 60
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Start the stack and wait until it can be used
  mlops.lab.compose_up:
    project: mlops-lab-airflow
    project_src: /opt/mlops-lab/airflow_stack
    definition: "{{ lookup('ansible.builtin.template', 'compose.yml.j2') }}"
    networks: [mlops-lab-mlflow]
"""

RETURN = r"""
running:
  description: Names of the images of what ran before, which is or in check mode would be replaced, or joined by others.
  type: list
  elements: str
  returned: when something changed
actions:
  description: What compose did, as community.docker.docker_compose_v2 returns it.
  type: list
  elements: dict
  returned: when the project was started
"""
