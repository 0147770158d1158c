// Prints how the command ended: an ordinary program that reads its context from environment variables.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    const char *command = getenv("WRAPPER_COMMAND"), *end = getenv("EXIT_CODE"), *status = getenv("EXIT_STATUS");
    if (!command || !end || !status) return EXIT_FAILURE;

    int program = (int)strcspn(command, " ");
    if (!strcmp(end, "exited"))
        printf("\"%.*s\" exited with %s\n", program, command, status);
    else if (!strcmp(end, "killed"))
        printf("\"%.*s\" was killed by signal %s\n", program, command, status);
    else
        printf("\"%.*s\" was not started: %s\n", program, command, getenv("WRAPPER_REASON"));
    return EXIT_SUCCESS;
}
