# `./justw RECIPE` and `just RECIPE` are the same: every recipe first makes sure that .venv is ready.

set positional-arguments

[private]
default:
    @{{just_executable()}} --list --unsorted

[private]
ready:
    @./justw --setup

# Grow a small network on real images, then say what happened and what to type next.
[group('run')]
demo *ARGS: ready
    @.venv/bin/esper demo "$@"

# Start the local stack in the background; returns when it is ready.
[group('run')]
up *ARGS: ready
    @.venv/bin/esper up "$@"

# Stop the local stack; its data stays.
[group('run')]
down *ARGS: ready
    @.venv/bin/esper down "$@"

# Run three servers on this machine as a cluster that keeps every stream three times, until Ctrl-C.
[group('run')]
cluster-up *ARGS: ready
    @.venv/bin/python -m ops.stack.cluster "$@"

# Who is alive, how far behind, and where to connect.
[group('run')]
status *ARGS: ready
    @.venv/bin/esper status "$@"

# One row per run.
[group('debug'), no-exit-message]
runs *ARGS: ready
    @.venv/bin/esper runs "$@"

# What happened in a run, one line per event.
[group('debug'), no-exit-message]
events RUN='latest' *ARGS: ready
    @.venv/bin/esper events "$@"

# Why the event at a position happened: its causes, back to the root.
[group('debug'), no-exit-message]
why RUN POSITION *ARGS: ready
    @.venv/bin/esper why "$@"

# The state of a run, folded from its events; --at POSITION for a moment of its past.
[group('debug'), no-exit-message]
replay RUN='latest' *ARGS: ready
    @.venv/bin/esper replay "$@"

# Check every hash, link, signature and gate verdict of a run.
[group('debug'), no-exit-message]
verify RUN='latest' *ARGS: ready
    @.venv/bin/esper replay --verify "$@"

# Ask the projections in SQL; --list names the views there are.
[group('debug'), no-exit-message]
query *ARGS: ready
    @.venv/bin/esper query "$@"

# Everything that has to pass: lint, types, boundaries, protos, then the tests.
[group('check')]
test *ARGS: lint types boundaries proto-check
    .venv/bin/pytest -n 3 "$@"

# The callbacks for other trainers; installs their libraries into .venv first, which the other tests do without.
[group('check')]
test-callbacks *ARGS: ready
    @.venv/bin/python -m pip install -qq --constraint constraints.txt --no-build-isolation --editable '.[hf,lightning]'
    .venv/bin/pytest tests/api/callbacks "$@"

# Style and formatting.
[group('check')]
lint: ready
    .venv/bin/ruff check . && .venv/bin/ruff format --check .

# Static types, strict.
[group('check')]
types: ready
    .venv/bin/pyright

# Who may import whom.
[group('check')]
boundaries: ready
    .venv/bin/lint-imports

# The language: its style, and that no recorded message becomes unreadable.
[group('check')]
proto-check: ready
    .ci/proto-check

# Exactly what runs before a change lands.
[group('check')]
ci:
    .ci/run

# Set up or repair .venv.
[group('build')]
install: ready

# Format the Python sources.
[group('build')]
fmt: ready
    .venv/bin/ruff check --fix . && .venv/bin/ruff format .

# Regenerate the message classes from proto/.
[group('build')]
proto: ready
    cd proto && find . -name '*.proto' | xargs ../.venv/bin/python -m grpc_tools.protoc -I . --python_out=.. --pyi_out=..

# Rewrite the golden bytes of every message: only for a deliberate change of the language.
[group('build')]
golden: ready
    .venv/bin/python -m tests.architecture.golden_bytes

# Remove caches and build products; runs and their log (.esper) stay.
[group('build')]
clean:
    rm -rf dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
