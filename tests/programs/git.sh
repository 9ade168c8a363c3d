#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# git imports, clones over its wire protocol, repacks with two threads, collects garbage and reads
# back a repository: same objects, same history and a clean fsck as with glibc's malloc. The
# repository is made here, so that it is the same everywhere; where this project itself is a clone,
# that is cloned as well.

set -eu
. "$(dirname "$0")/lib.sh"
begin git "$@"
need git git

COMMITS=$(pick 200 2000)

check_takeover git version
# No settings of the user or of the system, and no question to a terminal.
export HOME=$TMP GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0

# A stream for git fast-import: files that grow, change, move between directories and go away.
make_history() {
    awk -v commits="$COMMITS" '
        function blob(n, lines,    text, i) {
            text = ""
            for (i = 0; i < lines; i++) {
                seed = (seed * 1103515245 + 12345) % 2147483648
                text = text "line " i " of " n ": " (seed % 100 < 97 ? i * 7919 : seed) "\n"
            }
            return "data " length(text) "\n" text "\n"
        }
        BEGIN {
            for (c = 1; c <= commits; c++) {
                print "commit refs/heads/main"
                print "committer Larder <larder@example.org> " 1600000000 + c * 60 " +0000"
                message = "Change " c
                print "data " length(message) "\n" message
                for (f = 0; f < 6; f++) {
                    path = "dir" (c * f) % 17 "/sub" f "/file" (c * 31 + f * 7) % 211 ".txt"
                    print "M 100644 inline " path
                    printf "%s", blob(c, 20 + (c * f) % 150)
                }
                if (c % 10 == 0) print "D dir" c % 17 "/sub1"
                if (c % 50 == 0) print "tag v" c "\nfrom refs/heads/main\ntagger Larder " \
                    "<larder@example.org> " 1600000000 + c * 60 " +0000\ndata 3\ntag"
            }
        }'
}

# use_repository URL: everything one side does, in its own directory; prints what must be the same.
use_repository='
    set -eu
    git clone --quiet --bare "$1" bare.git
    git -C bare.git repack -q -a -d -f --window=20 --depth=20 --threads=2
    git clone --quiet "file://$PWD/bare.git" tree
    cd tree
    git fsck --full --strict
    git rev-parse HEAD "HEAD^{tree}"
    git rev-list --all --objects | sort | git hash-object --stdin
    git log -p --stat -M --all | git hash-object --stdin
    git grep -c "line 1" HEAD | git hash-object --stdin
    git blame -s "$(git ls-files | head -n 1)" | git hash-object --stdin
    echo "a change" >>"$(git ls-files | head -n 1)"
    git -c user.name=L -c user.email=l@example.org stash --quiet
    git -c user.name=L -c user.email=l@example.org stash pop --quiet
    git diff --numstat
    git checkout --quiet -- .
    git -c gc.auto=0 -c pack.threads=2 gc --quiet --aggressive --prune=now
    git fsck --full --strict
    git count-objects -v | grep -E "^(count|in-pack|packs):"
    git archive HEAD | git hash-object --stdin'

make_history >"$TMP/history"
git init --quiet --bare "$TMP/origin.git"
git -C "$TMP/origin.git" symbolic-ref HEAD refs/heads/main
run_both import 300 bash -euc "git init --quiet --bare made.git
    git -C made.git fast-import --quiet <'$TMP/history'
    git -C made.git show-ref"
same_output import
git -C "$TMP/origin.git" fast-import --quiet <"$TMP/history"

run_both clone-gc 600 bash -c "$use_repository" bash "file://$TMP/origin.git"
same_output clone-gc

own="and this project's own"
project=$(git -C "$HERE" rev-parse --show-toplevel 2>/dev/null) || project=
if [ -n "$project" ] && git -C "$project" rev-parse --quiet --verify HEAD >/dev/null; then
    rm -rf "${TMP:?}"/ref/* "${TMP:?}"/lib/*
    # A copy of its own: somebody may commit while this runs.
    git clone --quiet --bare --no-local "$project" "$TMP/own.git"
    run_both own-clone 600 bash -c "$use_repository" bash "file://$TMP/own.git"
    same_output own-clone
else
    own="only, as this project is no clone here"
fi
finish "$COMMITS commits made here $own: objects, history and contents alike"
