#!/bin/sh
# Chromium and its driver, for the tests of the page. Where they cannot be installed, those tests
# say so and are skipped.
set -u
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the tests of the page."
    if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends chromium chromium-driver >/dev/null 2>&1; then exit 0; fi
fi
echo "No Chromium, and none could be installed: the tests of the page will be skipped." \
    "As root: apt-get install chromium chromium-driver"
