"""Launchers: jobs on several machines, by engines that are there already: Slurm, ray.

Each job is done by a process of its own, which reads its recipe and writes its run folder on a
file system that all machines share, as `hieraseg run` does. An engine only gets command lines.
"""

from hieraseg.sweeps.launchers.options import add_options, from_arguments

__all__ = ["add_options", "from_arguments"]
