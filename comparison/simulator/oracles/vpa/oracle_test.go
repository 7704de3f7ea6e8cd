// Package vpa drives the vertical pod autoscaler's own recommender with CPU samples from a trace.
// It writes target, lower and upper bound in millicores, without the object's minAllowed and
// maxAllowed. From a trace of updater rounds, it writes the pods that are resized.
//
//	go test -count=1 . -args TRACE DECISIONS
package vpa

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/logic"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/recommender/model"
)

// Line is one line of a trace. A case begins with Settings; every other line is one round of the
// recommender.
type Line struct {
	Settings *struct{} `json:"settings"`
	// Milliseconds since the beginning of the case.
	AtMs int64 `json:"t"`
	// One sample per pod, in millicores.
	Usage []int64 `json:"usage"`
	// A round of the updater instead of samples.
	Round *Round `json:"round"`
}

// Default flags of vpa-recommender.
var recommender = logic.CreatePodResourceRecommender(logic.RecommendationConfig{
	SafetyMarginFraction: 0.15, PodMinCPUMillicores: 25, PodMinMemoryMb: 250,
	TargetCPUPercentile: 0.9, LowerBoundCPUPercentile: 0.5, UpperBoundCPUPercentile: 0.95,
	ConfidenceIntervalCPU:  24 * time.Hour,
	TargetMemoryPercentile: 0.9, LowerBoundMemoryPercentile: 0.5, UpperBoundMemoryPercentile: 0.95,
	ConfidenceIntervalMemory: 24 * time.Hour,
})

func TestDecide(t *testing.T) {
	if flag.NArg() != 2 {
		t.Skip("usage: go test -count=1 . -args TRACE DECISIONS")
	}
	input, err := os.Open(flag.Arg(0))
	if err != nil {
		t.Fatal(err)
	}
	model.InitializeAggregationsConfig(model.NewAggregationsConfig(
		model.DefaultMemoryAggregationInterval, model.DefaultMemoryAggregationIntervalCount,
		model.DefaultMemoryHistogramDecayHalfLife, model.DefaultCPUHistogramDecayHalfLife,
		model.DefaultOOMBumpUpRatio, model.DefaultOOMMinBumpUp))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var out strings.Builder
	var state *model.AggregateContainerState
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, 1<<22)
	for scanner.Scan() {
		var line Line
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, scanner.Text())
		}
		if line.Settings != nil {
			if state != nil {
				out.WriteByte('\n')
			}
			state = model.NewAggregateContainerState()
			continue
		}
		if line.Round != nil {
			fmt.Fprintf(&out, "%s ", updated(line.Round))
			continue
		}
		for _, usage := range line.Usage {
			state.AddSample(&model.ContainerUsageSample{
				MeasureStart: start.Add(time.Duration(line.AtMs) * time.Millisecond),
				Usage:        model.ResourceAmount(usage), Resource: model.ResourceCPU,
			})
		}
		r := recommender.GetRecommendedPodResources(model.ContainerNameToAggregateStateMap{"eye-state": state})["eye-state"]
		fmt.Fprintf(&out, "%d/%d/%d ", r.Target[model.ResourceCPU], r.LowerBound[model.ResourceCPU], r.UpperBound[model.ResourceCPU])
	}
	out.WriteByte('\n')
	if err := os.WriteFile(flag.Arg(1), []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
