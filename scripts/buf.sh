#!/usr/bin/env bash
# Lints the .proto files and compares them with proto/baseline.binpb. buf comes from PyPI, into target/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/pip.sh

buf=$(pip_program buf-bin==1.75.0 buf)

"$buf" lint proto
echo "buf lint: passed."

# Names, numbers and JSON names that callers rely on may not change. The baseline is a picture of the .proto files as they
# were when that began to hold (buf build proto -o proto/baseline.binpb).
baseline=proto/baseline.binpb
if [[ -f $baseline ]]; then
  "$buf" breaking proto --against "$baseline"
  echo "buf breaking: passed, callers of $baseline are served as before."
else
  echo "buf breaking: skipped, there is no $baseline."
fi
