#!/usr/bin/env bash
# Checks the tests' fake of Stripe, and the inbox for webhooks, with Stripe's own package for Node: what that package sends
# and expects is what Stripe speaks. Not part of .ci/run, as it needs Node and npm's registry; without them it says so.
#
#   scripts/stripe.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PACKAGE="stripe@23.1.0"
readonly FOLDER="$PWD/target/stripe-package"

skip() {
  printf '\nSKIPPED: %s. Nothing was checked with the package of Stripe.\n' "$1" >&2
  exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || skip "there is no Node with npm here"
mkdir -p "$FOLDER"
npm install --prefix "$FOLDER" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "$PACKAGE" ||
  skip "$PACKAGE could not be installed"

BURSAR_TEST_STRIPE_PACKAGE="$FOLDER" cargo test --locked -p bursar-billing --test billing -- --ignored stripe_package
echo "the fake and the inbox agree with $PACKAGE"
