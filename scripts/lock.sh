#!/bin/sh
# Write requirements/*.lock: exact versions with hashes, for every platform and Python from 3.11 up, naming no index.
set -eu
uv() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
        --no-emit-index-url --no-emit-find-links "$@"
}
uv --upgrade pyproject.toml --group build --output-file requirements/runtime.lock
# What the image has in it: the same, and the extras.
uv --upgrade pyproject.toml --group build --extra otlp --extra sentry --extra http3 --constraint requirements/runtime.lock --output-file requirements/image.lock
uv --upgrade pyproject.toml --group build --group compile --constraint requirements/runtime.lock --output-file requirements/compile.lock
uv --upgrade pyproject.toml --group build --group compile --group test --group lint --group lock --constraint requirements/runtime.lock --constraint requirements/image.lock --output-file requirements/test.lock
