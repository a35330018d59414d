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
)
"""Labels or annotations that name the pod group (gang) a pod belongs to."""
CACHE_WAYS = "cerebrum.io/cache-ways"
NATIVE = ("cpu", "memory", "pods", GPU, GPU_MILLI, GPU_COUNT, CACHE_WAYS)
"""Resources that have a field of their own; all others are extended resources."""
