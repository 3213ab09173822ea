# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.compose_up`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: compose_up
short_description: Bring a compose project to its files and its definition, and show its containers until all are healthy
version_added: 0.1.0
description:
  - Places the files that the containers mount, writes the project's C(compose.yml), which compose has to accept first, makes the networks that it
    shares with other projects, and starts it, each only where it is not so already. One task, since on a lab that runs every task is a quarter of a
    second for nothing.
  - Files reach the host over standard input and are never an argument or a temporary file, so that they may be secret. Neither the result nor the difference
    shows what is in them, so the task needs no C(no_log), which would hide why a project did not start.
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
    description:
      - Content of the compose file, which is to hold no secret. Without it, the file that is there counts.
      - Compose makes a container anew when its definition changes, not when a file does that it reads. So C(FILES_DIGEST) in here, a label's value for
        example, stands for a digest of O(secrets) and of those O(directories) whose O(directories[].recreate) is true. It tells nobody what is in the
        files as long as one of them holds something random, as those of the lab's vault are.
    type: str
  secrets:
    description:
      - File below C(secrets) of the project's directory -> text. The files are readable for group C(root), with which the containers run; the directory is
        closed to all but C(root). Without it, nothing is done there.
    type: dict
  directories:
    description:
      - Other directories below the project's, each with exactly the files that it is to hold. One without O(directories[].src) and O(directories[].files) is
        made, and what is in it is left alone.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the directory.
        type: str
        required: true
      src:
        description: A directory of the control node, whose files it gets; without hidden files, C(__pycache__) and compiled Python.
        type: path
      hidden:
        description: Names of hidden files of O(directories[].src) that it gets nevertheless.
        type: list
        elements: str
        default: []
      files:
        description: The files in the place of O(directories[].src), as a mapping of name to text.
        type: dict
      mode:
        description: Mode of the files.
        type: str
        default: "0644"
      directory_mode:
        description: Mode of the directory.
        type: str
        default: "0755"
      group:
        description: Numeric id of the group of the directory and its files. Without it, the group is left alone.
        type: int
      keep_others:
        description: Whether files that are there stay, though they are not among those that the directory gets.
        type: bool
        default: false
      recreate:
        description: Whether C(FILES_DIGEST) holds these files too. False where whoever reads them sees a change, or is told of it.
        type: bool
        default: false
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
    secrets: {redis_password: "{{ airflow_stack_redis_password }}"}
    directories:
      - {name: dags, src: "{{ airflow_stack_dags }}"}
    definition: "{{ lookup('ansible.builtin.template', 'compose.yml.j2') }}" # with `labels: {lab.mlops.files: FILES_DIGEST}`
    networks: [mlops-lab-mlflow]
"""

RETURN = r"""
placed:
  description: Files that were written, below the project's directory.
  type: list
  elements: str
  returned: when files are given
removed:
  description: Files that were removed, below the project's directory.
  type: list
  elements: str
  returned: when files are given
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
