#!/usr/bin/env bash
# Starts a tool of this folder on several processes: launch.sh PROCESSES TOOL ARGUMENTS; dist_train.sh and dist_test.sh
# call it. It takes PYTHON, or the active environment's Python, or the one of the project's .venv.
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "$PYTHON" ]; then
    PYTHON=python
    [ -z "$VIRTUAL_ENV$CONDA_PREFIX" ] && [ -x "$TOOLS/../.venv/bin/python" ] && PYTHON=$TOOLS/../.venv/bin/python
fi
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" "$TOOLS/launch.py" "$1" "$TOOLS/$2" "${@:3}" --launcher pytorch
