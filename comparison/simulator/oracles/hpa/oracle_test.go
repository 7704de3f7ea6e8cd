// Package hpa drives Kubernetes' own horizontal controller tick by tick, without a cluster. It
// reads a trace of observations as JSON lines and writes the replicas that the controller sets.
//
//	go test -vet=off -count=1 . -args TRACE DECISIONS
//
// It runs with the fake clock of testing/synctest, so that hours of ticks take seconds.
package hpa

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	v2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/scale"
	core "k8s.io/client-go/testing"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

//go:linkname reconcileAutoscaler k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).reconcileAutoscaler
func reconcileAutoscaler(a *podautoscaler.HorizontalController, ctx context.Context, hpa *v2.HorizontalPodAutoscaler, key string) error

//go:linkname enqueueHPA k8s.io/kubernetes/pkg/controller/podautoscaler.(*HorizontalController).enqueueHPA
func enqueueHPA(a *podautoscaler.HorizontalController, obj interface{})

const namespace, name = "test", "hpa"

// Line is one line of a trace. A case begins with Settings; every other line is a tick.
type Line struct {
	Settings *Settings `json:"settings"`
	// Milliseconds since the beginning of the case.
	AtMs int64 `json:"t"`
	// Sum of the metric over all pods, in thousandths of the metric's unit.
	Load int64 `json:"load"`
	// The second metric of an object that scales to zero, in thousandths.
	Waiting int64 `json:"waiting"`
	// One number per pod: its weight in thousandths of an even share of the load, or one of the
	// constants below. Only the first pods exist, as many as there are replicas.
	Pods []int64 `json:"pods"`
	// Replicas that another client sets before this tick.
	Set *int32 `json:"set"`
}

const (
	missing  = -1 // running, without a metric
	pending  = -2
	deleting = -3
	failed   = -4
)

// Settings are the object's settings. Empty tolerances mean the controller's default.
type Settings struct {
	TargetMilli int64 `json:"target_milli"`
	Min         int32 `json:"min"`
	Max         int32 `json:"max"`
	Replicas    int32 `json:"replicas"`
	// The metric is external: a value for the whole load, independent of the pods.
	External bool `json:"external"`
	// Two metrics of an object, the second with a target far above any value: scales to zero.
	ToZero   bool                                `json:"to_zero"`
	Behavior *v2.HorizontalPodAutoscalerBehavior `json:"behavior"`
}

// cluster fakes the scale subresource, the metrics and the pods.
type cluster struct {
	replicas int32
	pods     []*v1.Pod
	values   metrics.PodMetricsInfo
	load     int64
	waiting  int64
}

func (c *cluster) scaleObject() *autoscalingv1.Scale {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: c.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: c.replicas, Selector: "app=eye-state"},
	}
}

func (c *cluster) Scales(string) scale.ScaleInterface { return c }

func (c *cluster) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return c.scaleObject(), nil
}

func (c *cluster) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	c.replicas = scale.Spec.Replicas
	return c.scaleObject(), nil
}

func (c *cluster) Patch(context.Context, schema.GroupVersionResource, string, types.PatchType, []byte, metav1.PatchOptions) (*autoscalingv1.Scale, error) {
	return nil, fmt.Errorf("not used by the controller")
}

func (c *cluster) GetResourceMetric(context.Context, v1.ResourceName, string, labels.Selector, string) (metrics.PodMetricsInfo, time.Time, error) {
	return nil, time.Time{}, fmt.Errorf("not in the trace")
}

func (c *cluster) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	if len(c.values) == 0 {
		return nil, time.Time{}, fmt.Errorf("no metrics returned from custom metrics API")
	}
	// The calculator modifies the map.
	copied := metrics.PodMetricsInfo{}
	for pod, value := range c.values {
		copied[pod] = value
	}
	return copied, time.Now(), nil
}

func (c *cluster) GetObjectMetric(metric string, _ string, _ *v2.CrossVersionObjectReference, _ labels.Selector) (int64, time.Time, error) {
	if metric == "waiting" {
		return c.waiting, time.Now(), nil
	}
	return c.load, time.Now(), nil
}

func (c *cluster) GetExternalMetric(string, string, labels.Selector) ([]int64, time.Time, error) {
	return []int64{c.load}, time.Now(), nil
}

func (c *cluster) observe(load int64, slots []int64) {
	c.pods, c.values, c.load = nil, metrics.PodMetricsInfo{}, load
	for i := int32(0); i < c.replicas; i++ {
		slot := int64(missing)
		if int(i) < len(slots) {
			slot = slots[i]
		}
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("pod-%d", i), Namespace: namespace, Labels: map[string]string{"app": "eye-state"}},
			Status:     v1.PodStatus{Phase: v1.PodRunning},
		}
		switch slot {
		case missing:
		case pending:
			pod.Status.Phase = v1.PodPending
		case deleting:
			now := metav1.Now()
			pod.DeletionTimestamp = &now
		case failed:
			pod.Status.Phase = v1.PodFailed
		default:
			c.values[pod.Name] = metrics.PodMetric{Timestamp: time.Now(), Window: time.Minute, Value: load * slot / (1000 * int64(c.replicas))}
		}
		c.pods = append(c.pods, pod)
	}
}

type caseRun struct {
	cluster    *cluster
	controller *podautoscaler.HorizontalController
	informers  informers.SharedInformerFactory
	hpa        *v2.HorizontalPodAutoscaler
	start      time.Time
	cancel     context.CancelFunc
}

func begin(s *Settings) *caseRun {
	client := &fake.Clientset{}
	run := &caseRun{}
	client.AddReactor("*", "*", func(action core.Action) (bool, runtime.Object, error) {
		if update, ok := action.(core.UpdateAction); ok {
			// The condition ScaledToZero is read again at the next tick.
			if stored, ok := update.GetObject().(*v2.HorizontalPodAutoscaler); ok {
				run.hpa = stored
			}
			return true, update.GetObject(), nil
		}
		return true, &v1.Event{}, nil
	})
	factory := informers.NewSharedInformerFactory(client, 0)
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "apps", Version: "v1"}})
	mapper.Add(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, meta.RESTScopeNamespace)
	c := &cluster{replicas: s.Replicas}
	ctx, cancel := context.WithCancel(context.Background())
	// Default flags of kube-controller-manager.
	controller := podautoscaler.NewHorizontalController(ctx, client.CoreV1(), c, client.AutoscalingV2(), mapper, c,
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), factory.Core().V1().Pods(),
		15*time.Second, 5*time.Minute, 0.1, 5*time.Minute, 30*time.Second)
	hpa := &v2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: v2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MinReplicas:    &s.Min,
			MaxReplicas:    s.Max,
			Behavior:       s.Behavior,
			Metrics: []v2.MetricSpec{{Type: v2.PodsMetricSourceType, Pods: &v2.PodsMetricSource{
				Metric: v2.MetricIdentifier{Name: "in_flight"},
				Target: v2.MetricTarget{Type: v2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(s.TargetMilli, resource.DecimalSI)},
			}}},
		},
	}
	if s.External {
		hpa.Spec.Metrics = []v2.MetricSpec{{Type: v2.ExternalMetricSourceType, External: &v2.ExternalMetricSource{
			Metric: v2.MetricIdentifier{Name: "in_flight"}, Target: hpa.Spec.Metrics[0].Pods.Target,
		}}}
	}
	if s.ToZero {
		if err := utilfeature.DefaultMutableFeatureGate.Set("HPAScaleToZero=true"); err != nil {
			panic(err)
		}
		of := func(metric string, target v2.MetricTarget) v2.MetricSpec {
			return v2.MetricSpec{Type: v2.ObjectMetricSourceType, Object: &v2.ObjectMetricSource{
				DescribedObject: v2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
				Metric:          v2.MetricIdentifier{Name: metric}, Target: target,
			}}
		}
		most := v2.MetricTarget{Type: v2.AverageValueMetricType, AverageValue: resource.NewQuantity(1_000_000, resource.DecimalSI)}
		hpa.Spec.Metrics = []v2.MetricSpec{of("in_flight", hpa.Spec.Metrics[0].Pods.Target), of("waiting", most)}
	}
	enqueueHPA(controller, hpa)
	*run = caseRun{c, controller, factory, hpa, time.Now(), cancel}
	return run
}

func (r *caseRun) tick(line *Line) int32 {
	time.Sleep(time.Until(r.start.Add(time.Duration(line.AtMs) * time.Millisecond)))
	if line.Set != nil {
		r.cluster.replicas = *line.Set
	}
	r.cluster.observe(line.Load, line.Pods)
	r.cluster.waiting = line.Waiting
	store := r.informers.Core().V1().Pods().Informer().GetStore()
	objects := make([]interface{}, len(r.cluster.pods))
	for i, pod := range r.cluster.pods {
		objects[i] = pod
	}
	if err := store.Replace(objects, ""); err != nil {
		panic(err)
	}
	err := reconcileAutoscaler(r.controller, context.Background(), r.hpa, namespace+"/"+name)
	// Without pods or metrics the replicas stay as they are, which is a decision too. Any other
	// error is a bug of this program.
	if err != nil && !strings.Contains(err.Error(), "failed to get pods metric value") {
		panic(err)
	}
	return r.cluster.replicas
}

func TestDecide(t *testing.T) {
	if flag.NArg() != 2 {
		t.Skip("usage: go test -vet=off -count=1 . -args TRACE DECISIONS")
	}
	klog.SetLogger(klog.New(nil))
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	input, err := os.Open(flag.Arg(0))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		scanner := bufio.NewScanner(input)
		scanner.Buffer(nil, 1<<22)
		var run *caseRun
		for scanner.Scan() {
			var line Line
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, scanner.Text())
			}
			if line.Settings != nil {
				if run != nil {
					run.cancel()
					out.WriteByte('\n')
				}
				run = begin(line.Settings)
				continue
			}
			fmt.Fprintf(&out, "%d ", run.tick(&line))
		}
		out.WriteByte('\n')
		if err := os.WriteFile(flag.Arg(1), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		// The controller's queue has goroutines that never end. The process therefore exits without
		// waiting for the bubble. (go test reports os.Exit as a failure.)
		syscall.Exit(0)
	})
}
