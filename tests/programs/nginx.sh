#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# nginx with two workers serves files right under wrk on the loopback address: plain, compressed as
# it goes out, through a proxy to itself, and put together by server-side includes, before and after
# the workers are replaced on reload. Every page is the same as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin nginx "$@"
PATH=$PATH:/usr/sbin
need nginx nginx-light
need wrk wrk

SECONDS_OF_LOAD=$(pick 1 20)
readonly PAGES="small.txt large.txt unpacked/large.txt proxied/large.txt page.html"

check_takeover nginx -v

write_site() {
    local user="" mime=/etc/nginx/mime.types
    if [ "$(id -u)" -eq 0 ]; then user="user root;"; fi
    mkdir -p "$1/site" "$1/temp"
    seq 1 20 >"$1/site/small.txt"
    seq 1 60000 >"$1/site/large.txt"
    {
        for _ in {1..20}; do
            echo '<p><!--#include virtual="/small.txt" --><!--#echo var="request_uri" --></p>'
        done
    } >"$1/site/page.html"
    cat >"$1/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $1/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
    include $mime;
    access_log off;
    gzip_http_version 1.0;
    gzip_proxied any;
    client_body_temp_path $1/temp/body;
    proxy_temp_path $1/temp/proxy;
    fastcgi_temp_path $1/temp/fastcgi;
    uwsgi_temp_path $1/temp/uwsgi;
    scgi_temp_path $1/temp/scgi;
    keepalive_requests 200;
    server {
        listen 127.0.0.1:$PORT;
        root $1/site;
        location /page.html { ssi on; }
        location /packed/ { alias $1/site/; gzip on; gzip_types text/plain; }
        location /unpacked/ { alias $1/site/; }
        location /proxied/ { proxy_pass http://127.0.0.1:$PORT/packed/; proxy_buffers 8 16k; }
    }
}
CONF
}

# fetch PATH: headers without the changing ones, then the body.
fetch() (
    exec 3<>"/dev/tcp/127.0.0.1/$PORT"
    printf 'GET /%s HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n' "$1" >&3
    timeout 20 cat <&3 | grep -avE '^(Date|Last-Modified|ETag|Server):'
)

# check_pages STEP SIDE: all pages are complete; their digests go to $TMP/pages.STEP.SIDE.
check_pages() {
    local page file=$TMP/pages.$1.$2
    for page in $PAGES packed/large.txt; do
        fetch "$page" >"$TMP/page"
        grep -aq '^HTTP/1.1 200' "$TMP/page" || fail "GET /$page ($2)" "$TMP/page" "$SERVER_LOG"
        echo "$page $(wc -c <"$TMP/page") $(sha256sum <"$TMP/page")"
    done >"$file"
}

# load WHO PATH...: wrk on each path; any error or answer but 2xx fails.
load() {
    local who=$1 path
    shift
    for path in "$@"; do
        timeout $((SECONDS_OF_LOAD + 30)) wrk -t 2 -c 64 -d "${SECONDS_OF_LOAD}s" --timeout 10s \
            -H 'Accept-Encoding: gzip' "http://127.0.0.1:$PORT/$path" >"$TMP/wrk" 2>&1 ||
            fail "wrk failed on /$path" "$TMP/wrk" "$SERVER_LOG"
        if grep -E 'Non-2xx|Socket errors' "$TMP/wrk"; then
            fail "wrk saw errors on /$path" "$TMP/wrk" "$SERVER_LOG"
        fi
        say "$who /$path $(awk '/^Requests\/sec/ { printf "%.0f", $2 }' "$TMP/wrk") requests/s"
    done
}

workers() { cat "/proc/$SERVER/task/"*/children; }

has_two_new_workers() {
    local now
    now=$(workers)
    # shellcheck disable=SC2086 # a list of process ids
    [ "$(set -- $now && echo $#)" -eq 2 ] && [ "$now" != "$1" ]
}

# Without -e (nginx < 1.19.5) an ordinary user gets an alert about the log file nginx was built
# with.
early_log=()
if nginx -h 2>&1 | grep -q -- '-e filename'; then early_log=(-e stderr); fi

PORT=$(free_port)
for side in $SIDES; do
    write_site "$TMP/$side"
    start_server "$side" $((SECONDS_OF_LOAD * 8 + 120)) nginx -p "$TMP/$side" \
        "${early_log[@]}" -c "$TMP/$side/nginx.conf"
    wait_until 10 fetch small.txt
    check_server_mapped "$side"
    check_pages first "$side"
    load "$side" large.txt packed/large.txt proxied/large.txt page.html
    old=$(workers)
    if [ "$side" = lib ]; then
        for pid in $old; do
            has_library "$pid" || fail "worker $pid does not map $LIBRARY"
        done
    fi
    server_peak_kib >"$TMP/peak.$side"
    kill -HUP "$SERVER"
    wait_until 30 has_two_new_workers "$old"
    check_pages reloaded "$side"
    cmp -s "$TMP/pages.first.$side" "$TMP/pages.reloaded.$side" ||
        fail "pages changed on reload ($side)"
    load "$side, reloaded:" page.html
    if grep -v 'could not open error log file' "$SERVER_LOG" |
        grep -E 'signal [0-9]+|\[(alert|emerg|crit)\]'; then
        fail "nginx reports trouble" "$SERVER_LOG"
    fi
    stop_server QUIT 30
done

diff "$TMP/pages.first.ref" "$TMP/pages.first.lib" >"$TMP/pages.diff" ||
    fail "pages differ from the reference" "$TMP/pages.diff"
check_rss "server under load" "$(cat "$TMP/peak.ref")" "$(cat "$TMP/peak.lib")"
finish "$(wc -l <"$TMP/pages.first.lib") pages alike before and after reload"
