"""Pod groups (gangs): which one a pod belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from cerebrum.kube import names


def group_name(
    namespace: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    own: str = "",
) -> str:
    """The pod group of a pod, as `namespace/name` (`default` is left out), or ''.

    `own` is the name in `spec.schedulingGroup` (Kubernetes 1.36), which goes first; then the labels
    and annotations of scheduler-plugins and of Volcano.
    """
    group = own or _first(labels) or (_first(annotations) if annotations else "")
    return group if not group or namespace == "default" else f"{namespace}/{group}"


def _first(mapping: Mapping[str, str]) -> str:
    for key in names.GROUP_LABELS:
        if group := mapping.get(key):
            return group
    return ""
