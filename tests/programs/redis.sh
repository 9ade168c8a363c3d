#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# redis-server keeps its data right under mixed load: strings, lists, sets, hashes and sorted sets
# from 16 bytes to 64 KiB, Lua, keys that expire, snapshots from a forked child, memory freed on its
# background thread. What a fixed sequence of commands leaves behind is the same as with glibc's
# malloc, before and after all load, and also after a restart from the snapshot file.
#
# Debian's redis-server links libjemalloc. The preloaded library comes before it in the search
# order, and so does glibc on the reference side, where libc itself is preloaded; both are checked.
# The few calls that only jemalloc has (mallctl, nallocx) still go there; redis takes their answers
# as hints.

set -eu
. "$(dirname "$0")/lib.sh"
begin redis "$@"
need redis-server redis-server
need redis-cli redis-tools
need redis-benchmark redis-tools

RECORDS=$(pick 20000 200000)
LOAD_SECONDS_LIB=$(pick 5 600)
LOAD_SECONDS_REF=$(pick 5 60)

check_takeover redis-server --version
REF_PRELOAD=$(libc_of redis-server)
check_bound "$REF_PRELOAD" redis-server --version

SOCKET=$TMP/redis.sock
cli() { timeout 120 redis-cli -s "$SOCKET" "$@"; }
cli_expect() {
    local wanted=$1 answer
    shift
    answer=$(cli "$@")
    [ "$answer" = "$wanted" ] || fail "$*: '$answer' instead of '$wanted'" "$SERVER_LOG"
}

# A fixed sequence over five kinds of values with deletes in between; a line may have 64 KiB at
# most.
make_records() {
    awk -v records="$RECORDS" 'BEGIN {
        text = "larder"
        while (length(text) < 65536) text = text text
        for (i = 0; i < records; i++) {
            seed = (seed * 1103515245 + 12345) % 2147483648
            size = int(2 ^ (seed / 2147483648 * 10))
            if (i % 1000 == 0) size = 60000
            value = i "-" substr(text, 1, size)
            printf "SET data:s%d %s\n", i, value
            printf "APPEND data:s%d %s\n", int(i / 2), substr(value, 1, 40)
            printf "RPUSH data:l%d %s\n", i % 97, substr(value, 1, 200)
            printf "SADD data:t%d %s\n", i % 89, substr(value, 1, 100)
            printf "HSET data:h%d f%d %s\n", i % 83, i % 1013, substr(value, 1, 300)
            printf "ZADD data:z%d %d %s\n", i % 79, seed % 1000, substr(value, 1, 60)
            if (i % 3 == 0) printf "DEL data:s%d\n", int(i * 2 / 3)
            if (i % 5 == 0) printf "LPOP data:l%d\n", i % 97
            if (i % 7 == 0) printf "UNLINK data:h%d\n", (i / 7) % 83
        }
    }'
}

# Digest of everything below "data:", each kind in an order of its own.
readonly DIGEST='
local keys, digest = redis.call("KEYS", "data:*"), ""
table.sort(keys)
for _, key in ipairs(keys) do
    local kind, part = redis.call("TYPE", key).ok, nil
    if kind == "string" then part = {redis.call("GET", key)}
    elseif kind == "list" then part = redis.call("LRANGE", key, 0, -1)
    elseif kind == "set" then part = redis.call("SMEMBERS", key) table.sort(part)
    elseif kind == "zset" then part = redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
    elseif kind == "hash" then
        part = {}
        local fields = redis.call("HGETALL", key)
        for i = 1, #fields, 2 do part[#part + 1] = fields[i] .. "=" .. fields[i + 1] end
        table.sort(part)
    end
    digest = redis.sha1hex(digest .. key .. kind .. table.concat(part, ","))
end
return #keys .. " " .. digest'

readonly UNLINK_BRIEF='
for _, key in ipairs(redis.call("KEYS", "brief:*")) do redis.call("UNLINK", key) end'
readonly LUA_STRINGS='
local texts = {}
for i = 1, 200000 do texts[i % 5000] = ("x"):rep(i % 700) end
return #texts'

start_redis() {
    start_server "$1" $((LOAD_SECONDS_LIB + 300)) redis-server --port 0 --unixsocket "$SOCKET" \
        --save "" --dbfilename dump.rdb --dir "$TMP/$1" --lazyfree-lazy-user-del yes \
        --activerehashing yes --maxclients 1000 --lua-time-limit 60000
    wait_until 10 cli PING
}

bench() { timeout 120 redis-benchmark -s "$SOCKET" -q "$@" >>"$TMP/bench" 2>&1; }

# One round of mixed load, about 3 s: many clients, pipelines, sizes; the list is emptied again.
load_round() {
    bench -n 40000 -c 50 -P 16 -r 20000 -d $((16 << ($1 % 8))) -t set,get,incr,sadd,hset,mset ||
        fail "redis-benchmark failed" "$TMP/bench" "$SERVER_LOG"
    bench -n 20000 -c 20 -r 5000 -d 200 -t lpush,rpush,zadd,zpopmin,spop ||
        fail "redis-benchmark failed" "$TMP/bench" "$SERVER_LOG"
    bench -n 20000 -c 20 -P 4 -d 200 -t lpop,rpop || fail "redis-benchmark failed" "$TMP/bench"
    bench -n 2000 -c 5 -d 65536 -r 200 -t set,get || fail "redis-benchmark failed" "$TMP/bench"
    bench -n 20000 -c 20 -r 20000 SET brief:__rand_int__ value-that-expires PX 100 ||
        fail "redis-benchmark failed" "$TMP/bench"
    case $(($1 % 4)) in
    1) cli BGSAVE ;;
    2) cli EVAL "$UNLINK_BRIEF" 0 ;;
    3) cli EVAL "$LUA_STRINGS" 0 ;;
    esac >/dev/null
}

run_side() {
    local side=$1 span=$2 before after end rounds=0 start calls
    start_redis "$side"
    check_server_mapped "$side"
    cli --pipe <"$TMP/records" >"$TMP/pipe.out" || fail "loading failed" "$TMP/pipe.out"
    before=$(cli EVAL "$DIGEST" 0)
    start=$(now_ms)
    end=$((start + span * 1000))
    while [ "$(now_ms)" -lt "$end" ]; do
        load_round "$rounds"
        rounds=$((rounds + 1))
    done
    kill -0 "$SERVER" 2>/dev/null || fail "the server died under load" "$SERVER_LOG"
    after=$(cli EVAL "$DIGEST" 0)
    [ "$before" = "$after" ] || fail "$side: data changed under load: $before -> $after"
    server_peak_kib >"$TMP/peak.$side"
    calls=$(cli INFO commandstats | awk -F '[=,]' '/^cmdstat/ { n += $2 } END { print n }')
    say "$side: $rounds rounds, $calls commands, $((calls * 1000 / ($(now_ms) - start))) a second"
    # A save of our own must not meet one still running in the background.
    wait_until 60 eval 'cli INFO persistence | grep -q "rdb_bgsave_in_progress:0"'
    cli_expect OK SAVE
    stop_server TERM 60

    start_redis "$side"
    wait_until 60 eval 'cli INFO persistence | grep -q "^loading:0"'
    after=$(cli EVAL "$DIGEST" 0)
    [ "$before" = "$after" ] || fail "$side: data changed over a restart: $before -> $after"
    cli_expect OK FLUSHALL ASYNC
    cli_expect 0 DBSIZE
    stop_server TERM 60
    echo "$before" >"$TMP/digest.$side"
}

make_records >"$TMP/records"
run_side ref "$LOAD_SECONDS_REF"
run_side lib "$LOAD_SECONDS_LIB"
cmp -s "$TMP/digest.ref" "$TMP/digest.lib" ||
    fail "data differs from the reference: $(cat "$TMP/digest.lib"), not $(cat "$TMP/digest.ref")"
check_rss "server under load" "$(cat "$TMP/peak.ref")" "$(cat "$TMP/peak.lib")"
finish "$(cut -d ' ' -f 1 "$TMP/digest.lib") keys alike, ${LOAD_SECONDS_LIB} s of load"
