#!/usr/bin/env bash
# Sees to it that Azurite, Microsoft's emulator of Azure Blob Storage, is under target/ (190 MB), and prints its folder: with it the
# tests have content lie in a container (`azure::`). Node is this machine's, or comes from PyPI. Where one of both cannot be had it
# says why and exits 1: those tests are then left out.
#
#   BURSAR_TEST_AZURITE=$(scripts/azurite.sh) cargo test -p bursar-organization --test organization azure::
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/npm.sh

readonly PACKAGE="azurite@3.35.0"

said=$(npm_package "$PACKAGE") || {
  printf '\nWARNING: containers of Azure are not tested: %s: %s.\n\n' "$PACKAGE" "$said" >&2
  exit 1
}
echo "$said"
