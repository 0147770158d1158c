// Prints how the command ended, and sends it to HOOK_C_URL if that is set: an ordinary program that reads its context
// from environment variables.

#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    const char *command = getenv("WRAPPER_COMMAND"), *end = getenv("EXIT_CODE"), *status = getenv("EXIT_STATUS");
    if (!command || !end || !status) return EXIT_FAILURE;

    int program = (int)strcspn(command, " ");
    char text[1024];
    if (!strcmp(end, "exited"))
        snprintf(text, sizeof text, "\"%.*s\" exited with %s", program, command, status);
    else if (!strcmp(end, "killed"))
        snprintf(text, sizeof text, "\"%.*s\" was killed by signal %s", program, command, status);
    else
        snprintf(text, sizeof text, "\"%.*s\" was not started: %s", program, command, getenv("WRAPPER_REASON"));
    puts(text);

    const char *url = getenv("HOOK_C_URL");
    if (!url) return EXIT_SUCCESS;
    int answer = post(url, text);
    if (answer >= 200 && answer < 300) return EXIT_SUCCESS;
    if (answer < 0)
        printf("\"%s\": error %d of wasi:http\n", url, -answer - 1);
    else
        printf("\"%s\": answered %d\n", url, answer);
    return EXIT_FAILURE;
}
