#!/bin/sh
# Is what deploy/Dockerfile makes whole, and does it run as the chart runs it: as user 10001, without
# capabilities, on a root file system that cannot be written to?
#   sh deploy/check-image.sh [FOLDER]
# With a container engine ($ENGINE, else docker or podman that answers) the image is built and its
# container tried. Without one the same steps install into FOLDER (left there if it is given), and
# it runs confined by unshare and setpriv; where we are not root, as ourselves.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

engine() {
    for found in ${ENGINE:-docker podman}; do
        command -v "$found" >/dev/null && "$found" info >/dev/null 2>&1 && echo "$found" && return
    done
}

in_container() {
    "$1" build --quiet --file deploy/Dockerfile --tag cerebrum:check . >/dev/null
    echo "image content: $("$1" image inspect --format '{{.Size}}' cerebrum:check) bytes"
    "$1" run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --user 10001:10001 \
        --tmpfs /var/lib/cerebrum:mode=1777 --tmpfs /tmp:mode=1777 \
        --volume "$root/deploy/check_image.py:/check_image.py:ro" \
        --entrypoint python cerebrum:check /check_image.py /var/lib/cerebrum
}

confined() {
    # Of root's rights only that to read, since what is tried may lie in a folder of root's.
    unshare --mount sh -euc '
        mount --make-rprivate /
        mount -t tmpfs -o mode=1777 tmpfs "$2" && mount -o remount,ro,bind /
        for more in $(awk "\$2 ~ /^\/(tmp|var|home|root|opt|work)/ {print \$2}" /proc/mounts); do
            [ "$more" = "$2" ] || mount -o remount,ro,bind "$more" || true
        done
        cd /
        exec env -i PATH="$1/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 HOME="$2" TMPDIR="$2" \
            setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
            --bounding-set -all,+dac_read_search --inh-caps -all,+dac_read_search \
            --ambient-caps -all,+dac_read_search \
            "$1/bin/python" "$3" "$2"
    ' confined "$1" "$2" "$root/deploy/check_image.py"
}

without_engine() {
    work=$(mktemp -d)
    chmod 755 "$work" # access(2) asks with no more rights than the user has, whatever is lent to read
    trap 'rm -rf "$work"' EXIT
    target=${1:-$work/cerebrum}
    [ -x "$target/bin/cerebrum" ] || sh deploy/install.sh "$target"
    echo "image content: $(du -sm "$target" | cut -f1) MiB at $target"
    mkdir "$work/state"
    if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
        confined "$target" "$work/state"
    else
        echo "not root, or no namespaces here: it runs as $(id -un), and could write elsewhere"
        env -i PATH="$target/bin:/usr/bin:/bin" HOME="$work/state" TMPDIR="$work/state" \
            "$target/bin/python" deploy/check_image.py "$work/state"
    fi
}

found=$(engine || true)
if [ -n "$found" ]; then in_container "$found"; else without_engine "${1:-}"; fi
