#!/bin/sh
# Writes constraints.txt: names and exact versions for every supported Python and system, no addresses.
# Versions already there are kept unless --upgrade is given. Needs uv; started by `make lock`.
set -eu

uv=uv
command -v uv >/dev/null 2>&1 || uv=.make/uv/bin/uv
resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
grep -v '^#' constraints.txt >"$resolved"
"$uv" pip compile --quiet --universal --no-header --no-annotate --no-emit-index-url "$@" \
    --group dev --group docs --output-file "$resolved" pyproject.toml
{
    echo "# Exact versions, written by 'make lock': names and versions only."
    # Markers are dropped: a constraint on a package that a system does not need has no effect there.
    sed 's/ *;.*//; /^#/d; /^$/d' "$resolved" | sort
} >constraints.txt
if [ -n "$(cut -d= -f1 constraints.txt | sort | uniq -d)" ]; then
    echo "lock: error: a package has two versions: $(cut -d= -f1 constraints.txt | sort | uniq -d)" >&2
    exit 1
fi
grep -q '^torch==2\.13\.0' constraints.txt && { echo "lock: error: torch 2.13.0 is a broken release" >&2; exit 1; }
echo "lock: $(grep -c == constraints.txt) packages"
