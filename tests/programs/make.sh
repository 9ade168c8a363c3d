#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make starts thousands of shells, two at a time, and its recursive makes share one job server; it
# prints and builds the same as with glibc's malloc.

set -eu
. "$(dirname "$0")/lib.sh"
begin make "$@"
need make make

TARGETS=$(pick 1000 10000)

check_takeover make --version

# Each target's command goes through a shell (";" forces one) and needs variables worked out by
# make.
cat >"$TMP/Makefile" <<'MAKE'
.RECIPEPREFIX = >
NUMBERS := $(shell seq 1 $(TARGETS))
FILES := $(addprefix part-,$(NUMBERS))
all: sum nested
part-%:
> @x='$(words $(wordlist 1,$*,$(NUMBERS))) $(subst 1,one,$*)'; echo "$$x" >$@
sum: $(FILES)
> @cat $(sort $(wildcard part-*)) | cksum
nested:
> @for n in 1 2 3 4 5; do $(MAKE) -s -f $(MAKEFILE) TARGETS=20 DEPTH=$$n child; done
child: $(addprefix child-$(DEPTH)-,$(shell seq 1 20))
> @echo child $(DEPTH) done
child-%:
> @: $(shell echo $@)
MAKE

run_both build 900 make -s -j2 -f "$TMP/Makefile" MAKEFILE="$TMP/Makefile" TARGETS="$TARGETS"
for side in $SIDES; do sort -o "$TMP/build.$side.out" "$TMP/build.$side.out"; done
same_output build
diff -r "$TMP/ref" "$TMP/lib" || fail "built files differ from the reference"
finish "$TARGETS targets and five makes below alike"
