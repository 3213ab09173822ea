"""The targets. A new one is a module here with a class, and a line in :data:`TARGETS`."""

from __future__ import annotations

from lab_deployment.target import Target
from lab_deployment.targets.batch import Batch
from lab_deployment.targets.endpoint import Endpoint
from lab_deployment.targets.object_store import ObjectStore
from lab_experiment.failures import Mistakes

TARGETS: dict[str, type[Target]] = {target.name: target for target in (Endpoint, ObjectStore, Batch)}


def find(name: str) -> type[Target]:
    """The target of a name.

    Raises:
        Mistakes: There is none.
    """
    if name not in TARGETS:
        raise Mistakes([f"target has {name!r}; allowed: {', '.join(TARGETS)}."])
    return TARGETS[name]


def help_text() -> str:
    """The options of all targets as Markdown, for the trigger form."""
    lines = []
    for target in TARGETS.values():
        lines.append(f"**{target.name}** {target.summary}\n")
        for name, option in target.options.items():
            default = "required" if option.required else f"default {str(option.default).lower()}" if option.default is not None else "optional"
            lines.append(f"- `{name}` ({default}): {option.summary}" + (f"; such as `{option.example}`" if option.example else ""))
        lines.append("")
    return "\n".join(lines)
