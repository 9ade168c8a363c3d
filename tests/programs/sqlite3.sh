#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# sqlite3 runs a script over a million rows (200,000 in quick mode): inserts, indices, joins, window
# functions, text and blob work, updates, deletes, VACUUM, an integrity check. Same answers as with
# glibc.

set -eu
. "$(dirname "$0")/lib.sh"
begin sqlite3 "$@"
need sqlite3 sqlite3

ROWS=$(pick 200000 1000000)

check_takeover sqlite3 -version

# No random(): a linear congruence gives both sides the same rows.
cat >"$TMP/script.sql" <<SQL
PRAGMA journal_mode = MEMORY;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32000;
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, town INTEGER, score REAL, note BLOB);
CREATE TABLE town (id INTEGER PRIMARY KEY, name TEXT);
BEGIN;
WITH RECURSIVE n(i, seed) AS (
    SELECT 1, 42
    UNION ALL SELECT i + 1, (seed * 1103515245 + 12345) % 2147483648 FROM n WHERE i < $ROWS)
INSERT INTO person SELECT i, printf('name %08x', seed), seed % 1009, (seed % 100000) / 7.0,
    CASE WHEN i % 50 = 0 THEN zeroblob(seed % 3000)
    ELSE substr('some text of a note', 1 + seed % 9) END FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1008)
INSERT INTO town SELECT i, 'town ' || i FROM n;
COMMIT;
CREATE INDEX person_name ON person (name, score);
CREATE INDEX person_town ON person (town);
SELECT count(*), count(DISTINCT name), total(length(note)) FROM person;
SELECT t.name, count(*), round(avg(p.score), 3), max(p.name)
    FROM person p JOIN town t ON t.id = p.town
    GROUP BY t.id ORDER BY count(*) DESC, t.id LIMIT 20;
SELECT id, name, rank FROM
    (SELECT id, name, rank() OVER (PARTITION BY town ORDER BY score DESC, id) AS rank FROM person)
    WHERE rank <= 2 ORDER BY id LIMIT 50;
SELECT length(group_concat(upper(name), '; ')) FROM person;
SELECT substr(name, 6, 2) AS head, count(*) FROM person WHERE name LIKE '%a%' GROUP BY head;
SELECT count(*) FROM (SELECT a.id FROM person a JOIN person b ON a.name = b.name AND a.id < b.id);
UPDATE person SET note = name || ' ' || replace(name, '0', 'zero') || ' ' || town WHERE id % 3 = 0;
DELETE FROM person WHERE town % 7 = 3;
SELECT count(*), total(length(note)), total(score) FROM person;
VACUUM;
PRAGMA integrity_check;
SELECT name, count(*) FROM (SELECT name FROM person ORDER BY score, name) GROUP BY 1
    HAVING count(*) > 1 ORDER BY 1 LIMIT 20;
SQL

run_both script 900 sqlite3 -bail -init /dev/null data.db ".read $TMP/script.sql"
same_output script
grep -qx ok "$TMP/script.lib.out" || fail "the integrity check did not pass" "$TMP/script.lib.out"
cmp "$TMP/ref/data.db" "$TMP/lib/data.db" || fail "the database files differ"
finish "$ROWS rows, $(wc -l <"$TMP/script.lib.out") lines of answers and the file alike"
