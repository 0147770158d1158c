//go:build !wasip1

package main

import (
	"net/http"
	"net/url"
	"strings"
)

// post is for tests, which run as an ordinary program.
func post(target *url.URL, headers map[string]string, text string) (int, error) {
	request, err := http.NewRequest("POST", target.String(), strings.NewReader(text))
	if err != nil {
		return 0, err
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}
