#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# A folder of src/ is a layer, and includes go only down: to the own folder and to those below it.
# System headers belong to src/os; everyone may use those that declare no system call. Each
# exception stands below with its reason, and one that no file needs any more is an error too.
source "$(dirname "$0")/lib.sh" "$@"

# Bottom first. diag stands beside api and is called by it, so it may not look at api.
readonly LAYERS="base os sync conf heap cache hard prof diag api tool"

# Types, limits and memory functions of the language; nothing that can block or allocate.
readonly FREE_HEADERS=" assert.h errno.h limits.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h
 stdint.h string.h "

# file pattern | header pattern | reason
readonly EXCEPTIONS='
src/os/*|*|the layer that wraps the system
src/tool/*|*|a program of its own, which allocates and looks at other processes
src/sync/rcu.c|urcu/*|the one file that uses liburcu
src/base/fail.c|stdlib.h|abort
src/base/print.c|unistd.h|writes without src/os, which is a layer above
src/base/print.c|sys/syscall.h|the same
src/cache/misuse.c|stdlib.h|abort
src/prof/guard.c|stdlib.h|abort
src/cache/thread_state.c|pthread.h|the key whose destructor ends a thread cache
src/api/fork.c|pthread.h|pthread_atfork
src/api/fork.c|sys/single_threaded.h|fork of glibc does less with one thread
src/api/start.c|fcntl.h|keeps a copy of stderr for the statistics at exit
src/api/start.c|unistd.h|the same
src/api/dlopen.c|dlfcn.h|stands in for dlopen
src/api/cxx_runtime.c|dlfcn.h|looks for the C++ runtime of the process
src/api/cxx_runtime.c|stdlib.h|abort
include/larder/larder.h|malloc.h|struct mallinfo and the M_* parameters of mallopt
include/larder/larder.h|stdio.h|the FILE of malloc_info
'

rank_of() {
    local layer rank=0
    for layer in $LAYERS; do
        if [ "$layer" = "$1" ]; then
            echo "$rank"
            return
        fi
        rank=$((rank + 1))
    done
    echo -1
}

declare -A used_exceptions
excepted() {
    local file header reason
    while IFS='|' read -r file header reason; do
        # shellcheck disable=SC2053 # the right sides are patterns
        if [ -n "$reason" ] && [[ $1 == $file && $2 == $header ]]; then
            used_exceptions["$file|$header"]=1
            return 0
        fi
    done <<<"$EXCEPTIONS"
    return 1
}

check_own_include() { # file line header
    local layer=${1#src/} from to
    layer=${layer%%/*}
    from=$(rank_of "$layer")
    to=$(rank_of "${3%%/*}")
    if [[ $3 == *.c ]]; then
        violation "$1:$2: includes the source file $3"
    elif [ "$to" -lt 0 ]; then
        violation "$1:$2: \"$3\" does not begin with a layer; write \"layer/name.h\""
    elif [ "$from" -lt 0 ]; then
        violation "$1:$2: $layer is not a layer of src/"
    elif [ "$to" -gt "$from" ]; then
        violation "$1:$2: layer $layer includes \"$3\", which lies above it"
    fi
}

check_system_include() { # file line header
    case $3 in
    larder/*) [ -f "include/$3" ] || violation "$1:$2: there is no public header <$3>" ;;
    *)
        if [[ ! $FREE_HEADERS =~ [[:space:]]"$3"[[:space:]] ]] && ! excepted "$1" "$3"; then
            violation "$1:$2: includes <$3>, which belongs in src/os"
        fi
        ;;
    esac
}

count=0
while IFS=: read -r file line text; do
    count=$((count + 1))
    header=$(sed -E 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^">]*)[">].*/\1/' <<<"$text")
    if [[ $text == *\"* ]]; then
        if [[ $file == include/* ]]; then
            violation "$file:$line: a public header includes \"$header\"; write <larder/name.h>"
        else
            check_own_include "$file" "$line" "$header"
        fi
    else
        check_system_include "$file" "$line" "$header"
    fi
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' src include \
    --include='*.[ch]' --include='*.def' --include='*.cc')

while IFS='|' read -r file header reason; do
    if [ -n "$reason" ] && [ -z "${used_exceptions["$file|$header"]:-}" ]; then
        violation "exception '$file|$header' is used by no file; remove it"
    fi
done <<<"$EXCEPTIONS"

# The orders of memory operations are named in one header, so that a reader can list them.
while IFS= read -r hit; do
    violation "$hit: spells memory_order_; use an operation of base/atomic.h"
done < <(grep -rnoE '\bmemory_order_[a-z_]+' src --include='*.[ch]' | grep -v '^src/base/atomic\.h:')

finish "$count"
