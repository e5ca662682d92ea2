# Sourced by ./demo and ./check: makes .venv with sightwave in it, once, and says how when it cannot.
#
#   SIGHTWAVE_PYTHON=python3.12   the Python to build .venv with (otherwise the first one found that is 3.11 or newer)
#   SIGHTWAVE_TORCH=any           do not hold torch to constraints.txt (a GPU, or a torch of your own); .venv remembers
#
# A second start compares one checksum and goes on. Works with the bash 3.2 of macOS, hence no arrays that may be empty.

say() { printf 'sightwave: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local python
    for python in ${SIGHTWAVE_PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        if is_new_enough "$python"; then
            command -v "$python"
            return
        fi
    done
    if [ -n "${SIGHTWAVE_PYTHON:-}" ]; then
        die "SIGHTWAVE_PYTHON=$SIGHTWAVE_PYTHON is not a Python 3.11 or newer."
    fi
    die "Python 3.11 or newer is needed; python3 here is: $(python3 --version 2>&1 | head -n 1).
  Debian, Ubuntu:  sudo apt install python3.11 python3.11-venv
  macOS:           brew install python@3.12
  or name one:     SIGHTWAVE_PYTHON=/path/to/python3.12 $0"
}

# What .venv was made from. It holds absolute paths, so a moved or copied folder makes another.
fingerprint() {
    { cat pyproject.toml constraints.txt tools/setup.sh; pwd; "$venv/bin/python" -VV; } 2>&1 | cksum
}

is_ready() { [ ! -e "$venv/.unfinished" ] && [ "$(cat "$venv/.made-$1" 2>/dev/null)" = "$(fingerprint)" ]; }

make_venv() {
    local python version
    python=$(find_python) || exit 1
    version=$("$python" -c 'import platform; print(platform.python_version())')
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        die "Python $version ($python) cannot make virtual environments.
  Debian, Ubuntu:  sudo apt install python3-venv   (or python${version%.*}-venv)"
    fi
    say "making .venv with Python $version"
    rm -rf "$venv"
    mkdir "$venv" && touch "$venv/.unfinished" || die "cannot write to $root."
    "$python" -m venv "$venv" || die "making .venv failed; the reason is above. Delete .venv and try again."
}

# pip in the background, one line of progress in front; its whole account is in .venv/install.log.
pip_install() {
    local log="$venv/install.log" start=$SECONDS warned="" last pid
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off "$@" \
        >"$log" 2>&1 </dev/null &
    pid=$!
    # shellcheck disable=SC2064  # pid as it is now
    trap "kill $pid 2>/dev/null; exit 130" INT TERM HUP
    while kill -0 "$pid" 2>/dev/null; do
        if [ -z "$warned" ] && grep -q '^Collecting nvidia-' "$log" && [ ! -e "$venv/.any-torch" ]; then
            warned=yes
            say "pip is about to download CUDA, some gigabytes. To avoid it, stop here (Ctrl-C) and read" \
                "'PyTorch without CUDA' in CONTRIBUTING.md."
        fi
        if [ -t 2 ]; then
            last=$(grep -E '^(Collecting|Downloading|Installing|Building)' "$log" 2>/dev/null | tail -n 1 | cut -c 1-60)
            printf '\rsightwave: %4d s  %-60s' $((SECONDS - start)) "$last" >&2
        fi
        sleep 1
    done
    if [ -t 2 ]; then printf '\r%-80s\r' '' >&2; fi
    trap - INT TERM HUP
    if ! wait "$pid"; then
        grep -v '^WARNING' "$log" | tail -n 12 | cut -c 1-300 >&2
        die "the installation failed; the last lines are above, all of it is in .venv/install.log.
  No network?       Try again when there is one; what was downloaded is kept.
  No space left?    About 2 GB are needed here, and 1 GB in the temporary folder.
  No matching distribution of torch?  Try another Python: rm -rf .venv; SIGHTWAVE_PYTHON=python3.12 $0"
    fi
    say "installed in $((SECONDS - start)) s"
}

# prepare core | prepare dev: afterwards "$venv/bin" holds sightwave, and for dev the tools that check it.
prepare() {
    local want=$1 what="." made
    venv="$root/.venv"
    cd "$root" || exit 1
    if is_ready "$want"; then return; fi

    # One at a time where flock exists; the lock goes with the process, so none is ever left behind.
    exec 9<"$root/tools/setup.sh"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "waiting for another start that is installing"
        flock 9
    fi
    if ! is_ready "$want"; then
        # Kept: a finished .venv of ours, or one that you made. Made anew: a half-made, moved or too old one.
        if [ -e "$venv/.unfinished" ] || ! is_new_enough "$venv/bin/python" ||
            ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
            [ "$(cat "$venv/.made-in" 2>/dev/null || pwd)" != "$(pwd)" ]; then
            make_venv
        fi
        touch "$venv/.unfinished"
        pwd >"$venv/.made-in"
        if [ "${SIGHTWAVE_TORCH:-}" = any ]; then touch "$venv/.any-torch"; fi
        if [ "$want" = dev ]; then what=".[dev]"; fi
        say "installing sightwave into .venv: about 1.8 GB, a minute or two, only this once"
        if [ -e "$venv/.any-torch" ]; then
            pip_install --editable "$what"
        else
            pip_install --editable "$what" --constraint constraints.txt
        fi
        for made in core "$want"; do fingerprint >"$venv/.made-$made"; done
        rm "$venv/.unfinished"
    fi
    exec 9<&-
}
