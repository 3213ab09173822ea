# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.image_build`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: image_build
short_description: Build a container image once, with secrets that leave no trace
version_added: 0.1.0
description:
  - Builds an image with BuildKit and tags it C(<repository>:<version>-<digest>), where the digest covers the Dockerfile,
    the files of the build context, the ids of the base images and the target.
  - When an image with that tag is there, nothing is staged and nothing is built.
  - The build context and the secrets reach the host over standard input, lie in a directory of mode 0700 below
    O(staging_dir) while the build runs, and are removed by the host itself when it ends, whatever becomes of Ansible.
  - When Ansible is gone (killed, or the connection is cut), the host ends the build after O(patience) seconds and removes them.
  - Build steps are shown as they happen.
  - C(community.docker.docker_image_build) was not used since it shows nothing until the end, has no digest of the content,
    and its secrets of type C(env) do not work (up to 5.4.0).
options:
  repository:
    description: Name of the image without a tag.
    type: str
    required: true
  version:
    description: First part of the tag.
    type: str
    required: true
  alias:
    description: A second full name that is moved onto the image.
    type: str
  compare:
    description:
      - Command that prints a line for each thing that an image lacks. The line has the thing, a tab and a sentence. The command is run, without network,
        in the image that O(alias) names and in the new one. What the new one alone lacks fails the task with its sentence, and the alias stays where it is.
      - Without a present image, or where the command cannot be run, nothing is known, and nothing is refused.
    type: list
    elements: str
    default: []
  compare_input:
    description: What that command gets on its standard input.
    type: str
    default: ""
  keep:
    description:
      - After a build, how many images of the same repository and version stay on the host, the new one and the newest of the others.
      - Images that a container uses, running or not, stay in any case. 0 removes none.
    type: int
    default: 3
  dockerfile:
    description: Text of the Dockerfile.
    type: str
    required: true
  files:
    description: The build context, as a mapping of file name to text.
    type: dict
    default: {}
  base_images:
    description: Images of the host that the Dockerfile builds on; their ids are part of the digest.
    type: list
    elements: str
    default: []
  target:
    description: Stage of the Dockerfile to build.
    type: str
  output:
    description:
      - Directory on the host that gets the files of the stage instead of an image being made.
      - With it the build always runs.
    type: path
  failure_hint:
    description: Sentence that begins the message when the build fails, before the output of the step that failed.
    type: str
  secrets:
    description: BuildKit secrets, as a mapping of id to text.
    type: dict
    default: {}
  secret_files:
    description: BuildKit secrets, as a mapping of id to a file that is on the host.
    type: dict
    default: {}
  staging_dir:
    description: Directory on the host for build contexts and secrets while a build runs; should be on a tmpfs.
    type: path
    required: true
  timeout:
    description: Seconds after which the build is given up.
    type: int
    default: 3600
  patience:
    description: Seconds without a sign of Ansible after which the host ends the build and removes its context and its secrets.
    type: int
    default: 300
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Build the lab's image
  mlops.lab.image_build:
    repository: mlops-lab/airflow
    version: 3.3.2
    dockerfile: "{{ lookup('ansible.builtin.template', 'Dockerfile.j2') }}"
    base_images: [mlops-lab/airflow-base:3.3.2]
    secrets: {nexus_user: "{{ vault_nexus_user }}", nexus_pass: "{{ vault_nexus_pass }}"}
    staging_dir: /dev/shm/mlops-lab
"""

RETURN = r"""
image:
  description: Full name of the image with its digest tag.
  type: str
  returned: always
image_id:
  description: Id of the image; empty in check mode when it would be built.
  type: str
  returned: when no output directory is given
digest:
  description: The digest in the tag.
  type: str
  returned: always
"""
