# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Common code of the program tests: sourced by every script here, never run.
#
# A script calls `begin NAME "$@"` first and `finish TEXT` last. In between it runs its program
# twice, once with glibc's malloc ("ref") and once with $LARDER_SO preloaded ("lib"), each side in a
# directory of its own ($TMP/ref and $TMP/lib) and with the same arguments, so that relative file
# names keep the sides apart. Exit status: 0 proved, 77 skipped with one line why, 1 failed with the
# end of the log.
#
# Nothing here can hang: programs and servers run under timeout(1), every wait has a deadline, and
# what is left at the end is killed by process id.

readonly SIDES="ref lib"
# A run whose memory grows past this against glibc's has leaked or hoarded; the floor keeps small
# programs, where a pool or a cache outweighs the program, out of the comparison.
readonly RSS_FACTOR=2
readonly RSS_SLACK_KIB=65536
# A run shorter than this may end before the first look into /proc; `check_takeover` covers it.
readonly MAPPED_AFTER_MS=1000

PIDS=()
REF_PRELOAD=

# begin NAME [quick|full]: checks the arguments, makes the directories, sets the clean-up.
begin() {
    NAME=$1
    MODE=${2:-quick}
    case $MODE in
    quick | full) ;;
    *)
        echo "$NAME: unknown mode '$MODE'; quick or full" >&2
        exit 1
        ;;
    esac
    if [ ! -f "${LARDER_SO:-}" ]; then
        echo "$NAME: LARDER_SO='${LARDER_SO:-}' is not a file; set it to liblarder.so" >&2
        exit 1
    fi
    LARDER_SO=$(readlink -f "$LARDER_SO")
    LIBRARY=${LARDER_SO##*/}
    # shellcheck disable=SC2034 # for the scripts that run a load of their own
    HERE=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
    unset LD_PRELOAD
    # The program under test gets the user's LARDER_ options, but not what is only meant for tests.
    export -n LARDER_SO LARDER_BUILD_DIR LARDER_SOURCE_DIR LARDER_TEST_SECONDS
    export LC_ALL=C
    TMP=$(mktemp -d "${TMPDIR:-/tmp}/larder-$NAME.XXXXXX")
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$TMP/ref" "$TMP/lib"
}

clean_up() {
    local status=$? pid
    set +e
    exec 2>/dev/null # bash would announce each job that is killed
    for pid in "${PIDS[@]}"; do
        kill_tree "$pid"
    done
    wait
    rm -rf "$TMP"
    exit "$status"
}

is_quick() { [ "$MODE" = quick ]; }
is_larder() { [[ $LIBRARY == liblarder* ]]; }

# pick QUICK FULL: the value for the mode at hand.
pick() { if is_quick; then echo "$1"; else echo "$2"; fi; }

say() { echo "$NAME: $*"; }

finish() {
    say "ok ($MODE): $*"
    exit 0
}

skip() {
    echo "$NAME: skipped: $*"
    exit 77
}

# fail TEXT [LOG...]: says what is wrong, shows the end of each log.
fail() {
    local log
    echo "$NAME: FAILED: $1" >&2
    shift
    for log in "$@"; do
        echo "--- end of ${log##*/}" >&2
        tail -n 30 "$log" >&2
    done
    exit 1
}

# need COMMAND PACKAGE: skips the script where the program is not installed.
need() {
    command -v "$1" >/dev/null || skip "$1 not found (Debian package $2)"
}

now_ms() { echo $((${EPOCHREALTIME/./} / 1000)); }

# preload_of SIDE: the library that side preloads; empty for none.
preload_of() { if [ "$1" = lib ]; then echo "$LARDER_SO"; else echo "$REF_PRELOAD"; fi; }

# libc_of PROGRAM: the C library the program loads.
libc_of() { ldd "$(command -v "$1")" | awk '$1 == "libc.so.6" { print $3 }'; }

# descendants PID: PID and all processes below it.
descendants() {
    local child
    echo "$1"
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        descendants "$child"
    done
}

kill_tree() {
    local pid
    for pid in $(descendants "$1"); do
        kill -KILL "$pid" 2>/dev/null || true
    done
}

has_library() { grep -qsF "/$LIBRARY" "/proc/$1/maps"; }

tree_has_library() {
    local pid
    for pid in $(descendants "$1"); do
        if has_library "$pid"; then return 0; fi
    done
    return 1
}

# check_bound LIBRARY COMMAND...: fails unless the dynamic linker binds malloc, calloc, realloc and
# free of the program and of all its libraries to LIBRARY when that is preloaded, even where the
# program links another allocator. COMMAND should end soon (--version).
#
# A program built without PIE that takes the address of malloc lends its own jump slot as that
# address: others bind to the program, which is right as long as the program itself binds to
# LIBRARY.
check_bound() {
    local library=$1 log=$TMP/bindings
    shift
    rm -f "$log".*
    timeout -k 5 60 env LD_PRELOAD="$library" LD_BIND_NOW=1 LD_DEBUG=bindings \
        LD_DEBUG_OUTPUT="$log" "$@" >"$log.out" 2>&1 </dev/null ||
        fail "does not start: $*" "$log.out"
    rm -f "$log.out"
    # Lines read: PID: binding file FROM [0] to TARGET [0]: normal symbol `NAME' [VERSION]
    awk -v library="$library" '
        $2 == "binding" && $11 ~ /^.(malloc|calloc|realloc|free).$/ {
            if ($7 == library) { bound[$4, $11] = 1; count++ }
            else { stray[$0] = $7 SUBSEP $11 }
        }
        END {
            for (line in stray) if (!(stray[line] in bound)) { print line; bad = 1 }
            exit (count == 0 || bad)
        }' "$log".* >"$TMP/strays" ||
        fail "malloc of '$1' or of a library of it is not bound to $library" "$TMP/strays"
    rm -f "$log".*
}

check_takeover() { check_bound "$LARDER_SO" "$@"; }

# with_time FILE: prints the words that measure a command's peak resident KiB into FILE.
with_time() {
    if [ -x /usr/bin/time ]; then echo "/usr/bin/time -q -f %M -o $1"; fi
}

# run_one SIDE STEP SECONDS COMMAND...: one bounded run in $TMP/SIDE. Leaves $TMP/STEP.SIDE.out,
# .err, .rc (exit code), .rss (peak KiB of the largest process) and .ms; SIDE is in its environment.
# Fails when it runs out of time, or when it preloads the library and no process of it ever maps it.
run_one() {
    local side=$1 step=$2 limit=$3
    local base=$TMP/$step.$side preload pid rc=0 start elapsed mapped=no
    shift 3
    preload=$(preload_of "$side")
    start=$(now_ms)
    # shellcheck disable=SC2046 # with_time prints several words or none
    (cd "$TMP/$side" && exec timeout -k 10 "$limit" $(with_time "$base.rss") \
        env SIDE="$side" ${preload:+"LD_PRELOAD=$preload"} "$@") \
        >"$base.out" 2>"$base.err" </dev/null &
    pid=$!
    PIDS+=("$pid")
    if [ "$side" = lib ]; then
        while kill -0 "$pid" 2>/dev/null; do
            if tree_has_library "$pid"; then
                mapped=yes
                break
            fi
            sleep 0.05
        done
    fi
    wait "$pid" || rc=$?
    forget "$pid"
    elapsed=$(($(now_ms) - start))
    echo "$elapsed" >"$base.ms"
    echo "$rc" >"$base.rc"
    if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
        fail "$step ($side) did not end within $limit s" "$base.out" "$base.err"
    fi
    if [ "$side" = lib ] && [ "$mapped" = no ] && [ "$elapsed" -gt "$MAPPED_AFTER_MS" ]; then
        fail "$step: $LIBRARY was never mapped" "$base.err"
    fi
}

forget() {
    local pid kept=()
    for pid in "${PIDS[@]}"; do
        if [ "$pid" != "$1" ]; then kept+=("$pid"); fi
    done
    PIDS=("${kept[@]}")
}

# expect_exit STEP CODE: both sides ended with CODE.
expect_exit() {
    local side
    for side in $SIDES; do
        [ "$(cat "$TMP/$1.$side.rc")" -eq "$2" ] ||
            fail "$1 ($side) exited with $(cat "$TMP/$1.$side.rc"), not $2" \
                "$TMP/$1.$side.out" "$TMP/$1.$side.err"
    done
}

# same_output STEP: both sides printed the same, and something.
same_output() {
    [ -s "$TMP/$1.ref.out" ] || fail "$1 (ref) printed nothing" "$TMP/$1.ref.err"
    if ! diff "$TMP/$1.ref.out" "$TMP/$1.lib.out" >"$TMP/$1.diff"; then
        fail "$1: output differs from the reference" "$TMP/$1.diff" "$TMP/$1.lib.err"
    fi
}

mib() { awk -v kib="$1" 'BEGIN { printf "%.1f MiB", kib / 1024 }'; }
seconds() { awk -v ms="$1" 'BEGIN { printf "%.1f s", ms / 1000 }'; }

# check_rss WHAT REF_KIB LIB_KIB: prints both, fails when the library's is out of all proportion.
check_rss() {
    say "$1: peak RSS reference $(mib "$2"), $LIBRARY $(mib "$3")"
    [ "$3" -le $(($2 * RSS_FACTOR + RSS_SLACK_KIB)) ] ||
        fail "$1: peak RSS $(mib "$3") against $(mib "$2") with glibc"
}

# report_run STEP: prints time and peak RSS of both sides, checks the RSS.
report_run() {
    local base=$TMP/$1
    say "$1: reference $(seconds "$(cat "$base.ref.ms")")," \
        "$LIBRARY $(seconds "$(cat "$base.lib.ms")")"
    if [ -s "$base.ref.rss" ] && [ -s "$base.lib.rss" ]; then
        check_rss "$1" "$(cat "$base.ref.rss")" "$(cat "$base.lib.rss")"
    else
        say "$1: peak RSS not measured (Debian package time)"
    fi
}

# run_both STEP SECONDS COMMAND...: both sides, exit code 0 on both, time and RSS.
run_both() {
    local side step=$1 limit=$2
    shift 2
    for side in $SIDES; do
        run_one "$side" "$step" "$limit" "$@"
    done
    expect_exit "$step" 0
    report_run "$step"
}

# start_server SIDE SECONDS COMMAND...: starts it in $TMP/SIDE with its log in $TMP/server.SIDE.log
# and at most SECONDS to live. Sets SERVER (the program) and SERVER_GUARD (timeout(1) above it).
start_server() {
    local side=$1 limit=$2 preload deadline
    shift 2
    preload=$(preload_of "$side")
    SERVER_LOG=$TMP/server.$side.log
    (cd "$TMP/$side" && exec timeout -k 10 "$limit" env ${preload:+"LD_PRELOAD=$preload"} "$@") \
        >"$SERVER_LOG" 2>&1 </dev/null &
    SERVER_GUARD=$!
    PIDS+=("$SERVER_GUARD")
    deadline=$(($(now_ms) + 10000))
    until SERVER=$(cat "/proc/$SERVER_GUARD/task/"*/children 2>/dev/null) && [ -n "$SERVER" ]; do
        [ "$(now_ms)" -lt "$deadline" ] || fail "server did not start: $1" "$SERVER_LOG"
        sleep 0.05
    done
    SERVER=${SERVER%% *}
}

# wait_until SECONDS COMMAND...: polls until COMMAND succeeds; fails with the server's log if it
# never does.
wait_until() {
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$deadline" ] || fail "waited in vain for: $*" "$SERVER_LOG"
        sleep 0.1
    done
}

# check_server_mapped SIDE: the running server has the library exactly on the side "lib". Where the
# program links an allocator of its own, that may be the very one under test.
check_server_mapped() {
    if [ "$1" = lib ]; then
        has_library "$SERVER" || fail "server does not map $LIBRARY" "$SERVER_LOG"
    elif [ -z "$REF_PRELOAD" ] && has_library "$SERVER"; then
        fail "the reference server maps $LIBRARY" "$SERVER_LOG"
    fi
}

# server_peak_kib: peak resident KiB of the server and its children, each at its own peak.
server_peak_kib() {
    local pid
    for pid in $(descendants "$SERVER"); do
        cat "/proc/$pid/status" 2>/dev/null || true
    done | awk '/^VmHWM:/ { sum += $2 } END { print sum + 0 }'
}

# stop_server SIGNAL SECONDS: asks the server to end; fails unless it ends in time with status 0.
stop_server() {
    local rc=0 deadline=$(($(now_ms) + $2 * 1000))
    kill "-$1" "$SERVER" || fail "server is gone before its end" "$SERVER_LOG"
    while kill -0 "$SERVER" 2>/dev/null; do
        [ "$(now_ms)" -lt "$deadline" ] || fail "server did not end within $2 s" "$SERVER_LOG"
        sleep 0.1
    done
    wait "$SERVER_GUARD" || rc=$?
    forget "$SERVER_GUARD"
    [ "$rc" -eq 0 ] || fail "server ended with status $rc" "$SERVER_LOG"
}

# free_port: a TCP port on the loopback address nobody listens on.
free_port() {
    local port try
    for try in {1..50}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM + try) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port on the loopback address"
}

# make_data FILE MB: MB million bytes that compress about as programs do, from the files of this
# system.
make_data() {
    local wanted=$(($2 * 1000000))
    : >"$1"
    while [ "$(stat -c %s "$1")" -lt "$wanted" ]; do
        find /usr/bin /usr/lib /usr/share/doc -xdev -type f -readable -print0 2>/dev/null |
            sort -z | xargs -0 cat 2>/dev/null | head -c $((wanted - $(stat -c %s "$1"))) >>"$1"
    done
}
