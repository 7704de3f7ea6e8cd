// Package keda drives KEDA's own scale executor poll by poll, without a cluster. It reads a trace
// of the triggers' activity as JSON lines and writes the replicas that KEDA sets. The decisions of
// its HPA are driven in ../hpa.
//
//	go test -vet=off -count=1 . -args TRACE DECISIONS
//
// It runs with the fake clock of testing/synctest. ../run.sh removes from KEDA the code that
// resolves secrets of cloud providers, which no decision needs.
package keda

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/scale"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/kedacore/keda/v2/pkg/scaling/executor"
)

const namespace, name = "test", "keda"

// Line is one line of a trace. A case begins with Settings; every other line is a poll.
type Line struct {
	Settings *Settings `json:"settings"`
	// Milliseconds since the beginning of the case.
	AtMs int64 `json:"t"`
	// Whether any trigger is active.
	Active bool `json:"active"`
	// Replicas that another client (its HPA) sets before this poll.
	Set *int32 `json:"set"`
}

// Settings are the object's settings.
type Settings struct {
	Min      int32 `json:"min"`
	Max      int32 `json:"max"`
	Polling  int32 `json:"polling"`
	Cooldown int32 `json:"cooldown"`
	Replicas int32 `json:"replicas"`
}

// target fakes the scale subresource.
type target struct{ replicas int32 }

func (t *target) object() *autoscalingv1.Scale {
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec:       autoscalingv1.ScaleSpec{Replicas: t.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: t.replicas},
	}
}

func (t *target) Scales(string) scale.ScaleInterface { return t }

func (t *target) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	return t.object(), nil
}

func (t *target) Update(_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions) (*autoscalingv1.Scale, error) {
	t.replicas = scale.Spec.Replicas
	return t.object(), nil
}

func (t *target) Patch(context.Context, schema.GroupVersionResource, string, types.PatchType, []byte, metav1.PatchOptions) (*autoscalingv1.Scale, error) {
	return nil, fmt.Errorf("not used by KEDA")
}

type caseRun struct {
	target   *target
	executor executor.ScaleExecutor
	object   *v1alpha1.ScaledObject
	start    time.Time
}

func begin(s *Settings) *caseRun {
	t := &target{replicas: s.Replicas}
	gvkr := v1alpha1.GroupVersionKindResource{Group: "custom", Version: "v1", Kind: "Any", Resource: "anys"}
	object := &v1alpha1.ScaledObject{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Hour))},
		Spec: v1alpha1.ScaledObjectSpec{
			ScaleTargetRef:  &v1alpha1.ScaleTarget{Name: name},
			MinReplicaCount: &s.Min, MaxReplicaCount: &s.Max, PollingInterval: &s.Polling, CooldownPeriod: &s.Cooldown,
		},
		// KEDA cannot read a replica count from an object of this kind and asks the scale
		// subresource.
		Status: v1alpha1.ScaledObjectStatus{ScaleTargetGVKR: &gvkr, ScaleTargetKind: "custom/v1.Any"},
	}
	client := fake.NewClientBuilder().WithScheme(runtime.NewScheme()).Build()
	return &caseRun{t, executor.NewScaleExecutor(client, t, nil, time.Second, events.NewFakeRecorder(1<<20)), object, time.Now()}
}

func (r *caseRun) poll(line *Line) int32 {
	time.Sleep(time.Until(r.start.Add(time.Duration(line.AtMs) * time.Millisecond)))
	if line.Set != nil {
		r.target.replicas = *line.Set
	}
	result := r.executor.RequestScale(context.Background(), r.object, line.Active, false, executor.ScaleExecutorOptions{})
	if result.Error != nil {
		panic(result.Error)
	}
	if result.LastActiveTime != nil {
		// The API server stores whole seconds.
		last := result.LastActiveTime.Rfc3339Copy()
		r.object.Status.LastActiveTime = &last
	}
	return r.target.replicas
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
		var run *caseRun
		for scanner.Scan() {
			var line Line
			if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
				t.Fatalf("%v: %s", err, scanner.Text())
			}
			if line.Settings != nil {
				if run != nil {
					out.WriteByte('\n')
				}
				run = begin(line.Settings)
				continue
			}
			fmt.Fprintf(&out, "%d ", run.poll(&line))
		}
		out.WriteByte('\n')
		if err := os.WriteFile(flag.Arg(1), []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		// Some goroutines never end. The process therefore exits without waiting for them.
		syscall.Exit(0)
	})
}
