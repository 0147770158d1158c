/* The command that is measured around: says when it was started, waits so many milliseconds, says when it ends. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments) {
    long milliseconds = count > 1 ? atol(arguments[1]) : 0;
    char text[64];
    int length = snprintf(text, sizeof text, "%lld\n", now());
    (void)!write(1, text, length);
    if (milliseconds > 0) {
        struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&time, NULL);
    }
    length = snprintf(text, sizeof text, "%lld\n", now());
    (void)!write(1, text, length);
    return 0;
}
