#!/usr/bin/env bash
# Sees to it that the fonts which the image has are under target/, and prints their folder: with them the tests write names in
# scripts that the program has no letters for itself (`in_noto`). They are this machine's, or come out of Debian's packages,
# which needs no root where the lists of packages are there. Where they cannot be had it says why and exits 1: those tests are
# then left out.
#
#   BURSAR_TEST_FONTS=$(scripts/fonts.sh) cargo test -p bursar-paper in_noto
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# As in deploy/Dockerfile: Arabic, Hebrew and most others; Chinese, Japanese and Korean.
readonly PACKAGES=(fonts-noto-core fonts-noto-cjk)
readonly FOLDER="$PWD/target/fonts-noto"
# Where these packages put them.
readonly PLACES=(truetype/noto opentype/noto)
# Bounds a network that swallows packets.
readonly PATIENCE=120

missing() {
  printf '\nWARNING: pages in other scripts were not looked at: %s.\n\n' "$1" >&2
  exit 1
}

# Whether there are letters for each of the scripts below this folder.
whole() {
  local script
  for script in Arabic Hebrew CJK; do
    compgen -G "$1/*/noto/Noto*$script*-Regular.*" >/dev/null || return 1
  done
}

# The folder has nothing else in it, wherever the fonts lie: others that this machine has may have some of the letters, too.
if [[ ! -e $FOLDER ]] && whole /usr/share/fonts; then
  for place in "${PLACES[@]}"; do
    mkdir -p "$FOLDER.part/$(dirname "$place")"
    ln -sfn "/usr/share/fonts/$place" "$FOLDER.part/$place"
  done
  mv "$FOLDER.part" "$FOLDER"
fi
# Kept between runs.
if whole "$FOLDER"; then
  echo "$FOLDER"
  exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  missing "the packages ${PACKAGES[*]} are not installed, and this is no Debian"
rm -rf "$FOLDER" "$FOLDER.part"
mkdir -p "$FOLDER.part/packages" "$FOLDER.part/unpacked"
fetch() (
  cd "$FOLDER.part/packages"
  timeout "$PATIENCE" apt-get download "${PACKAGES[@]}" >&2
)
# The lists of packages may be missing or old on a fresh machine.
fetch 2>/dev/null || { [[ $(id -u) -eq 0 ]] && timeout "$PATIENCE" apt-get update >&2 && fetch; } ||
  missing "${PACKAGES[*]} could not be fetched: install them with your system's packages and run this again"
for package in "$FOLDER.part/packages"/*.deb; do
  dpkg-deb -x "$package" "$FOLDER.part/unpacked" >&2 || missing "$package could not be unpacked"
done
mv "$FOLDER.part/unpacked/usr/share/fonts" "$FOLDER"
rm -rf "$FOLDER.part"
whole "$FOLDER" || missing "${PACKAGES[*]} have not the fonts that they had"
echo "$FOLDER"
