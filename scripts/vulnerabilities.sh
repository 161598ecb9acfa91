#!/usr/bin/env bash
# Looks whether the code reaches known vulnerabilities of Go or of the modules
# (govulncheck). Fails if it does. Where the database of vulnerabilities cannot be
# reached it says that nothing was checked, and fails only with
# TFCONVRNN_REQUIRE_VULNERABILITIES=1.
#
# usage: scripts/vulnerabilities.sh
#
# GOVULNDB names another database, for instance file:///… for a copy of its files.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
database=()
if [ -n "${GOVULNDB:-}" ]; then
	database=(-db "$GOVULNDB")
fi
# One package is enough to find out whether there is a database.
timeout 120 go tool govulncheck "${database[@]}" ./internal/version >"$log" 2>&1
status=$?
if [ $status -eq 124 ] || { [ $status -ne 0 ] && grep -q 'fetching vulnerabilities' "$log"; }; then
	echo 'govulncheck: not checked: database unreachable' >&2
	sed -n 's/^govulncheck: \(fetching.*\)/  \1/p' "$log" >&2
	[ "${TFCONVRNN_REQUIRE_VULNERABILITIES:-}" != 1 ]
	exit
fi
go tool govulncheck "${database[@]}" ./...
