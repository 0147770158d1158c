// The OTLP receiver of the OpenTelemetry Collector on a port of loopback. It prints its port as soon as it listens, and
// then whatever it accepts, one line of JSON for each request. It refuses as many requests as its argument says first.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	refuse, err := strconv.ParseInt(os.Args[1], 10, 64)
	check(err)
	var requests atomic.Int64
	// An error that is not permanent: the client is asked to try again later.
	accept := func(json []byte, err error) error {
		if requests.Add(1) <= refuse {
			return errors.New("busy")
		}
		check(err)
		_, err = fmt.Printf("%s\n", json)
		return err
	}
	traces, err := consumer.NewTraces(func(_ context.Context, traces ptrace.Traces) error {
		return accept((&ptrace.JSONMarshaler{}).MarshalTraces(traces))
	})
	check(err)
	metrics, err := consumer.NewMetrics(func(_ context.Context, metrics pmetric.Metrics) error {
		return accept((&pmetric.JSONMarshaler{}).MarshalMetrics(metrics))
	})
	check(err)

	address := freeAddress()
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	check(confmap.NewFromStringMap(map[string]any{
		"protocols": map[string]any{"http": map[string]any{"endpoint": address}},
	}).Unmarshal(config))
	settings := receivertest.NewNopSettings(factory.Type())
	host := componenttest.NewNopHost()
	// Both are the same receiver: one server takes traces and metrics.
	forTraces, err := factory.CreateTraces(context.Background(), settings, config, traces)
	check(err)
	forMetrics, err := factory.CreateMetrics(context.Background(), settings, config, metrics)
	check(err)
	check(forTraces.Start(context.Background(), host))
	check(forMetrics.Start(context.Background(), host))
	fmt.Println(address)
	select {}
}

func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	defer listener.Close()
	return listener.Addr().String()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
