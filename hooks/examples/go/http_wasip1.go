package main

// A request through wasi:http. Go has no sockets in WebAssembly, so that net/http does not work. http_native.go has the
// same for tests.

import (
	"errors"
	"fmt"
	"net/url"
	"unsafe"
)

// post sends a request and returns the status of the response.
func post(target *url.URL, headers map[string]string, text string) (int, error) {
	const methodPost, schemeHTTP, schemeHTTPS = 2, 0, 1
	at := unsafe.Pointer(&result)
	fields := newFields()
	// Without a length the body is sent in chunks.
	appendField(fields, "Content-Length", fmt.Sprint(len(text)), at)
	for name, value := range headers {
		appendField(fields, name, value, at)
	}
	request := newRequest(fields)
	setMethod(request, methodPost, "")
	scheme := int32(schemeHTTP)
	if target.Scheme == "https" {
		scheme = schemeHTTPS
	}
	setScheme(request, 1, scheme, "")
	if setAuthority(request, 1, target.Host) != 0 || setPath(request, 1, target.RequestURI()) != 0 {
		return 0, errors.New("malformed")
	}
	requestBody(request, at)
	body := int32(result[1])
	handle(request, 0, 0, at)
	if isError(0) {
		return 0, errorCode(2)
	}
	future := int32(result[2])
	writeBody(body, at)
	stream := int32(result[1])
	for len(text) > 0 {
		part := text[:min(len(text), 4096)]
		text = text[len(part):]
		write(stream, part, at)
	}
	dropStream(stream)
	finishBody(body, 0, 0, at)
	block(subscribe(future))
	// An option of two results, one in the other: of the future, which can be read once, and of the request.
	getResponse(future, at)
	if isError(4) {
		return 0, errorCode(6)
	}
	return int(responseStatus(int32(result[6]))), nil
}

// result is what a function returns that does not return a number: alternating tags and values, of at most 64 bytes. It
// is not on the stack, which may move when the host allocates.
var result [16]uint32

// isError returns whether the tag at a place is that of an error.
func isError(place int) bool { return result[place]&0xff != 0 }

// errorCode returns the error at a place: the cases of error-code in wit/deps/http.wit, counted from 0.
func errorCode(place int) error {
	switch code := result[place] & 0xff; code {
	case 6:
		return errors.New("connection refused")
	case 15:
		return errors.New("not allowed; see --allow-http")
	default:
		return fmt.Errorf("error %d of wasi:http", code)
	}
}

// The host allocates the texts of an error here. They are kept until the hook ends.
var allocated [][]uint64

//go:wasmexport cabi_realloc
func allocate(old unsafe.Pointer, oldSize, align, size int32) unsafe.Pointer {
	memory := make([]uint64, size/8+1)
	allocated = append(allocated, memory)
	return unsafe.Pointer(&memory[0])
}

// The functions of WASI that a request needs, with the parameters of the Canonical ABI: a resource is a number, a string
// a pointer and a length, an option begins with a number that is 1 if there is a value.

//go:wasmimport wasi:http/types@0.2.12 [constructor]fields
func newFields() (fields int32)

//go:wasmimport wasi:http/types@0.2.12 [method]fields.append
func appendField(fields int32, name string, value string, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [constructor]outgoing-request
func newRequest(fields int32) (request int32)

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-request.set-method
func setMethod(request int32, method int32, other string) int32

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-request.set-scheme
func setScheme(request int32, some int32, scheme int32, other string) int32

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-request.set-authority
func setAuthority(request int32, some int32, authority string) int32

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-request.set-path-with-query
func setPath(request int32, some int32, path string) int32

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-request.body
func requestBody(request int32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [method]outgoing-body.write
func writeBody(body int32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [static]outgoing-body.finish
func finishBody(body int32, some int32, trailers int32, result unsafe.Pointer)

//go:wasmimport wasi:http/outgoing-handler@0.2.12 handle
func handle(request int32, some int32, options int32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [method]future-incoming-response.subscribe
func subscribe(future int32) (pollable int32)

//go:wasmimport wasi:http/types@0.2.12 [method]future-incoming-response.get
func getResponse(future int32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.12 [method]incoming-response.status
func responseStatus(response int32) int32

//go:wasmimport wasi:io/poll@0.2.12 [method]pollable.block
func block(pollable int32)

//go:wasmimport wasi:io/streams@0.2.12 [method]output-stream.blocking-write-and-flush
func write(stream int32, text string, result unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.12 [resource-drop]output-stream
func dropStream(stream int32)
