# Copyright 2026 the mlops.lab authors
# GNU General Public License v3.0+ (see COPYING)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of `mlops.lab.clock_offset`; the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: clock_offset
short_description: Tell how far a host's clock is from that of another one
version_added: 0.1.0
description:
  - Asks the host what time it is, and compares the answer with the control node's clock before and after the question. What the question itself took counts for
    no offset, so that what is told is certain.
  - With O(reference), the offset that it found at another host, it tells how far the two hosts are from each other, whatever the control node's own clock says.
  - Needs no Python on the host, and changes nothing.
options:
  reference:
    description: RV(offset) of the host to compare with. 0 is the control node.
    type: float
    default: 0.0
author:
  - The mlops.lab authors (@mlops-lab)
"""

EXAMPLES = r"""
- name: Ask the control host
  mlops.lab.clock_offset:
  delegate_to: "{{ groups.lab_control[0] }}"
  run_once: true
  register: control

- name: Ask each host
  mlops.lab.clock_offset:
    reference: "{{ control.offset }}"
  register: clock
"""

RETURN = r"""
offset:
  description: Seconds by which the host's clock is ahead, or behind where it is negative.
  returned: success
  type: float
"""
