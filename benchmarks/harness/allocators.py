# SPDX-License-Identifier: Apache-2.0
"""The allocators to compare: where they are, which version, and how a program gets one."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GLIBC = "glibc"
LARDER = "larder"

# Shared libraries of other allocators as Debian and Ubuntu name them; the first one found is used.
PEERS = {
    "tcmalloc": ["libtcmalloc_minimal.so.4"],
    "jemalloc": ["libjemalloc.so.2"],
    "mimalloc": ["libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so.3"],
}


class Missing(Exception):
    """An allocator that was asked for is not there."""


@dataclass(frozen=True)
class Allocator:
    """library is the file to preload; None stands for the libc the program is linked with."""

    name: str
    library: Path | None
    version: str

    def environment(self):
        """The environment for a program that is to run with this allocator."""
        env = dict(os.environ)
        env.pop("LD_PRELOAD", None)
        if self.library is not None:
            env["LD_PRELOAD"] = str(self.library)
        return env

    def supplies(self, file):
        """Whether this is the file that a program's malloc should come from."""
        if self.library is None:
            return Path(file).name.startswith("libc.so")
        return os.path.realpath(file) == os.path.realpath(self.library)


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


def _package_version(library):
    """Package and version that a file was installed from, or a word that it was not."""
    for file in (library, Path(os.path.realpath(library))):
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
    return library.name


def _larder_version(library):
    code = (
        "import ctypes, sys; version = ctypes.CDLL(sys.argv[1]).larder_version;"
        "version.restype = ctypes.c_char_p; print(version().decode())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(library)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or [f"status {answer.returncode}"])[-1]
        raise Missing(f"{library} does not load as Larder: {reason}")
    return answer.stdout.strip()


def _with_dpkg(function, library):
    try:
        return function(library)
    except FileNotFoundError:
        return library.name


def find(name, build):
    """The allocator of this name. build is a build directory of this project."""
    if name == GLIBC:
        return Allocator(name, None, os.confstr("CS_GNU_LIBC_VERSION") or "unknown")
    if name == LARDER:
        library = Path(build).resolve() / "liblarder.so"
        if not library.exists():
            raise Missing(f"{library} is not there; build it: cmake --preset release && "
                          "cmake --build --preset release")
        return Allocator(name, library, _larder_version(library))
    libraries = _installed_libraries()
    for candidate in PEERS.get(name, []):
        if candidate in libraries:
            library = libraries[candidate]
            return Allocator(name, library, _with_dpkg(_package_version, library))
    if name in PEERS:
        raise Missing(f"{name} is not installed ({PEERS[name][0]}); `ci/install allocators` does "
                      "it")
    raise Missing(f"no allocator is named {name}; give its library as {name}=/path/to/lib.so")


def select(text, build):
    """Allocators from a list such as "larder,glibc,mine=/opt/lib.so"."""
    chosen = []
    for item in filter(None, text.split(",")):
        name, equals, path = item.partition("=")
        if equals:
            library = Path(path).resolve()
            if not library.is_file():
                raise Missing(f"{library}, given for {name}, is not a file")
            chosen.append(Allocator(name, library, _with_dpkg(_package_version, library)))
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
