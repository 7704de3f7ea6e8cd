// Command eventing delivers events to the function as Knative Eventing's brokers do: with their own
// dispatcher, its retries, replies and dead letters.
//
//	go run . FUNCTION-BINARY SAMPLES-FOLDER
//
// Prints a line for each case and ends with 1 if one went wrong.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	v1 "knative.dev/eventing/pkg/apis/duck/v1"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/kncloudevents"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
)

// With pauses that grow by a tenth of a second, the shortest that a delivery can state, they last
// twelve seconds: six inferences, or a new instance, on any machine.
const retries, pause = 16, "PT0.1S"

var failed bool

// function is the running binary, behind a proxy that counts what is answered.
type function struct {
	process *exec.Cmd
	proxy   *httptest.Server
	mu      sync.Mutex
	address string
	answers map[int]int
	// first is closed with the first verdict.
	first chan struct{}
}

func start(binary string, variables ...string) *function {
	f := &function{answers: map[int]int{}, first: make(chan struct{})}
	f.process, f.address = launch(binary, variables...)
	once := sync.OnceFunc(func() { close(f.first) })
	f.proxy = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			request.SetURL(&url.URL{Scheme: "http", Host: f.address})
		},
		ModifyResponse: func(answer *http.Response) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.answers[answer.StatusCode]++
			if answer.StatusCode == http.StatusOK {
				once()
			}
			return nil
		},
		// Nobody listens: a 502, as from any gateway.
		ErrorHandler: func(answer http.ResponseWriter, _ *http.Request, _ error) { answer.WriteHeader(http.StatusBadGateway) },
	})
	return f
}

func launch(binary string, variables ...string) (*exec.Cmd, string) {
	process := exec.Command(binary)
	process.Env = append([]string{"HOST=127.0.0.1", "PORT=0", "RUST_LOG=info"}, variables...)
	logs, err := process.StderrPipe()
	must(err)
	must(process.Start())
	lines, address := bufio.NewScanner(logs), ""
	for address == "" && lines.Scan() {
		var entry struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Message == "ready" {
			address = entry.Address
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()
	return process, address
}

// replace stops the instance and puts another in its place.
func (f *function) replace(binary string) {
	must(f.process.Process.Signal(os.Interrupt))
	_ = f.process.Wait() // 1: it refused what waited
	process, address := launch(binary)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.process, f.address = process, address
}

func (f *function) stop() {
	f.proxy.Close()
	must(f.process.Process.Signal(os.Interrupt))
	must(f.process.Wait())
}

// counted gives the answers since it was last asked.
func (f *function) counted() map[int]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	answers := f.answers
	f.answers = map[int]int{}
	return answers
}

// sink takes events.
type sink struct {
	server *httptest.Server
	events chan cloudevents.Event
}

func newSink() *sink {
	s := &sink{events: make(chan cloudevents.Event, 100)}
	s.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		event, err := cloudevents.NewEventFromHTTPRequest(request)
		must(err)
		s.events <- *event
	}))
	return s
}

func (s *sink) taken() []cloudevents.Event {
	var taken []cloudevents.Event
	for len(s.events) > 0 {
		taken = append(taken, <-s.events)
	}
	return taken
}

func addressable(address string) duckv1.Addressable {
	target, err := apis.ParseURL(address)
	must(err)
	return duckv1.Addressable{URL: target}
}

func frame(id string, image []byte) cloudevents.Event {
	event := cloudevents.NewEvent()
	event.SetID(id)
	event.SetSource("/cameras/3")
	event.SetType("nv-micro.frame")
	event.SetSubject("bed-3") // printable ASCII: the SDK of Go encodes nothing in headers
	must(event.SetData("image/jpeg", image))
	return event
}

// delivery is what knative/eventing/broker.yaml asks for, with shorter pauses.
func delivery() *kncloudevents.RetryConfig {
	count, policy, delay := int32(retries), v1.BackoffPolicyLinear, pause
	config, err := kncloudevents.RetryConfigFromDeliverySpec(v1.DeliverySpec{Retry: &count, BackoffPolicy: &policy, BackoffDelay: &delay})
	must(err)
	return &config
}

func check(name string, right bool, seen ...any) {
	word := "ok   "
	if !right {
		word, failed = "WRONG", true
	}
	fmt.Println(word, name+":", fmt.Sprint(seen...))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	binary, samples := os.Args[1], os.Args[2]
	read := func(name string) []byte {
		image, err := os.ReadFile(filepath.Join(samples, name))
		must(err)
		return image
	}
	verdicts, dead := newSink(), newSink()
	dispatcher := kncloudevents.NewDispatcher(eventingtls.NewDefaultClientConfig(), nil)
	send := func(f *function, event cloudevents.Event, format *v1.FormatType) error {
		reply, letters := addressable(verdicts.server.URL), addressable(dead.server.URL)
		_, err := dispatcher.SendEvent(context.Background(), event, addressable(f.proxy.URL),
			kncloudevents.WithReply(&reply), kncloudevents.WithDeadLetterSink(&letters),
			kncloudevents.WithRetryConfig(delivery()), kncloudevents.WithEventFormat(format))
		return err
	}

	f := start(binary)
	structured := v1.DeliveryFormatJson
	for picture, state := range map[string]string{"open.jpg": "open", "closed.jpg": "closed", "covered.jpg": "no_eyes"} {
		ids := map[string]bool{}
		for _, format := range []*v1.FormatType{nil, &structured, nil} {
			must(send(f, frame(picture, read(picture)), format))
			for _, verdict := range verdicts.taken() {
				var data struct{ State string }
				must(verdict.DataAs(&data))
				ids[verdict.Source()+" "+verdict.ID()] = true
				check(picture, data.State == state && verdict.Type() == "nv-micro.eye-state" && verdict.Subject() == "bed-3", verdict.ID(), " ", data.State)
			}
		}
		check(picture+", delivered three times", len(ids) == 1, len(ids), " id")
	}
	f.counted()

	must(send(f, frame("broken", []byte("no image")), nil))
	letters, answers := dead.taken(), f.counted()
	check("no image goes to the dead letters after one attempt", len(letters) == 1 && answers[400] == 1 && len(answers) == 1, answers)
	code := letters[0].Extensions()["knativeerrorcode"]
	check("with the reason", fmt.Sprint(code) == "400" && strings.Contains(fmt.Sprint(letters[0].Extensions()), "knativeerrordata"), code)
	check("and without a verdict", len(verdicts.taken()) == 0)
	f.stop()

	// All at once.
	burst := func(f *function, count int) *sync.WaitGroup {
		var all sync.WaitGroup
		for n := range count {
			all.Go(func() { must(send(f, frame(fmt.Sprint(n), read("open.jpg")), nil)) })
		}
		return &all
	}
	full := start(binary, "MAX_CONCURRENCY=1", "QUEUE_CAPACITY=0")
	burst(full, 6).Wait()
	answers = full.counted()
	check("what a full instance refuses is sent again", len(verdicts.taken()) == 6 && len(dead.taken()) == 0 && answers[429] > 0 && answers[200] == 6, answers)
	full.stop()

	stopping := start(binary, "MAX_CONCURRENCY=1", "DRAIN_TIMEOUT_MS=1")
	all := burst(stopping, 12)
	<-stopping.first
	stopping.replace(binary)
	all.Wait()
	answers = stopping.counted()
	check("what an instance that stops refuses is sent again", len(verdicts.taken()) == 12 && len(dead.taken()) == 0 && answers[503] > 0 && answers[200] == 12, answers)
	stopping.stop()
	if failed {
		os.Exit(1)
	}
}
