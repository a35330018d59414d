"""The fence that needs no agent: a small container in the pod that ends the run at its deadline.

`activeDeadlineSeconds` of a pod can be lowered but never raised, so it cannot carry a deadline that
moves on while the controller answers. An annotation can: the kubelet shows it to this container as
a file and renews it. Cut off from the API server, a node shows the last value it knew, and the
run ends at that. The container shares the pod's process namespace, so it needs to be the same user
as the run, or root, to end it.
"""

from __future__ import annotations

from typing import Any

from cerebrum.executors.kubernetes._runs_objects import FENCE, WATCHDOG

VOLUME = "cerebrum-fence"
_FOLDER = "/etc/cerebrum"
_FILE = "deadline"
SCRIPT = """\
while :; do
  read -r deadline < "$0" || :
  case "$deadline" in
    "" | *[!0-9]*) ;;
    *)
      if [ "$(date +%s)" -ge "$deadline" ]; then
        printf fenced > "$1"
        kill -9 -1
      fi ;;
  esac
  sleep 1
done
"""
"""$0 the file with the deadline, $1 where to say so. `kill -9 -1` spares the script itself and
process 1, which in a shared process namespace is the pod's own. A file without a newline makes
`read` fail and still gives the text."""


def container(image: str) -> dict[str, Any]:
    """A sidecar (Kubernetes 1.29): it starts first, and does not keep the pod alive."""
    return {
        "name": WATCHDOG,
        "image": image,
        "restartPolicy": "Always",
        "command": ["sh", "-c", SCRIPT.replace("$", "$$")],
        "args": [f"{_FOLDER}/{_FILE}", "/dev/termination-log"],
        "volumeMounts": [{"name": VOLUME, "mountPath": _FOLDER, "readOnly": True}],
    }


def volume() -> dict[str, Any]:
    """The annotation as a file."""
    source = {"fieldPath": f"metadata.annotations['{FENCE}']"}
    return {
        "name": VOLUME,
        "downwardAPI": {"items": [{"path": _FILE, "fieldRef": source}]},
    }
