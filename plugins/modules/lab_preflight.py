# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.lab_preflight`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: lab_preflight
short_description: Judge hosts, inventory and credentials of a lab before anything is changed
description:
  - Measures one host (memory, cores, free disk, listening ports, system, architecture, Python, clock) and judges it against the given limits.
  - On the first host of the play it also judges the inventory (groups, names of variables and their types) and the credentials.
  - Fails with every problem as one sentence, after all of them were looked for; with C(any_errors_fatal) the other hosts of the play are judged, too.
  - Runs as an action plugin on the control node, which has M(mlops.lab.lab_host) measure the host.
  - Changes nothing, in check mode or out of it.
author:
  - The mlops.lab authors (@mlops-lab)
version_added: 0.1.0
options:
  limits:
    description: Smallest values a host must have, and the longest clock offset.
    type: dict
    default: {}
    suboptions:
      memory_mb: {description: Main memory in MiB., type: int, default: 0}
      cores: {description: Processors the lab may use., type: int, default: 0}
      disk_gb: {description: Free disk in GiB on a host that has no lab yet., type: int, default: 0}
      disk_running_gb: {description: Free disk in GiB on a host that already has containers of the lab., type: int, default: 0}
      python: {description: Oldest Python of the host., type: str, default: "3.9"}
      clock_seconds: {description: Longest offset between the host's clock and the control node's; 0 judges none., type: int, default: 20}
  systems:
    description: Systems that are supported, written C(id version) as in C(/etc/os-release). An empty list allows every system.
    type: list
    elements: str
    default: []
  machines:
    description: Architectures that are supported, as C(uname -m) says them. An empty list allows every one.
    type: list
    elements: str
    default: []
  disk_paths:
    description: Paths whose file systems need the free disk. A path need not exist yet.
    type: list
    elements: str
    default: []
  ports:
    description: Ports that the lab wants to listen on.
    type: list
    elements: dict
    default: []
    suboptions:
      port: {description: The port. What is none is reported., type: raw, required: true}
      what: {description: Who in the lab wants it., type: str, required: true}
      variable: {description: The inventory variable that says the number., type: str, required: true}
      address: {description: The address it will be bound to., type: str, default: 127.0.0.1}
      group: {description: The group whose hosts need the port. Empty means every host., type: str, default: ""}
  projects:
    description: Compose projects of the lab. A port that one of their containers holds is not taken.
    type: list
    elements: str
    default: []
  groups:
    description: Groups the inventory must have, with their smallest and largest number of hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the group., type: str, required: true}
      min: {description: Smallest number of hosts., type: int, default: 1}
      max: {description: Largest number of hosts. 0 means any number., type: int, default: 0}
  credentials:
    description: Names of the variables that hold credentials. Their values are looked at and never shown.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the variable., type: str, required: true}
      kind:
        description: A user name, a password, a Fernet key, a private key, a certificate, or what somebody else's system gives.
        type: str
        choices: [user, password, fernet, private_key, certificate, given]
        default: password
      min_length: {description: Smallest length of a password., type: int, default: 12}
      without: {description: Characters that it cannot hold., type: str}
      needed: {description: Whether the lab needs it; one that it does not need is not looked at., type: bool, default: true}
  directories:
    description: Directories of others that hosts have to have already, C(path) as the value of C(variable); one whose path is empty is not looked for.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Path of the directory., type: str, required: true}
      variable: {description: The variable that says it., type: str, required: true}
      group: {description: The group whose hosts need it., type: str, required: true}
  queues:
    description: Worker -> the queues that it consumes, by C(lab_worker_queues).
    type: dict
    default: {}
  kept:
    description: Credentials that data on a host was made with. While the data is there, another value is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the variable., type: str, required: true}
      file: {description: File on the host with the value that the data was made with., type: path, required: true}
      volume: {description: Docker volume with the data., type: str, required: true}
  placeholders:
    description: Values that an example uses and nobody should keep.
    type: list
    elements: str
    default: []
  example_file:
    description: File with example credentials on the control node. A credential that equals its example is reported.
    type: path
    default: ""
  credentials_hint:
    description: What to type to get credentials.
    type: str
    default: ""
  index:
    description: The package index to reach. Nothing is asked when its C(url) is empty.
    type: dict
    default: {}
    suboptions:
      url: {description: Simple index (PEP 503)., type: str, default: ""}
      variable: {description: The inventory variable that says the URL., type: str, default: lab_index_url}
      user_variable: {description: Name of the variable with the user., type: str, default: ""}
      password_variable: {description: Name of the variable with the password., type: str, default: ""}
      package: {description: A package every index knows. Its page is asked for and never the index's root., type: str, default: pip}
      ca_file: {description: PEM file on the control node with an extra authority., type: path, default: ""}
      ca_variable: {description: The inventory variable that says the PEM file., type: str, default: lab_ca_bundle}
      group: {description: The group whose hosts must reach the index., type: str, default: lab_builder}
  object_store:
    description: The store that speaks S3 and has MLflow's files. Nothing is judged where nothing of it is set.
    type: dict
    default: {}
    suboptions:
      url: {description: "C(s3://bucket) or C(s3://bucket/prefix).", type: str, default: ""}
      variable: {description: The inventory variable that says it., type: str, default: lab_object_store_url}
      endpoint: {description: The store's address. Empty means Amazon's own., type: str, default: ""}
      endpoint_variable: {description: The inventory variable that says the address., type: str, default: lab_object_store_endpoint}
      mlflow_url: {description: "An MLflow that is there already, which has a store of its own.", type: str, default: ""}
      mlflow_variable: {description: The inventory variable that says it., type: str, default: lab_mlflow_url}
  control_packages:
    description: Packages that Ansible's Python on the control node has to have beside Ansible, as they are imported.
    type: list
    elements: str
    default: []
  address_variables:
    description: The variables that say at which addresses pages are published over plain HTTP. Each has to be one of the loopback.
    type: list
    elements: str
    default: []
  gateway:
    description: Whether pages are published over TLS by a gateway. With several O(addresses) they are in any case.
    type: dict
    default: {}
    suboptions:
      used: {description: "Whether the lab of one host has one, too.", type: bool, default: false}
      variable: {description: The inventory variable that says so., type: str, default: lab_gateway}
  addresses:
    description:
      - Host of the lab -> the IPv4 address by which others reach it, from C(lab_address). Each has to be one of the host's own.
      - With one host alone and no O(gateway) nothing of it is looked at.
    type: dict
    default: {}
  airflow:
    description: The version of Airflow, which not every one lets a lab have several hosts. An empty one is not judged.
    type: dict
    default: {}
    suboptions:
      version: {description: The version., type: str, default: ""}
      variable: {description: The inventory variable that says it., type: str, default: ""}
  experiment:
    description: The experiment of the first model. Nothing is looked for without a directory.
    type: dict
    default: {}
    suboptions:
      name: {description: Name of the experiment., type: str, default: ""}
      variable: {description: The inventory variable that says the name., type: str, default: ""}
      directory: {description: Directory of the experiment files on the control node., type: path, default: ""}
  requirements:
    description:
      - Names of the variables with requirements, which are judged as module M(mlops.lab.read_requirements) does.
      - Of an index that answers it is asked, too, whether it has the packages.
    type: dict
    default: {}
    suboptions:
      project: {description: Variables with what the project's environment holds., type: list, elements: str, default: []}
      airflow: {description: Variables with what Airflow's environment holds., type: list, elements: str, default: []}
      own: {description: Variables with what the lab itself needs., type: list, elements: str, default: []}
      allowed: {description: Variable with the addresses that packages may come from., type: str, default: ""}
      published: {description: "Variable with the directories of projects, and the wheels, that the lab uploads later.", type: str, default: ""}
  values_only:
    description: Look only at the values of the inventory, and measure nothing. Ends well where all can be read, and returns what else is wrong with them.
    type: bool
    default: false
  problems:
    description: What a task with O(values_only=true) returned, to be told with what this one finds.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Judge hosts, inventory and credentials
  mlops.lab.lab_preflight:
    limits: {memory_mb: 3800, cores: 2, disk_gb: 10}
    disk_paths: [/var/lib/docker]
    ports:
      - {port: 8080, what: Airflow, variable: lab_airflow_port, group: lab_control}
"""

RETURN = r"""
problems:
  description: Sentences about values that have not the type, or are not among the choices, that a role asks for.
  returned: with O(values_only=true)
  type: list
  elements: str
found:
  description: What was measured on the host.
  returned: success
  type: dict
"""
