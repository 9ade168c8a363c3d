#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What the built libraries offer and need:
#   liblarder.so  exports exactly the names of cmake/larder.map and the functions declared in
#                 include/larder; needs libc and liburcu only; is bound at load time, read-only
#                 after relocation, never unloaded, and reads its thread-local data without a call
#   liblarder.a   defines no global name outside larder_, lr_ and those of the map
source "$(dirname "$0")/lib.sh" "$@"

readonly SO=$build/liblarder.so ARCHIVE=$build/liblarder.a
[ -f "$SO" ] && [ -f "$ARCHIVE" ] || skip "no libraries in $build; build it first"

# Not needed, but used where a process has them: libstdc++ (std::bad_alloc, new_handler) and hooks
# of the compiler's start files.
readonly WEAK='^(_ZSt[0-9A-Za-z_]*|_ZNKSt[0-9A-Za-z_]*|_ZNSt[0-9A-Za-z_]*|_ZT[ISV]St[0-9A-Za-z_]*'\
'|_ZTVN10__cxxabiv1[0-9A-Za-z_]*|__cxa_[a-z_]*|_ITM_[A-Za-z]*|__gmon_start__)$'
readonly NEEDED='^(libc\.so\.6|ld-linux-[a-z0-9-]*\.so\.[0-9]|liburcu-(bp|common)\.so\.[0-9]+)$'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# report TEXT FILE: each line of FILE is a violation.
report() {
    local name
    while IFS= read -r name; do
        violation "$1: $name"
    done <"$2"
}

sed -E 's,/\*.*\*/,,' cmake/larder.map | grep -oE '^ *[A-Za-z_][A-Za-z0-9_]*;' | tr -d ' ;' |
    sort -u >"$dir/map"
cat include/larder/*.h | sed -E 's,//.*,,; s,/\*.*,,' | grep -v '^ *[#*]' |
    grep -oE '\blarder_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u >"$dir/declared"
sort -u "$dir/map" "$dir/declared" >"$dir/expected"

nm -D --defined-only "$SO" | awk '{ print $3 }' | sort -u >"$dir/exported"
comm -13 "$dir/expected" "$dir/exported" >"$dir/extra"
comm -23 "$dir/expected" "$dir/exported" >"$dir/missing"
report "exported, but neither in cmake/larder.map nor declared in include/larder" "$dir/extra"
report "in cmake/larder.map or include/larder, but not exported" "$dir/missing"

# A row of the override tables that the map does not name would make a symbol that stays hidden.
sed -nE 's/^ *X\(([A-Za-z_][A-Za-z0-9_]*), [a-z_]+\).*/\1/p' src/api/override.h | sort -u |
    comm -23 - "$dir/map" >"$dir/hidden"
report "in a table of src/api/override.h, but not in cmake/larder.map" "$dir/hidden"

# A version on malloc would stop the loader from letting it stand in for malloc@GLIBC_2.2.5.
nm -D --defined-only "$SO" | awk '$3 ~ /@/ { print $3 }' >"$dir/versioned"
report "exported with a version" "$dir/versioned"

readelf -dW "$SO" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' >"$dir/libraries"
grep -vE "$NEEDED" "$dir/libraries" >"$dir/foreign" || true
report "needs a library besides libc and liburcu" "$dir/foreign"

# Strong references are glibc's versioned symbols or liburcu's.
nm -D --undefined-only "$SO" | awk '$1 == "U" { print $2 }' |
    grep -vE '@GLIBC_[0-9.]+$|^(urcu|rcu|cds)_' >"$dir/unknown" || true
report "needs a symbol that is neither glibc's nor liburcu's" "$dir/unknown"
nm -D --undefined-only "$SO" | awk '$1 != "U" { print $2 }' |
    grep -vE "@GLIBC_[0-9.]+\$|$WEAK" >"$dir/weak" || true
report "has a weak reference that is not expected" "$dir/weak"

readelf -dW "$SO" >"$dir/dynamic"
readelf -lW "$SO" >"$dir/segments"
for flag in NOW NODELETE STATIC_TLS; do
    grep -qE "FLAGS.*\b$flag\b" "$dir/dynamic" || violation "$SO lacks the flag $flag"
done
grep -q 'Library soname: \[liblarder\.so\.0\]' "$dir/dynamic" || violation "$SO: wrong soname"
grep -q GNU_RELRO "$dir/segments" || violation "$SO: relocated data stays writable (no RELRO)"
grep -q TEXTREL "$dir/dynamic" && violation "$SO: code is relocated (TEXTREL)"
grep -E 'GNU_STACK' "$dir/segments" | grep -q RWE && violation "$SO: wants an executable stack"
if nm -D --undefined-only "$SO" | grep -q __tls_get_addr; then
    violation "$SO: calls __tls_get_addr, which may allocate"
fi

# _.stapsdt.base is SystemTap's name for the mark that all probes of a program share: weak, hidden.
nm -g --defined-only "$ARCHIVE" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u |
    grep -vE '^((lr|larder)_|_\.stapsdt\.base$)' | comm -23 - "$dir/map" >"$dir/leaked" || true
report "defined in liblarder.a outside larder_ and lr_" "$dir/leaked"

finish "$(wc -l <"$dir/exported")"
