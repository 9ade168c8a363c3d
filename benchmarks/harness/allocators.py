# SPDX-License-Identifier: Apache-2.0
"""The allocators to compare: where they are, which version, and how a program gets one."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

GLIBC = "glibc"
LARDER = "larder"

# Shared libraries of other allocators as Debian and Ubuntu name them; the first one found is used.
PEERS = {
    "tcmalloc": ["libtcmalloc_minimal.so.4"],
    "jemalloc": ["libjemalloc.so.2"],
    "mimalloc": ["libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so.3"],
}

# Marks of our own to read the others by; they are never the best and never divided by.
REFERENCES = {
    "limit": "reference: a bump pointer per thread, never frees",
    "sbrk": "reference: one lock, first fit, as textbooks begin",
}


class Missing(Exception):
    """An allocator that was asked for is not there."""


@dataclass(frozen=True)
class Allocator:
    """path is the file to preload; None stands for the libc the program is linked with. settings
    are environment variables that go with it."""

    name: str
    path: Path | None
    version: str
    reference: bool = False
    settings: tuple = ()

    def environment(self):
        """The environment for a program that is to run with this allocator."""
        env = dict(os.environ)
        env.pop("LD_PRELOAD", None)
        if self.path is not None:
            env["LD_PRELOAD"] = str(self.path)
        return {**env, **dict(self.settings)}

    def supplies(self, file):
        """Whether this is the file that a program's malloc should come from."""
        if self.path is None:
            return Path(file).name.startswith("libc.so")
        return os.path.realpath(file) == os.path.realpath(self.path)

    def is_kind_of(self, family):
        """Whether this is some version of the allocator of that name: mimalloc3 of mimalloc."""
        return self.name.startswith(family)


def libc_path():
    """The path of the libc that this machine's programs are linked with."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            file = line.rstrip("\n").partition("/")
            if re.fullmatch(r"libc[.-][0-9a-z.]*so[.0-9]*", Path(file[2]).name):
                return Path("/" + file[2])
    raise Missing("this Python is not linked with glibc dynamically")


def _installed_libraries():
    """Name to path of the shared libraries that the dynamic linker knows."""
    env = dict(os.environ, LC_ALL="C", PATH="/sbin:/usr/sbin:" + os.environ.get("PATH", ""))
    listing = subprocess.run(["ldconfig", "-p"], env=env, capture_output=True, text=True,
                             check=False)
    libraries = {}
    for line in listing.stdout.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow:
            libraries.setdefault(name.split(" ")[0], Path(path))
    return libraries


def _package_version(path):
    """Package and version that a file was installed from, or its name if it was not."""
    for file in (path, Path(os.path.realpath(path))):
        # The package may have been installed before /lib became a link to /usr/lib, or after.
        for name in {str(file), re.sub(r"^/usr/lib/", "/lib/", str(file))}:
            owner = subprocess.run(["dpkg-query", "-S", name], capture_output=True, text=True,
                                   check=False)
            if owner.returncode == 0:
                package = owner.stdout.split(": ")[0].split(",")[0]
                version = subprocess.run(
                    ["dpkg-query", "-W", "-f", "${Version}", package],
                    capture_output=True, text=True, check=False)
                return f"{package.split(':')[0]} {version.stdout}"
    return path.name


def _larder_version(path):
    code = (
        "import ctypes, sys; version = ctypes.CDLL(sys.argv[1]).larder_version;"
        "version.restype = ctypes.c_char_p; print(version().decode())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1]
        raise Missing(f"{path} does not load as Larder: {reason}")
    return answer.stdout.strip()


def _from_file(name, path, version=""):
    try:
        version = version or _package_version(path)
    except FileNotFoundError:  # no dpkg
        version = path.name
    return Allocator(name, path, version, reference=name in REFERENCES)


def _built(build, file):
    path = Path(build).resolve() / file
    if not path.exists():
        raise Missing(f"{path} is not there; build it: cmake --preset release && "
                      "cmake --build --preset release")
    return path


def find(name, build):
    """The allocator of this name. build is a build directory of this project."""
    if name == GLIBC:
        return Allocator(name, None, os.confstr("CS_GNU_LIBC_VERSION") or "unknown")
    if name == LARDER:
        path = _built(build, "liblarder.so")
        return Allocator(name, path, _larder_version(path))
    if name in REFERENCES:
        path = _built(build, f"benchmarks/references/lib{name}.so")
        return Allocator(name, path, REFERENCES[name], reference=True)
    libraries = _installed_libraries()
    for candidate in PEERS.get(name, []):
        if candidate in libraries:
            return _from_file(name, libraries[candidate])
    if name in PEERS:
        raise Missing(f"{name} is not installed ({PEERS[name][0]}); `ci/install allocators` does "
                      "it")
    raise Missing(f"no allocator is named {name}; give its library as {name}=/path/to/lib.so")


def select(text, build):
    """Allocators from a list such as "larder,glibc,mine=/opt/lib.so,other=/opt/other.so@1.2", with
    the version where the file does not come from a package; "guarded=larder+LARDER_GUARD_SAMPLE=8M"
    is one of them with an environment variable set."""
    chosen = []
    for item in filter(None, text.split(",")):
        item, *settings = item.split("+")
        name, equals, file = item.partition("=")
        if settings:
            pairs = [setting.partition("=") for setting in settings]
            base = select(file if file in (GLIBC, LARDER, *PEERS) else item, build)[0]
            chosen.append(replace(base, name=name,
                                  settings=tuple((key, value) for key, _, value in pairs)))
        elif equals:
            file, _, version = file.partition("@")
            path = Path(file).resolve()
            if not path.is_file():
                raise Missing(f"{path}, given for {name}, is not a file")
            chosen.append(_from_file(name, path, version))
        else:
            chosen.append(find(name, build))
    names = [allocator.name for allocator in chosen]
    if len(set(names)) != len(names):
        raise Missing(f"an allocator is named twice in {text}")
    return chosen


def discover(build):
    """Larder, glibc and every known peer that is installed; and words about those that are not."""
    found, words = [], []
    for name in [LARDER, GLIBC, *PEERS]:
        try:
            found.append(find(name, build))
        except Missing as reason:
            words.append(f"left out: {reason}")
    return found, words
