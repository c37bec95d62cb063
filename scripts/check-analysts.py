"""Runs the SQL of a document; scripts/check-analysts says how."""

import json
import os
import re
import sys

import duckdb

document, folder, expected = sys.argv[1:]
with open(document, encoding="utf-8") as file:
    text = file.read()
with open(expected, encoding="utf-8") as file:
    expected = json.load(file)
os.chdir(folder)

connection = duckdb.connect()
# What a query needs must be in the program: an analyst may have no network, and neither has this.
connection.execute("set autoinstall_known_extensions = false")

heading, found, failures = "", {}, []
for match in re.finditer(r"^##+ (?P<heading>[^\n]+)$|^```sql\n(?P<sql>.*?)^```$", text, re.MULTILINE | re.DOTALL):
    if match["heading"]:
        heading = match["heading"]
        continue
    if not re.search(r"\bselect\b", match["sql"]):
        connection.execute(match["sql"])
        continue
    # As text, which is what a terminal shows.
    connection.execute(f"create or replace temp table answer as {match['sql']}")
    result = connection.execute("select columns(*)::varchar from answer")
    found[heading] = [[column[0] for column in result.description], *map(list, result.fetchall())]

expected = {heading: [list(map(str, row)) for row in rows] for heading, rows in expected.items()}
for heading in sorted(found.keys() | expected.keys()):
    if found.get(heading) != expected.get(heading):
        failures.append(heading)
        print(f"{heading}\n  expected: {json.dumps(expected.get(heading))}\n  found:    {json.dumps(found.get(heading))}")
if failures:
    sys.exit(f"{len(failures)} of {len(found)} queries of {document} do not answer as expected")
print(f"{len(found)} queries answer as expected")
