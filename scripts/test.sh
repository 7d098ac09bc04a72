#!/usr/bin/env bash
# Runs every test of the workspace on both engines and ends with the sum of their counts, and what was left out. Arguments go to
# `cargo test`: `scripts/test.sh -p bursar-billing`. Where PostgreSQL can neither be found nor installed, its tests are left out loudly.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

# What does not run here, in a few words each.
left_out=()
if scripts/postgres.sh; then
  export BURSAR_REQUIRE_POSTGRES=1
else
  left_out+=("everything on PostgreSQL")
fi
# Without one of these its tests are left out, loudly.
if package=$(scripts/stripe.sh); then
  export BURSAR_TEST_STRIPE_PACKAGE=$package
else
  left_out+=("Stripe's own package")
fi
if azurite=$(scripts/azurite.sh); then
  export BURSAR_TEST_AZURITE=$azurite
else
  left_out+=("content in containers of Azure")
fi
if fonts=$(scripts/fonts.sh); then
  export BURSAR_TEST_FONTS=$fonts
else
  left_out+=("pages in other scripts")
fi
arguments=("$@")
if [[ ${#arguments[@]} -eq 0 ]]; then
  arguments=(--workspace)
fi

# Most tests wait for a store or a clock most of their time: one more at once than there are cores keeps these busy.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) + 1))}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# --no-fail-fast: one failing program must not hide what the others would have said.
cargo test --no-fail-fast "${arguments[@]}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}

# Billing once more as if its tables were distributed by owner, which only PostgreSQL's can be. Without what is the same wherever
# rows lie and takes minutes: what a provider says, catalogs, and reports.
same=(--skip stripe --skip inbox:: --skip reloading:: --skip reporting::)
if [[ " ${arguments[*]} " == *" --workspace "* && -n "${BURSAR_REQUIRE_POSTGRES:-}" ]]; then
  locked=()
  [[ " ${arguments[*]} " == *" --locked "* ]] && locked=(--locked)
  # The whole workspace is named so that nothing is built again.
  BURSAR_TEST_DISTRIBUTED=1 cargo test --workspace --no-fail-fast "${locked[@]}" --test billing -- postgres:: "${same[@]}" 2>&1 | tee -a "$log"
  again=${PIPESTATUS[0]}
  BURSAR_TEST_DISTRIBUTED=1 cargo test --workspace --no-fail-fast "${locked[@]}" --lib -- lane::tests::postgres:: 2>&1 | tee -a "$log"
  again=$((again + PIPESTATUS[0]))
  [[ $status -ne 0 ]] || status=$again
fi

grep -q 'NOT TESTED: ' "$log" && left_out+=("disks that are full (only root may mount small ones)")
# What ran before the tests may have had to leave something out, too (.ci/run).
[[ -z ${BURSAR_TEST_LEFT_OUT:-} ]] || mapfile -t -O "${#left_out[@]}" left_out <"$BURSAR_TEST_LEFT_OUT"
missing="nothing was left out"
[[ ${#left_out[@]} -eq 0 ]] || missing="LEFT OUT: $(printf '%s; ' "${left_out[@]}")"

# libtest ends each program with `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
awk -v left_out="${missing%; }" '/^test result: / {
  for (i = 1; i < NF; i++) {
    if ($(i + 1) == "passed;") passed += $i
    if ($(i + 1) == "failed;") failed += $i
    if ($(i + 1) == "ignored;") ignored += $i
  }
} END { printf "%d passed, %d failed, %d skipped; %s\n", passed, failed, ignored, left_out }' "$log"
exit "$status"
