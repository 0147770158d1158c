// A request through wasi:http. There are no sockets, so that libcurl does not work.

// Sends a request and returns the status of the response, or else the negative number of the error: of the cases of
// error-code in wit/deps/http.wit, counted from 1. -16 is an address that is not allowed, -7 a refused connection, and
// -100 a malformed URL.
int post(const char *url, const char *text);
