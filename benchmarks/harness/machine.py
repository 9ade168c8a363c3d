# SPDX-License-Identifier: Apache-2.0
"""A word about the machine that numbers were taken on, with nothing that identifies it."""

import math
import os
import platform


def processors():
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def _field(file, key):
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.replace("=", ":", 1).partition(":")
                if name.strip() == key:
                    return value.strip().strip('"')
    except OSError:
        pass
    return ""


def describe():
    """For example "2-core x86-64 VM, 24 GiB, Debian 12"."""
    virtual = " VM" if "hypervisor" in _field("/proc/cpuinfo", "flags").split() else ""
    architecture = platform.machine().replace("_", "-")
    memory = math.ceil(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024 / 1024)
    system = _field("/etc/os-release", "ID").capitalize()
    release = _field("/etc/os-release", "VERSION_ID")
    return f"{processors()}-core {architecture}{virtual}, {memory} GiB, {system} {release}"


def tuning():
    """Environment variables in force that tune an allocator."""
    prefixes = ("LARDER_", "MALLOC_", "TCMALLOC_", "MIMALLOC_", "GLIBC_TUNABLES")
    return {key: value for key, value in sorted(os.environ.items()) if key.startswith(prefixes)}


def load():
    """Load average of the last minute; above half the processors, numbers are not to be trusted."""
    return os.getloadavg()[0]
