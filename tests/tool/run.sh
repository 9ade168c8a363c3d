#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# larder run finds the library beside itself, sets what it was told and refuses what the library
# would refuse; an installed command finds the installed library.
. "$(dirname "$0")/lib.sh"

expect 0 "$LARDER" run -- sh -c 'grep -c liblarder /proc/self/maps; echo "$LD_PRELOAD"'
has '^[1-9]'
has "^$(readlink -f "$LARDER_BUILD_DIR")/liblarder\.so[0-9.]*\$"

# The program's own status, arguments and preloads.
expect 7 "$LARDER" run sh -c 'exit 7' --preset nothing
LD_PRELOAD=libother.so expect 0 "$LARDER" run -- sh -c 'echo "$LD_PRELOAD"'
has '/liblarder\.so[0-9.]*:libother\.so$'

# Options: --opt wins over the preset wherever it stands, both over the environment.
LARDER_SCAVENGE_DELAY_MS=77 expect 0 "$LARDER" run --opt thread_cache_total=9M --opt verbose=1 \
    --preset memory -- true
has 'LARDER_THREAD_CACHE_TOTAL  *9 MiB  *environment' err
has 'LARDER_THREAD_CACHE_MAX  *512 KiB  *environment' err
has 'LARDER_SCAVENGE_DELAY_MS  *10 ms  *default' err

# Every preset is accepted by the library without a word; balanced is the defaults.
for preset in latency balanced memory; do
    expect 0 "$LARDER" run --preset $preset -- true
    [ ! -s "$TMP/err" ] || fail "preset $preset"
done
LARDER_TRANSFER_CACHE_MAX=5M expect 0 "$LARDER" run --preset balanced --opt verbose=1 true
has 'LARDER_TRANSFER_CACHE_MAX  .* default  ' err
[ "$(grep -c ' environment ' "$TMP/err")" -eq 1 ] || fail "preset balanced is not the defaults"

# What is wrong is said before anything runs.
expect 2 "$LARDER" run
has 'usage: larder run' err
expect 2 "$LARDER" run --opt thp=sometimes echo ran
has "option thp cannot be 'sometimes'; accepted: .*always or never" err
has_not ran
expect 2 "$LARDER" run --opt heap_limt=1G echo ran
has "no option 'heap_limt', the nearest is 'heap_limit'; " err
expect 2 "$LARDER" run --opt favourite_colour=blue echo ran
has "no option 'favourite_colour'; \`larder help options\`" err
# Names as in the environment are taken too, in either case.
for name in LARDER_STATS stats Larder_Stats; do
    expect 0 "$LARDER" run --opt $name=1 -- true
    has '^larder [0-9.]+: statistics of process [0-9]+ \(true\), thread ' err
done
expect 2 "$LARDER" run --opt LARDER_=1 echo ran
expect 2 "$LARDER" run --opt thp echo ran
expect 2 "$LARDER" run --preset memroy true
has "no preset 'memroy', the nearest is 'memory'" err
expect 2 "$LARDER" run --preset fast echo ran
has "no preset 'fast'; there are:" err
has 'latency' err
expect 2 "$LARDER" run --nonsense true
# No library that gives the program its malloc.
echo text >"$TMP/text.so"
printf '\177ELF\001\001\001%0100d' 0 >"$TMP/short.so"
libc=$(ldd "$LARDER" | awk '/libm\.so|libz\.so/ { print $3; exit }')
for library in "$TMP/none.so:No such file" "$TMP:it is no file" "$TMP/text.so:it is no library" \
    "$TMP/short.so:it has 32 bits" ${libc:+"$libc:it defines no malloc"}; do
    expect 126 "$LARDER" run --library "${library%:*}" echo ran
    has_not ran
    has "^larder: cannot use the library '${library%:*}': ${library##*:}" err
    [ "$(wc -l <"$TMP/err")" -eq 1 ] || fail "not one line"
done
expect 0 "$LARDER" run --library "$LARDER_BUILD_DIR/liblarder.so" echo ran
has '^ran'
echo 'int main(void) { return 3; }' >"$TMP/static.c"
if ${CC:-cc} -static -o "$TMP/static" "$TMP/static.c" 2>/dev/null; then
    expect 3 "$LARDER" run "$TMP/static"
    has "static' is a static program: it keeps its own malloc\$" err
fi
expect 127 "$LARDER" run "$TMP/none"
expect 126 "$LARDER" run "$TMP"

cmake --install "$LARDER_BUILD_DIR" --prefix "$TMP/prefix" >"$TMP/out" || fail "installation"
mv "$TMP/prefix" "$TMP/moved"
expect 0 "$TMP/moved/bin/larder" run sh -c 'echo "$LD_PRELOAD"'
has "^$(readlink -f "$TMP")/moved/lib.*/liblarder\.so"
echo ok
