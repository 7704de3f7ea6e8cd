// Package kpa drives Knative's own autoscaler, scaler and activity rules tick by tick, without a
// cluster. It reads a trace of observations as JSON lines and writes the decisions.
//
//	go test -vet=off -count=1 . -args TRACE DECISIONS
//
// It runs with the fake clock of testing/synctest, so that hours of ticks take seconds. Knative's
// own code: aggregation windows, autoscaler, scaler (bounds, scale to zero),
// computeActiveCondition. Repeated here from Reconciler.ReconcileKind: the choice between proxy and
// serve mode.
package kpa

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	core "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	netv1alpha1 "knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/pkg/logging"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/aggregation"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	"knative.dev/serving/pkg/deployment"
	"knative.dev/serving/pkg/reconciler/autoscaling/config"
	_ "knative.dev/serving/pkg/reconciler/autoscaling/kpa"
)

// scaler has the layout of kpa.scaler.
type scaler struct {
	listerFactory  func(gvr schema.GroupVersionResource) (cache.GenericLister, error)
	dynamicClient  dynamic.Interface
	transport      http.RoundTripper
	activatorProbe func(pa *v1alpha1.PodAutoscaler, transport http.RoundTripper) (bool, error)
	probeManager   asyncProber
	enqueueCB      func(interface{}, time.Duration)
}

type asyncProber interface {
	Offer(context.Context, string, interface{}, time.Duration, time.Duration, ...interface{}) bool
}

// podCounts has the layout of kpa.podCounts.
type podCounts struct{ want, ready, notReady, pending, terminating int }

//go:linkname scale knative.dev/serving/pkg/reconciler/autoscaling/kpa.(*scaler).scale
func scale(ks unsafe.Pointer, ctx context.Context, pa *v1alpha1.PodAutoscaler, sks *netv1alpha1.ServerlessService, desiredScale int32) (int32, error)

//go:linkname computeActiveCondition knative.dev/serving/pkg/reconciler/autoscaling/kpa.computeActiveCondition
func computeActiveCondition(ctx context.Context, pa *v1alpha1.PodAutoscaler, pc podCounts)

// Line is one line of a trace. A case begins with Settings; a line with Value has the statistics of
// a second; a line with Ready is a tick.
type Line struct {
	Settings *Settings `json:"settings"`
	AtMs     int64     `json:"t"`
	// Concurrency of the previous second, summed over pods and activator.
	Value *float64 `json:"c"`
	// Number of ready pods, at most as many as are desired.
	Ready *int32 `json:"ready"`
}

// Settings under their Knative names; durations in milliseconds.
type Settings struct {
	Target           float64 `json:"target"`
	Total            float64 `json:"total"`
	StableWindowMs   int64   `json:"stable_window_ms"`
	PanicWindowMs    int64   `json:"panic_window_ms"`
	PanicThreshold   float64 `json:"panic_threshold"`
	MaxScaleUpRate   float64 `json:"max_scale_up_rate"`
	MaxScaleDownRate float64 `json:"max_scale_down_rate"`
	ScaleDownDelayMs int64   `json:"scale_down_delay_ms"`
	BurstCapacity    float64 `json:"target_burst_capacity"`
	ActivationScale  int32   `json:"activation_scale"`
	Min              int32   `json:"min"`
	Max              int32   `json:"max"`
	GraceMs          int64   `json:"grace_ms"`
	RetentionMs      int64   `json:"retention_ms"`
	Replicas         int32   `json:"replicas"`
}

type revision struct {
	ctx           context.Context
	stable, panic *aggregation.TimedFloat64Buckets
	autoscaler    scaling.UniScaler
	replicas      int32
	ready         int32
	// Status of the decider.
	desired, excess int32
	pa              *v1alpha1.PodAutoscaler
	sks             *netv1alpha1.ServerlessService
	scaler          *scaler
	start           time.Time
}

func (r *revision) StableAndPanicConcurrency(_ types.NamespacedName, now time.Time) (float64, float64, error) {
	if r.stable.IsEmpty(now) {
		return 0, 0, metrics.ErrNoData
	}
	return r.stable.WindowAverage(now), r.panic.WindowAverage(now), nil
}

func (r *revision) StableAndPanicRPS(types.NamespacedName, time.Time) (float64, float64, error) {
	return 0, 0, errors.New("not in the trace")
}

func (r *revision) ReadyCount() (int, error)    { return int(r.ready), nil }
func (r *revision) NotReadyCount() (int, error) { return 0, nil }

// The lister of the scale target.
func (r *revision) List(labels.Selector) ([]runtime.Object, error) { return nil, nil }
func (r *revision) Get(name string) (runtime.Object, error) {
	return &v1alpha1.PodScalable{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "test"},
		Spec:       v1alpha1.PodScalableSpec{Replicas: &r.replicas, Selector: &metav1.LabelSelector{}},
	}, nil
}
func (r *revision) ByNamespace(string) cache.GenericNamespaceLister { return r }

func (r *revision) Offer(context.Context, string, interface{}, time.Duration, time.Duration, ...interface{}) bool {
	return true
}

func begin(s *Settings) *revision {
	// The windows use whole seconds of the clock. A case starts at a whole second.
	time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	client := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
	r := &revision{
		stable:   aggregation.NewTimedFloat64Buckets(ms(s.StableWindowMs), time.Second),
		panic:    aggregation.NewTimedFloat64Buckets(ms(s.PanicWindowMs), time.Second),
		replicas: s.Replicas, ready: s.Replicas, desired: -1, start: time.Now(),
	}
	client.PrependReactor("patch", "*", func(action core.Action) (bool, runtime.Object, error) {
		var patch []struct{ Value int32 }
		if err := json.Unmarshal(action.(core.PatchAction).GetPatch(), &patch); err != nil {
			panic(err)
		}
		r.replicas = patch[0].Value
		return true, nil, nil
	})
	r.ctx = logging.WithLogger(config.ToContext(context.Background(), &config.Config{
		Autoscaler: &autoscalerconfig.Config{
			EnableScaleToZero: true, TargetBurstCapacity: s.BurstCapacity, InitialScale: 1,
			StableWindow: ms(s.StableWindowMs), ScaleToZeroGracePeriod: ms(s.GraceMs),
			ScaleToZeroPodRetentionPeriod: ms(s.RetentionMs), MinScale: s.Min, MaxScale: s.Max,
		},
		Deployment: &deployment.Config{ProgressDeadline: deployment.ProgressDeadlineDefault},
	}), zap.NewNop().Sugar())
	r.autoscaler = scaling.New(*attribute.EmptySet(), noop.NewMeterProvider(), "test", "revision", r, r, &scaling.DeciderSpec{
		MaxScaleUpRate: s.MaxScaleUpRate, MaxScaleDownRate: s.MaxScaleDownRate, ScalingMetric: "concurrency",
		TargetValue: s.Target, TotalValue: s.Total, TargetBurstCapacity: s.BurstCapacity,
		PanicThreshold: s.PanicThreshold, StableWindow: ms(s.StableWindowMs), ScaleDownDelay: ms(s.ScaleDownDelayMs),
		Reachable: true, ActivationScale: s.ActivationScale,
	})
	r.pa = &v1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "revision", Namespace: "test"},
		Spec: v1alpha1.PodAutoscalerSpec{
			Reachability:   v1alpha1.ReachabilityReachable,
			ScaleTargetRef: corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "revision"},
		},
	}
	r.pa.Status.InitializeConditions()
	r.pa.Status.ServiceName = "revision"
	r.pa.Status.MarkScaleTargetInitialized()
	r.sks = &netv1alpha1.ServerlessService{}
	r.sks.Status.InitializeConditions()
	r.mode(netv1alpha1.SKSOperationModeProxy)
	if s.Replicas > 0 {
		r.pa.Status.MarkActive()
	} else {
		r.pa.Status.MarkInactive("NoTraffic", "The target is not receiving traffic.")
	}
	r.scaler = &scaler{
		listerFactory: func(schema.GroupVersionResource) (cache.GenericLister, error) { return r, nil },
		dynamicClient: client,
		activatorProbe: func(*v1alpha1.PodAutoscaler, http.RoundTripper) (bool, error) {
			// The network is ready immediately.
			return r.sks.Spec.Mode == netv1alpha1.SKSOperationModeProxy, nil
		},
		probeManager: r,
		enqueueCB:    func(interface{}, time.Duration) {},
	}
	return r
}

func (r *revision) mode(mode netv1alpha1.ServerlessServiceOperationMode) {
	r.sks.Spec.Mode = mode
	if mode == netv1alpha1.SKSOperationModeProxy {
		r.sks.Status.MarkActivatorEndpointsPopulated()
	} else {
		r.sks.Status.MarkActivatorEndpointsRemoved()
	}
}

// tick returns the decision: the desired pods of the autoscaler, whether the activator is in the
// path, and the pods that were set.
func (r *revision) tick(ready int32) string {
	r.ready = min(ready, r.replicas)
	if result := r.autoscaler.Scale(zap.NewNop().Sugar(), time.Now()); result.ScaleValid {
		r.desired, r.excess = result.DesiredPodCount, result.ExcessBurstCapacity
	}
	want, err := scale(unsafe.Pointer(r.scaler), r.ctx, r.pa, r.sks, r.desired)
	if err != nil {
		panic(err)
	}
	mode := netv1alpha1.SKSOperationModeProxy
	if want > 0 && r.excess >= 0 {
		mode = netv1alpha1.SKSOperationModeServe
	}
	r.mode(mode)
	computeActiveCondition(r.ctx, r.pa, podCounts{want: int(want), ready: int(r.ready)})
	path := "s"
	if mode == netv1alpha1.SKSOperationModeProxy {
		path = "p"
	}
	return strconv.Itoa(int(r.desired)) + path + strconv.Itoa(int(r.replicas))
}

func TestDecide(t *testing.T) {
	if flag.NArg() != 2 {
		t.Skip("usage: go test -vet=off -count=1 . -args TRACE DECISIONS")
	}
	input, err := os.Open(flag.Arg(0))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		scanner := bufio.NewScanner(input)
		scanner.Buffer(nil, 1<<22)
		var r *revision
		for scanner.Scan() {
			var line Line
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, scanner.Text())
			}
			if line.Settings != nil {
				if r != nil {
					out.WriteByte('\n')
				}
				r = begin(line.Settings)
				continue
			}
			time.Sleep(time.Until(r.start.Add(time.Duration(line.AtMs) * time.Millisecond)))
			if line.Value != nil {
				r.stable.Record(time.Now(), *line.Value)
				r.panic.Record(time.Now(), *line.Value)
			}
			if line.Ready != nil {
				fmt.Fprintf(&out, "%s ", r.tick(*line.Ready))
			}
		}
		out.WriteByte('\n')
	})
	if err := os.WriteFile(flag.Arg(1), []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
