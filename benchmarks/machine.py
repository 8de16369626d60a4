"""What the figures were measured on."""

from __future__ import annotations

from importlib.metadata import version

from lab.machine import this_machine


def description() -> str:
    """Machine and versions in one paragraph."""
    machine = this_machine()
    versions = machine.versions | {"diskcache": version("diskcache")}
    packages = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{machine.system} on {machine.processor}, {machine.cores} cores; Python {machine.python}, {packages}. "
        "Absolute times wander with the machine's load; compare the figures of one table.\n"
    )
