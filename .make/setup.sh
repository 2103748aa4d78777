#!/bin/sh
# Makes .venv ready, or sees in a moment that it is. Started by the Makefile, from the project's folder.
#
# Order: what costs nothing and fails most often comes first, so that nobody waits for gigabytes
# only to learn that a system library is missing.
#
# Reads    PYTHON         the interpreter to use            (default: the first suitable one found)
#          TORCH_BACKEND  cpu, cu130, auto, ...             (default: what PyPI offers for this machine)
# Writes   .venv, .venv/.ready, and .make/uv where no uv is installed.
set -eu

MIN_UV_MINOR=8 # 0.8: the first with `venv --clear`, `--group` and `--torch-backend`
READY=.venv/.ready

say() { printf 'setup: %s\n' "$*"; }
stop() {
    printf 'setup: error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

fingerprint=$(cat pyproject.toml constraints.txt .make/setup.sh | cksum)
installed=
backend=
if [ -f "$READY" ]; then
    {
        read -r installed || :
        read -r backend || :
    } <"$READY"
fi
# Once chosen, a backend stays: `make test` must not undo `TORCH_BACKEND=cpu make compare`.
wanted=${TORCH_BACKEND:-$backend}
if [ "$installed" = "$fingerprint" ] && [ "$wanted" = "$backend" ] && [ -x .venv/bin/python ]; then
    exit 0
fi

# --- 1. a Python ---------------------------------------------------------------------------------
suits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; }
python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if suits "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || stop "no Python from 3.11 to 3.14 found (looked for: ${PYTHON:-python3, python3.11 ... python3.14})." \
    "Install one, or name it:  make compare PYTHON=/path/to/python3.12"
say "$("$python" -c 'import platform, sys; print("Python", platform.python_version(), "at", sys.executable)')"

# --- 2. system libraries, and a way to get uv ------------------------------------------------------
# The very names WeasyPrint opens. A missing one would otherwise show only when the report is written.
missing_libraries() {
    "$python" - <<'PROBE'
import ctypes, sys
if sys.platform == "darwin":
    folders = ("", "/opt/homebrew/lib/", "/usr/local/lib/", "/opt/local/lib/")
    names = ("libpango-1.0.dylib", "libpangoft2-1.0.dylib", "libharfbuzz.0.dylib", "libfontconfig.1.dylib")
else:
    folders = ("",)
    names = ("libpango-1.0.so.0", "libpangoft2-1.0.so.0", "libharfbuzz.so.0", "libharfbuzz-subset.so.0",
             "libfontconfig.so.1", "libgobject-2.0.so.0")

def found(name):
    for folder in folders:
        try:
            ctypes.CDLL(folder + name)
        except OSError:
            continue
        return True
    return False

print(" ".join(name for name in names if not found(name)))
PROBE
}

find_uv() {
    uv=
    for candidate in uv "${HOME:-/nonexistent}/.local/bin/uv" "$PWD/.make/uv/bin/uv"; do
        version=$("$candidate" --version 2>/dev/null | sed -n 's/^uv \([0-9]*\.[0-9]*\).*/\1/p') || continue
        [ -n "$version" ] || continue
        if [ "${version%%.*}" -gt 0 ] || [ "${version#*.}" -ge "$MIN_UV_MINOR" ]; then
            uv=$candidate
            return
        fi
    done
}

can_pip() { "$python" -m pip --version >/dev/null 2>&1; }
can_venv() { "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; }

missing=$(missing_libraries)
find_uv
apt_packages=
if [ -n "$missing" ]; then
    apt_packages="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b libharfbuzz-subset0 libfontconfig1"
fi
if [ -z "$uv" ] && ! can_pip && ! can_venv; then
    apt_packages="${apt_packages:+$apt_packages }python3-pip"
fi
if [ -n "$apt_packages" ]; then
    if command -v apt-get >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ]; then
            say "installing system packages: $apt_packages"
            # shellcheck disable=SC2086 # a list of words is meant
            { apt-get update -qq &&
                DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $apt_packages; } \
                </dev/null >.apt.log 2>&1 || { tail -n 5 .apt.log >&2; rm -f .apt.log; stop "apt-get failed (above)."; }
            rm -f .apt.log
        else
            stop "system packages are missing ${missing:+(not found: $missing)}. Type this once, then try again:" \
                "sudo apt-get update && sudo apt-get install -y --no-install-recommends $apt_packages"
        fi
    elif [ "$(uname -s)" = Darwin ] && [ -n "$missing" ]; then
        stop "the PDF libraries are missing (not found: $missing). Type this once, then try again:" "brew install pango"
    elif [ -n "$missing" ]; then
        stop "the PDF libraries are missing (not found: $missing)." \
            "Install Pango, HarfBuzz (with harfbuzz-subset) and Fontconfig with your package manager, then try again."
    else
        stop "neither uv nor pip is installed for $python." "Install either, then try again."
    fi
    missing=$(missing_libraries)
    [ -z "$missing" ] || stop "still not found after installation: $missing"
fi
say "libraries for the PDF found"

if [ -z "$uv" ]; then
    pinned=$(grep '^uv==' constraints.txt) || stop "constraints.txt does not name a version of uv."
    say "fetching $pinned into .make/uv"
    rm -rf .make/uv
    if can_pip; then
        # --target: nothing outside this folder changes, and externally managed Pythons (PEP 668) allow it.
        "$python" -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore --target .make/uv "$pinned"
    else
        "$python" -m venv .make/uv
        .make/uv/bin/python -m pip install --quiet --disable-pip-version-check --no-input "$pinned"
    fi
    find_uv
    [ -n "$uv" ] || stop "uv was installed into .make/uv but does not start."
fi

# --- 3. the environment ----------------------------------------------------------------------------
if ! suits .venv/bin/python; then
    say "creating .venv"
    "$uv" venv --quiet --clear --no-project --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
fi
quiet=--quiet
if [ -t 2 ]; then quiet=; fi # in a terminal uv shows how the download gets on
say "installing the exact versions of constraints.txt${wanted:+ (torch backend: $wanted)}; the first time this takes minutes"
# Compiled now: where Python may not write bytecode (PYTHONDONTWRITEBYTECODE, a read-only system), every start
# would compile the libraries again, which takes longer than a whole cached run.
# shellcheck disable=SC2086 # $quiet is empty or one word
env -u PYTHONDONTWRITEBYTECODE "$uv" pip install $quiet --compile-bytecode --python .venv/bin/python ${wanted:+--torch-backend "$wanted"} \
    --constraints constraints.txt --build-constraints constraints.txt --group dev --group docs --editable . ||
    stop "the installation failed (above)." \
        "${wanted:+TORCH_BACKEND=$wanted needs the package index of PyTorch. }Try again with:  make setup"
printf '%s\n%s\n' "$fingerprint" "$wanted" >"$READY"
say "ready"
