package vpa

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"

	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller/resource/pod/patch"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller/resource/pod/recommendation"
	vpatypes "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/apis/autoscaling.k8s.io/v1"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/inplace"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/priority"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/restriction"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/utils"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/limitrange"
	vpautil "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/vpa"
)

const namespace, container, set = "test", "eye-state", "pods"

// Round is one round of the updater.
type Round struct {
	// Replicas of the ReplicaSet, and the object's minReplicas.
	Configured int32 `json:"configured"`
	Min        int32 `json:"min"`
	// Target, lower and upper bound of CPU in millicores and of memory in bytes.
	CPU    [3]int64 `json:"cpu"`
	Memory [3]int64 `json:"memory"`
	Pods   []Pod    `json:"pods"`
}

// Pod is a pod as the updater observes it.
type Pod struct {
	CPU     int64 `json:"cpu"`
	Memory  int64 `json:"memory"`
	AgeS    int64 `json:"age"`
	Pending bool  `json:"pending"`
}

func resources(millicores, bytes int64) v1.ResourceList {
	return v1.ResourceList{
		v1.ResourceCPU:    *resource.NewMilliQuantity(millicores, resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(bytes, resource.BinarySI),
	}
}

// updated returns the pods that the updater resizes, in its order. It does what RunOnce does for
// one object in the mode InPlaceOrRecreate, with the updater's own calculator, restriction and
// patches.
func updated(r *Round) string {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	yes, mode := true, vpatypes.UpdateModeInPlaceOrRecreate
	numbers, objects := map[string]int{}, []runtime.Object{}
	var pods []*v1.Pod
	for i, p := range r.Pods {
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name: "pod-" + strconv.Itoa(i), Namespace: namespace,
				OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: set, Controller: &yes}},
			},
			Spec: v1.PodSpec{Containers: []v1.Container{{
				Name:      container,
				Resources: v1.ResourceRequirements{Requests: resources(p.CPU, p.Memory), Limits: resources(p.CPU, p.Memory)},
			}}},
			Status: v1.PodStatus{Phase: v1.PodRunning, StartTime: &metav1.Time{Time: now.Add(-time.Duration(p.AgeS) * time.Second)}},
		}
		if p.Pending {
			pod.Status.Phase = v1.PodPending
		}
		numbers[pod.Name] = i
		pods, objects = append(pods, pod), append(objects, pod)
	}
	client := fake.NewSimpleClientset(objects...)
	factory := informers.NewSharedInformerFactory(client, 0)
	replicas := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: set, Namespace: namespace},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &r.Configured},
	}
	if err := factory.Apps().V1().ReplicaSets().Informer().GetStore().Add(replicas); err != nil {
		panic(err)
	}
	vpa := &vpatypes.VerticalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "vpa", Namespace: namespace},
		Spec:       vpatypes.VerticalPodAutoscalerSpec{UpdatePolicy: &vpatypes.PodUpdatePolicy{UpdateMode: &mode, MinReplicas: &r.Min}},
		Status: vpatypes.VerticalPodAutoscalerStatus{Recommendation: &vpatypes.RecommendedPodResources{
			ContainerRecommendations: []vpatypes.RecommendedContainerResources{{
				ContainerName: container,
				Target:        resources(r.CPU[0], r.Memory[0]),
				LowerBound:    resources(r.CPU[1], r.Memory[1]),
				UpperBound:    resources(r.CPU[2], r.Memory[2]),
			}},
		}},
	}
	limits := limitrange.NewNoopLimitsCalculator()
	processor := vpautil.NewCappingRecommendationProcessor(limits)
	patches := []patch.Calculator{
		inplace.NewResourceInPlaceUpdatesCalculator(recommendation.NewProvider(limits, processor)),
		inplace.NewInPlaceUpdatedCalculator(),
	}
	// Default flags of vpa-updater.
	restrictions := restriction.NewPodsRestrictionFactory(client, factory, 2, 0.5, patches, false)
	groups, creators, err := restrictions.GetCreatorMaps(pods, vpa)
	if err != nil {
		panic(err)
	}
	limiter := restrictions.NewPodsInPlaceRestriction(groups, creators)
	calculator := priority.NewUpdatePriorityCalculator(vpa, priority.UpdateConfig{
		MinChangePriority: 0.1, PodLifetimeUpdateThreshold: 12 * time.Hour, EvictAfterOOMThreshold: 10 * time.Minute,
	}, processor, priority.NewProcessor())
	for _, pod := range pods {
		if limiter.CanInPlaceUpdate(pod, vpa, nil) == utils.InPlaceApproved {
			calculator.AddPod(pod, now, nil)
		}
	}
	var resized []string
	for _, pod := range calculator.GetSortedPods(priority.NewDefaultPodEvictionAdmission()) {
		if limiter.CanInPlaceUpdate(pod, vpa, nil) != utils.InPlaceApproved {
			continue
		}
		if err := limiter.InPlaceUpdate(pod, vpa, record.NewFakeRecorder(100)); err != nil {
			panic(fmt.Sprintf("%s: %v", pod.Name, err))
		}
		resized = append(resized, strconv.Itoa(numbers[pod.Name]))
	}
	if len(resized) == 0 {
		return "-"
	}
	return strings.Join(resized, ",")
}
