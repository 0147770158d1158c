package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	var body []byte
	status := 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(status)
	}))
	defer server.Close()
	if err := report(server.URL, "exited with 7"); err != nil || string(body) != "exited with 7" {
		t.Fatalf("%v, body %q", err, body)
	}
	status = 404
	if err := report(server.URL, ""); err == nil || !strings.HasSuffix(err.Error(), "answered 404") {
		t.Fatal(err)
	}
}
