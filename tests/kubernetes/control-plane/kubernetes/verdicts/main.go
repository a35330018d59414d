// Command verdicts runs kube-scheduler's own default filters and says which nodes they refuse.
//
// Standard input holds one JSON object a line: a cluster and the pods to judge, each on the cluster
// as it stands. Standard output gets one line for each: for every pod the nodes that were refused,
// by which plug-in and why. Tests hold our filters against it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	configv1 "k8s.io/kube-scheduler/config/v1"
	fwk "k8s.io/kube-scheduler/framework"
	defaults "k8s.io/kubernetes/pkg/apis/core/v1"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodevolumelimits"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
)

const longestLine = 256 << 20

type cluster struct {
	Nodes          []*corev1.Node                  `json:"nodes"`
	Pods           []*corev1.Pod                   `json:"pods"`
	Namespaces     []*corev1.Namespace             `json:"namespaces"`
	Claims         []*corev1.PersistentVolumeClaim `json:"claims"`
	Volumes        []*corev1.PersistentVolume      `json:"volumes"`
	StorageClasses []*storagev1.StorageClass       `json:"storageClasses"`
	CSINodes       []*storagev1.CSINode            `json:"csiNodes"`
	Judge          []*corev1.Pod                   `json:"judge"`
}

// A refusal: the plug-in that spoke first on a node, and its reasons.
type refusal struct {
	Plugin  string   `json:"plugin"`
	Reasons []string `json:"reasons"`
}

// What became of one pod. Cluster is set when no node was even looked at.
type verdict struct {
	Pod     string             `json:"pod"`
	Cluster *refusal           `json:"cluster,omitempty"`
	Refused map[string]refusal `json:"refused"`
}

func main() {
	metrics.Register()
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(make([]byte, 1<<20), longestLine)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	for number := 1; scanner.Scan(); number++ {
		var input cluster
		if err := json.Unmarshal(scanner.Bytes(), &input); err != nil {
			fail(number, err)
		}
		verdicts, err := judge(&input)
		if err != nil {
			fail(number, err)
		}
		if err := encoder.Encode(verdicts); err != nil {
			fail(number, err)
		}
	}
	if err := scanner.Err(); err != nil {
		fail(0, err)
	}
}

func fail(line int, err error) {
	fmt.Fprintf(os.Stderr, "line %d: %v\n", line, err)
	os.Exit(1)
}

func judge(input *cluster) ([]verdict, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, pod := range append(append([]*corev1.Pod{}, input.Pods...), input.Judge...) {
		defaults.SetObjectDefaults_Pod(pod)
	}
	snapshot := cache.NewSnapshot(input.Pods, input.Nodes)
	scheduler, err := newFramework(ctx, input, snapshot)
	if err != nil {
		return nil, err
	}
	defer scheduler.Close()
	verdicts := make([]verdict, 0, len(input.Judge))
	for _, pod := range input.Judge {
		verdicts = append(verdicts, filter(ctx, scheduler, snapshot, pod))
	}
	return verdicts, nil
}

func newFramework(ctx context.Context, input *cluster, snapshot *cache.Snapshot) (framework.Framework, error) {
	client := fake.NewClientset(input.objects()...)
	factory := informers.NewSharedInformerFactory(client, 0)
	profile, err := defaultProfile()
	if err != nil {
		return nil, err
	}
	scheduler, err := frameworkruntime.NewFramework(ctx, plugins.NewInTreeRegistry(), profile,
		frameworkruntime.WithClientSet(client),
		frameworkruntime.WithInformerFactory(factory),
		frameworkruntime.WithSnapshotSharedLister(snapshot),
		frameworkruntime.WithSharedCSIManager(
			nodevolumelimits.NewCSIManager(factory.Storage().V1().CSINodes().Lister())),
	)
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return scheduler, nil
}

func (c *cluster) objects() []runtime.Object {
	var all []runtime.Object
	for _, item := range c.Nodes {
		all = append(all, item)
	}
	for _, item := range c.Pods {
		all = append(all, item)
	}
	for _, item := range c.Namespaces {
		all = append(all, item)
	}
	for _, item := range c.Claims {
		all = append(all, item)
	}
	for _, item := range c.Volumes {
		all = append(all, item)
	}
	for _, item := range c.StorageClasses {
		all = append(all, item)
	}
	for _, item := range c.CSINodes {
		all = append(all, item)
	}
	return all
}

// The default profile without what filters need a live cluster for: device claims are out of scope,
// and preemption comes after filters.
func defaultProfile() (*schedulerconfig.KubeSchedulerProfile, error) {
	var versioned configv1.KubeSchedulerConfiguration
	scheme.Scheme.Default(&versioned)
	var config schedulerconfig.KubeSchedulerConfiguration
	if err := scheme.Scheme.Convert(&versioned, &config, nil); err != nil {
		return nil, err
	}
	profile := &config.Profiles[0]
	var kept []schedulerconfig.Plugin
	for _, plugin := range profile.Plugins.MultiPoint.Enabled {
		if plugin.Name != names.DynamicResources && plugin.Name != names.DefaultPreemption {
			kept = append(kept, plugin)
		}
	}
	profile.Plugins.MultiPoint.Enabled = kept
	return profile, nil
}

func filter(ctx context.Context, scheduler framework.Framework, snapshot *cache.Snapshot, pod *corev1.Pod) verdict {
	result := verdict{Pod: pod.Namespace + "/" + pod.Name, Refused: map[string]refusal{}}
	state := framework.NewCycleState()
	only, status, _ := scheduler.RunPreFilterPlugins(ctx, state, pod)
	if !status.IsSuccess() {
		said := explain(status)
		result.Cluster = &said
		return result
	}
	nodes, _ := snapshot.NodeInfos().List()
	for _, node := range nodes {
		name := node.Node().Name
		if only != nil && !only.AllNodes() && !only.NodeNames.Has(name) {
			result.Refused[name] = refusal{Plugin: names.NodeAffinity, Reasons: []string{"not among the nodes named"}}
			continue
		}
		if status := scheduler.RunFilterPlugins(ctx, state, pod, node); !status.IsSuccess() {
			result.Refused[name] = explain(status)
		}
	}
	return result
}

func explain(status *fwk.Status) refusal {
	return refusal{Plugin: status.Plugin(), Reasons: status.Reasons()}
}
