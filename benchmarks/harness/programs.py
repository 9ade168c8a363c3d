# SPDX-License-Identifier: Apache-2.0
"""Real programs as workloads: what is installed of interpreters, compilers, databases and other
programs that allocate much. Each does a fixed piece of work on input that is made here, in a few
seconds; which malloc it gets is decided by preloading, as for the workload programs.

A kind's make(folder, path, scale) writes the input for `scale` times the usual work to a folder and
returns the command.

A program is run by the launcher (launch.c), which tells processor time, page faults and the peak
memory of the program and its children. Time is from start to end, the program's own start
included. All allocators must lead a program to the same answer."""

import atexit
import dataclasses
import hashlib
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import allocators, measure, redis_server
from harness.workloads import Failed

RUN_LIMIT_S = 300
GROUP = "programs"

# Tables, strings, closures and coroutines come and go; some live on in a ring.
LUA = """
local n, ring, sum = tonumber(arg[1]), {}, 0
for i = 1, n do
  local node = {key = "k" .. i % 5000, value = i, list = {i, i + 1, i + 2}}
  node.next = ring[i % 4096]
  if node.next then node.next.next = nil end
  ring[i % 4096] = node
  local text = string.format("%s:%d:%s", node.key, i, string.rep("x", i % 97))
  local add = function(x) return x + #text end
  sum = (sum + add(node.value)) % 1000000007
  if i % 64 == 0 then
    local parts = {}
    for j = 1, 64 do parts[j] = text .. j end
    sum = (sum + #table.concat(parts, ",")) % 1000000007
  end
end
print(sum)
"""

# Dictionaries, lists, tuples, strings and objects; PYTHONMALLOC=malloc makes each a malloc.
PYTHON = """
import json, sys
class Node:
    def __init__(self, key, items):
        self.key, self.items, self.next = key, items, None
n, total, ring = int(sys.argv[1]), 0, [None] * 4096
for i in range(n):
    node = Node("k%d" % (i % 5000), [i, float(i), (i, i + 1)])
    node.next, ring[i % 4096] = ring[i % 4096], node
    if node.next is not None:
        node.next.next = None
    words = ("%d %s %d" % (i, "x" * (i % 97), i)).split()
    total = (total + len(words[1]) + len({w: i for w in words})) % 1000000007
    if i % 64 == 0:
        record = {"id": i, "tags": ["t%d" % j for j in range(32)], "name": node.key * 3}
        total = (total + len(json.loads(json.dumps(record))["tags"])) % 1000000007
print(total)
"""

# Hashes of arrays, strings that are joined, split and replaced.
PERL = r"""
my ($n, $sum, %kept) = ($ARGV[0], 0);
for my $i (1 .. $n) {
    my $node = {key => "k" . $i % 5000, list => [$i, $i + 1, "v$i"]};
    push @{$kept{$node->{key}}}, $node;
    shift @{$kept{$node->{key}}} if @{$kept{$node->{key}}} > 4;
    my $text = join ",", map { $_ x 3 } @{$node->{list}}, "x" x ($i % 97);
    $text =~ s/x+/y/g;
    my @parts = split /,/, $text;
    $sum = ($sum + length($text) + @parts) % 1000000007;
}
print "$sum\n";
"""

SQL = """
create table users(id integer primary key, name text, mail text, born integer);
create table orders(id integer primary key, user integer, item text, price real, note text);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < {users})
insert into users
  select i, 'name ' || i * 7919 % {users}, 'm' || i || '@example.org', i % 80 from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < {orders})
insert into orders select i, i * 31 % {users} + 1, 'item ' || i % 997, i % 1009 * 0.5,
  substr('a note of some length that is not always the same, but often', 1, i % 60) from n;
commit;
create index by_user on orders(user);
create index by_item on orders(item, price);
select count(*), sum(length(name)) from users join orders on orders.user = users.id
  where born between 20 and 60;
select item, count(*), group_concat(note, '') is not null from orders group by item
  order by 2 desc, 1 limit 5;
update orders set note = note || ' ' || item where id % 3 = 0;
delete from orders where id % 7 = 0;
select count(distinct note), sum(price) from orders;
select name, sum(price) total from users join orders on user = users.id group by name
  order by total desc, name limit 5;
"""


def _lines(file, lines):
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(file)


def _script(name, text, count):
    def make(folder, path, scale):
        return [path, _lines(folder / name, [text.strip()]), str(max(1, int(count * scale)))]
    return make


def _sqlite(folder, path, scale):
    script = SQL.format(users=max(10, int(60000 * scale)), orders=max(100, int(600000 * scale)))
    return [path, "-batch", ":memory:", f".read {_lines(folder / 'work.sql', [script.strip()])}"]


def _c_function(number, pick):
    """A function with loops, branches and calls, different from all the others."""
    steps = [f"    if ((x ^ {pick.randrange(99)}) % {pick.randrange(2, 9)} == 0) "
             f"x = x * {pick.randrange(3, 99)}u + t[(x + {pick.randrange(64)}) % 64]; "
             f"else for (unsigned k = 0; k < x % {pick.randrange(2, 17)}; k++) "
             f"t[k % 64] ^= x >> {pick.randrange(1, 9)};" for _ in range(8)]
    call = f"    x += f{pick.randrange(number)}(x >> 1, t);" if number else ""
    return [f"static unsigned f{number}(unsigned x, unsigned *t) {{", "    if (x < 2) return x;",
            *steps, call, "    return x;", "}"]


def _gcc(folder, path, scale):
    pick = random.Random(1)
    count = max(4, int(170 * scale))
    lines = [line for number in range(count) for line in _c_function(number, pick)]
    lines += ["unsigned all(unsigned x, unsigned *t) {", "    return 0"]
    lines += [f"        + f{number}(x, t)" for number in range(count)]
    lines += ["    ;", "}"]
    return [path, "-O2", "-S", "-o", "-", _lines(folder / "work.c", lines)]


def _git(folder, path, scale):
    """A repository of some files in many versions; git gc -aggressive packs it anew each time."""
    repository = folder / "repository"
    if not repository.exists():
        _fill_repository(repository, path, max(4, int(400 * scale)))
    return [path, "-C", str(repository), "-c", "pack.threads=1", "-c", "gc.reflogExpire=now",
            "gc", "--aggressive", "--prune=now", "--quiet"]


def _fill_repository(repository, path, commits):
    pick = random.Random(1)
    texts = [[f"line {pick.randrange(10**6)} of file {number}" for _ in range(400)]
             for number in range(40)]
    stream = []
    for commit in range(commits):
        stream += ["commit refs/heads/main",
                   f"committer Someone <someone@example.org> {10**9 + commit} +0000",
                   "data 6", f"c{commit:05d}"]
        for number in pick.sample(range(40), 5):
            for _ in range(6):
                texts[number][pick.randrange(400)] = f"line {pick.randrange(10**6)}, changed"
            body = "\n".join(texts[number])
            stream += [f"M 644 inline file{number}", f"data {len(body)}", body]
    stream.append("")
    source = repository.parent / "history"
    source.write_text("\n".join(stream), encoding="utf-8")
    env = dict(os.environ, **_GIT_ALONE)
    made = repository.with_suffix(".new")
    shutil.rmtree(made, ignore_errors=True)
    script = 'set -e; "$1" init -q -b main "$2"; "$1" -C "$2" fast-import --quiet <"$3"'
    done = measure.execute(["sh", "-c", script, "sh", path, str(made), str(source)], env,
                           RUN_LIMIT_S)
    if done.status != 0:
        raise Failed(f"git cannot make a repository: {done.stderr.strip()}")
    made.rename(repository)


def _ghostscript(folder, path, scale):
    pick = random.Random(1)
    lines = ["%!PS"]
    for _ in range(max(1, int(500 * scale))):
        lines.append("/Times-Roman findfont 11 scalefont setfont")
        for row in range(60):
            words = " ".join(f"word{pick.randrange(10**5)}" for _ in range(9))
            lines.append(f"40 {40 + 12 * row} moveto ({words}) show")
        for _ in range(300):
            x = [pick.randrange(600) for _ in range(8)]
            lines.append(f"{pick.random():.2f} {pick.random():.2f} 0.5 setrgbcolor "
                         f"{x[0]} {x[1]} moveto {' '.join(map(str, x[2:]))} curveto closepath "
                         f"{pick.choice(['fill', 'stroke', 'gsave fill grestore stroke'])}")
        lines.append("showpage")
    return [path, "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=pdfwrite", "-o", "/dev/null",
            _lines(folder / "work.ps", lines)]


def _z3(folder, path, scale):
    pick = random.Random(1)
    lines = ["(set-logic QF_BV)", "(declare-const x (_ BitVec 20))",
             "(declare-const y (_ BitVec 20))"]
    for _ in range(max(1, int(400 * scale))):
        a, b = pick.randrange(3, 2**9), pick.randrange(3, 2**9)
        lines += ["(push)", f"(assert (= (bvmul x y) (_ bv{a * b} 20)))",
                  "(assert (bvult x (_ bv1024 20)))", "(assert (bvult y (_ bv1024 20)))",
                  "(assert (bvugt x y))", f"(assert (= ((_ extract 1 0) x) (_ bv{a % 4} 2)))",
                  "(check-sat)", "(pop)"]
    return [path, "-smt2", _lines(folder / "work.smt2", lines)]


def _xz(folder, path, scale):
    pick = random.Random(1)
    words = [f"w{pick.randrange(10**6)}" for _ in range(3000)]
    text = " ".join(pick.choice(words) for _ in range(int(350000 * scale) + 100))
    return ["sh", "-c", '"$1" -6 -T1 -c "$2" | cksum', "sh", path,
            _lines(folder / "work.txt", [text])]


_GIT_ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}


def _real_python(path):
    """The interpreter itself, where the command is a script that picks one of several."""
    asked = measure.execute([path, "-c", "import sys; print(sys.executable)"], dict(os.environ), 60)
    return os.path.realpath(asked.stdout.strip()) if asked.status == 0 else path


def _compiler_proper(path):
    """cc1, which gcc runs and which does the work."""
    asked = measure.execute([path, "-print-prog-name=cc1"], dict(os.environ), 60)
    return asked.stdout.strip() if asked.status == 0 else path


def _itself(path):
    return path


@dataclass(frozen=True)
class Kind:
    """A program that may be installed. resolve turns the path of the command into that of what is
    run, worker that into the path of the program that does the work; probe is an argument with
    which that ends at once."""

    name: str
    command: str
    about: str
    seconds: float
    make: Callable
    variables: dict = dataclasses.field(default_factory=dict)
    resolve: Callable = _itself
    worker: Callable = _itself
    probe: str = "--version"


KINDS = [
    Kind("gcc", "gcc", "gcc -O2 compiles one generated file.", 4, _gcc, {"LC_ALL": "C"},
         worker=_compiler_proper),
    Kind("ghostscript", "gs", "Ghostscript makes PDF of text and curves.", 2, _ghostscript),
    Kind("git", "git", "git gc --aggressive of a small repository.", 3, _git, _GIT_ALONE),
    Kind("lua", "lua5.4", "Lua: tables, strings and closures.", 2,
         _script("work.lua", LUA, 700000), probe="-v"),
    Kind("perl", "perl", "Perl: hashes of arrays, strings joined and split.", 3,
         _script("work.pl", PERL, 500000), {"PERL_HASH_SEED": "0"}),
    Kind("python", "python3", "Python with PYTHONMALLOC=malloc: objects, dictionaries, JSON.", 3,
         _script("work.py", PYTHON, 500000), {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
         _real_python),
    Kind("sqlite", "sqlite3", "SQLite in memory: inserts, indexes, joins, updates.", 2, _sqlite),
    Kind("xz", "xz", "xz -6 compresses text: few and large blocks.", 3, _xz),
    Kind("z3", "z3", "z3 decides formulas over bit vectors.", 3, _z3),
]


def _origins(command, allocator, variables):
    """The files that supply malloc and its companions to a program and its libraries, as the
    dynamic linker itself reports it when it binds them. (A program whose address is fixed also
    passes functions on to its libraries; that is not a malloc of its own.)"""
    env = dict(allocator.environment(), **variables, LD_DEBUG="bindings", LD_BIND_NOW="1")
    done = measure.execute(command, env, 60)
    pattern = re.compile(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: normal symbol "
                         r"`(?:malloc|calloc|realloc|free)'")
    return {match[2] for match in pattern.finditer(done.stderr)
            if "/ld-" not in match[1] and match[2] != command[0]}


class Program:
    """An installed program; a workload for measure.interleaved."""

    thread_counts = (1,)

    def __init__(self, kind, path):
        self.name, self.about, self.seconds = kind.name, kind.about, kind.seconds
        self.kind, self.path = kind, kind.resolve(path)
        self.answer = None   # hash of what the first run has printed
        self.checked = {}    # allocator name to the file its malloc comes from

    def malloc_origin(self, allocator):
        """The file that this program's malloc comes from; Failed if it is not the allocator's."""
        if allocator.name not in self.checked:
            probe = [self.kind.worker(self.path), self.kind.probe]
            files = _origins(probe, allocator, self.kind.variables)
            wrong = [file for file in files if not allocator.supplies(file)]
            if wrong or not files:
                where = ", ".join(sorted(wrong)) or "no library"
                raise Failed(f"{self.name} with {allocator.name} gets its malloc from {where}")
            self.checked[allocator.name] = files.pop()
        return self.checked[allocator.name]

    def run(self, allocator, build, percent):
        """Does the work once; a sample like that of a workload program."""
        what = f"{self.name} with {allocator.name}"
        origin = self.malloc_origin(allocator)
        folder = Path(build).resolve() / "benchmarks" / "programs" / f"{self.name}-{percent}"
        folder.mkdir(parents=True, exist_ok=True)
        command = self.kind.make(folder, self.path, percent / 100)
        env = dict(allocators.Allocator("", None, "").environment(), **self.kind.variables)
        limit_s = measure.REFERENCE_LIMIT_S if allocator.reference else RUN_LIMIT_S
        with tempfile.NamedTemporaryFile(prefix="launch-", dir=folder) as report:
            try:
                done = measure.execute(
                    [_launcher(build), report.name, str(allocator.path or ""), *command], env,
                    limit_s, folder)
            except Failed as reason:
                raise Failed(f"{what} {reason}") from None
            if done.status != 0:
                words = (done.stderr or done.stdout).strip()[-300:]
                raise Failed(f"{what} ended with status {done.status}: {words}")
            sample = {key: float(value) if "." in value else int(value) for key, _, value in
                      (pair.partition("=") for pair in report.read().decode().split())}
        answer = hashlib.sha256(done.stdout.encode()).hexdigest()
        self.answer = self.answer or answer
        if answer != self.answer:
            raise Failed(f"{what} gives another answer than before: {done.stdout.strip()[:200]}")
        return dict(sample, workload=self.name, threads=1, malloc=origin)


def _launcher(build):
    path = Path(build).resolve() / "benchmarks" / "harness" / "launch"
    if not path.exists():
        raise Failed(f"{path} is not there; build it: cmake --preset release && "
                     "cmake --build --preset release")
    return str(path)


class Redis:
    """redis-server under redis-benchmark: a fixed number of requests. benchmarks/redis measures
    the same in more detail. Processor time and page faults are those of the server."""

    name = "redis"
    about = "redis-server: strings and hashes set, read, grown and deleted."
    seconds = 5
    thread_counts = (1,)
    requests, keys = 250000, 50000
    load = [["-d", "64", "-t", "set"],
            ["HSET", "user:__rand_int__", "name", "x" * 24, "mail", "y" * 32],
            ["APPEND", "log:__rand_int__", "a" * 80],
            ["-d", "700", "-t", "set"],
            ["-t", "get"]]

    def __init__(self):
        scratch = tempfile.TemporaryDirectory(prefix="larder-redis-")
        atexit.register(scratch.cleanup)
        self.server, self.client = redis_server.executables(scratch.name)

    def _carried(self, allocator):
        """libc's malloc must be preloaded too where the server is linked with another."""
        if allocator.path is not None:
            return allocator
        return dataclasses.replace(allocator, path=allocators.libc_path())

    def run(self, allocator, _, percent):
        """One server from start to end; time is that of the requests."""
        allocator = self._carried(allocator)
        origin = redis_server.malloc_origin(self.server, allocator)
        if not allocator.supplies(origin):
            raise Failed(f"redis-server gets malloc from {origin} instead of {allocator.name}'s")
        requests = max(1000, self.requests * percent // 100)
        with redis_server.Server(self.server, allocator) as server:
            rates = [redis_server.load(self.client, server, requests, self.keys, command)[0]
                     for command in self.load]
            server.delete(["key:", "user:", "log:"], self.keys)
            # After the name, which may hold blanks: state is field 0 there.
            text = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8")
            fields = text.rpartition(")")[2].split()
            ticks = os.sysconf("SC_CLK_TCK")
            return {"workload": self.name, "threads": 1, "malloc": origin,
                    "seconds": sum(requests / rate for rate in rates),
                    "peak_rss_kib": server.memory_kib("VmHWM"),
                    "minor_faults": int(fields[7]), "major_faults": int(fields[9]),
                    "user_s": int(fields[11]) / ticks, "sys_s": int(fields[12]) / ticks}


def discover():
    """The programs that are installed, by name, and words about those that are not."""
    found, words = {}, []
    for kind in KINDS:
        path = shutil.which(kind.command)
        if path is None:
            words.append(f"left out: {kind.name}, because {kind.command} is not installed")
        else:
            found[kind.name] = Program(kind, path)
    try:
        found["redis"] = Redis()
    except Failed as reason:
        words.append(f"left out: redis, because {reason}")
    return found, words
