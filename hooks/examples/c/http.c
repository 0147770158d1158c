#include "http.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// The functions of WASI that a request needs, with the parameters of the Canonical ABI: a resource is a number, a string
// a pointer and a length, an option begins with a number that is 1 if there is a value. wit-bindgen generates these, and
// types, for a whole world.
#define IMPORT(interface, name) __attribute__((import_module("wasi:" interface "@0.2.12"), import_name(name))) extern
#define TYPES(name) IMPORT("http/types", name)

TYPES("[constructor]fields") int new_fields(void);
TYPES("[method]fields.append")
void append_field(int fields, const char *name, size_t, const char *value, size_t, void *result);
TYPES("[constructor]outgoing-request") int new_request(int fields);
TYPES("[method]outgoing-request.set-method") int set_method(int request, int method, const char *other, size_t);
TYPES("[method]outgoing-request.set-scheme")
int set_scheme(int request, int some, int scheme, const char *other, size_t);
TYPES("[method]outgoing-request.set-authority") int set_authority(int request, int some, const char *, size_t);
TYPES("[method]outgoing-request.set-path-with-query") int set_path(int request, int some, const char *, size_t);
TYPES("[method]outgoing-request.body") void request_body(int request, void *result);
TYPES("[method]outgoing-body.write") void write_body(int body, void *result);
TYPES("[static]outgoing-body.finish") void finish_body(int body, int some, int trailers, void *result);
TYPES("[method]future-incoming-response.subscribe") int subscribe(int future);
TYPES("[method]future-incoming-response.get") void get_response(int future, void *result);
TYPES("[method]incoming-response.status") int response_status(int response);
IMPORT("http/outgoing-handler", "handle") void handle(int request, int some, int options, void *result);
IMPORT("io/poll", "[method]pollable.block") void block(int pollable);
IMPORT("io/streams", "[method]output-stream.blocking-write-and-flush")
void write_stream(int stream, const char *, size_t, void *result);
IMPORT("io/streams", "[resource-drop]output-stream") void drop_stream(int stream);

// The host allocates the texts of an error here.
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size, (void)align;
    return realloc(old, size);
}

int post(const char *url, const char *text) {
    enum { POST = 2, HTTP = 0, HTTPS = 1, MALFORMED = -100 };
    // What a function returns that does not return a number: alternating tags, of a byte, and values.
    union { uint8_t tag; int32_t value; } result[16] = {0};

    int scheme = strncasecmp(url, "https://", 8) ? HTTP : HTTPS;
    if (scheme == HTTP && strncasecmp(url, "http://", 7)) return MALFORMED;
    const char *authority = url + (scheme == HTTP ? 7 : 8);
    size_t host = strcspn(authority, "/");
    const char *path = authority[host] ? authority + host : "/";

    // Without a length the body is sent in chunks.
    char length[12];
    int fields = new_fields(), digits = snprintf(length, sizeof length, "%zu", strlen(text));
    append_field(fields, "Content-Length", 14, length, digits, result);
    int request = new_request(fields);
    set_method(request, POST, "", 0);
    set_scheme(request, 1, scheme, "", 0);
    if (set_authority(request, 1, authority, host) || set_path(request, 1, path, strlen(path))) return MALFORMED;
    request_body(request, result);
    int body = result[1].value;
    handle(request, 0, 0, result);
    if (result[0].tag) return -1 - result[2].tag;
    int future = result[2].value;
    write_body(body, result);
    int stream = result[1].value;
    for (size_t left = strlen(text), part; left; text += part, left -= part) {
        part = left < 4096 ? left : 4096;
        write_stream(stream, text, part, result);
    }
    drop_stream(stream);
    finish_body(body, 0, 0, result);
    block(subscribe(future));
    // An option of two results, one in the other: of the future, which can be read once, and of the request.
    get_response(future, result);
    return result[4].tag ? -1 - result[6].tag : response_status(result[6].value);
}
