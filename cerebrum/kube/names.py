"""Names the Kubernetes formats share: resources, annotations and labels."""

from __future__ import annotations

GPU = "nvidia.com/gpu"
"""Whole GPUs, as a resource."""
GPU_MILLI = "alibabacloud.com/gpu-milli"
"""On a pod, an annotation: thousandths of each GPU. On a node, a resource: of all its GPUs."""
GPU_COUNT = "alibabacloud.com/gpu-count"
GPU_INDEX = "alibabacloud.com/gpu-index"
GPU_MODEL = "alibabacloud.com/gpu-card-model"
CREATED = "alibabacloud.com/creation-time"
DELETED = "alibabacloud.com/deletion-time"
MODEL_LABELS = (GPU_MODEL, "nvidia.com/gpu.product")
GROUP_LABELS = (
    "scheduling.x-k8s.io/pod-group",
    "pod-group.scheduling.sigs.k8s.io",
    "pod-group.scheduling.sigs.k8s.io/name",
    "scheduling.k8s.io/group-name",
    "scheduling.volcano.sh/group-name",
)
"""Labels or annotations that name the pod group (gang) a pod belongs to."""
CACHE_WAYS = "cerebrum.io/cache-ways"
NATIVE = ("cpu", "memory", "pods", GPU, GPU_MILLI, GPU_COUNT, CACHE_WAYS)
"""Resources that have a field of their own; all others are extended resources."""
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
"""The taint of a cordoned node."""
SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""On a claim, an annotation: the node its volume is to be made for."""
ATTACHABLE = "attachable-volumes-csi-"
"""Start of the extended resource that counts the volumes of a driver on a node."""
TOPOLOGY = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
"""Labels that say where a node or a volume is; the last two are the older names of the first."""
