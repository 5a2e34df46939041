#!/bin/sh
# The SDKs' source distributions, which hold their own tests, and an environment to run them in: below .suites.
# Usage: scripts/setup-suites.sh PYTHON
set -eu
cd "$(dirname "$0")/.."
python=$1
openai=$(sed -n 's/^openai==\([0-9.]*\).*/\1/p' requirements/test.lock)
anthropic=2.14.0
mkdir -p .suites
if [ ! -x .suites/venv/bin/pytest ]; then
  "$python" -m venv .suites/venv
fi
for each in "openai==$openai" "anthropic==$anthropic"; do
  folder=.suites/$(echo "$each" | sed 's/==/-/')
  if [ ! -d "$folder/tests/api_resources" ]; then
    .suites/venv/bin/pip download --quiet --no-deps --no-binary openai,anthropic --dest .suites "$each"
    tar -xzf "$folder.tar.gz" -C .suites
  fi
done
.suites/venv/bin/pip install --quiet "openai==$openai" "anthropic==$anthropic" \
  pytest pytest-asyncio pytest-timeout rich respx inline-snapshot standardwebhooks aiohttp
