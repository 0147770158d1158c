/* The command that is measured around: prints when it was started, sleeps for so many milliseconds, or with a minus sign
   keeps the processor busy for so many milliseconds of its time, and prints when it ends. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long long read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long now(void) { return read_clock(CLOCK_MONOTONIC); }

int main(int count, char **arguments) {
    long milliseconds = count > 1 ? atol(arguments[1]) : 0;
    char text[64];
    int length = snprintf(text, sizeof text, "%lld\n", now());
    (void)!write(1, text, length);
    if (milliseconds > 0) {
        struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&time, NULL);
    }
    while (read_clock(CLOCK_PROCESS_CPUTIME_ID) < -milliseconds * 1000000LL) {
    }
    length = snprintf(text, sizeof text, "%lld\n", now());
    (void)!write(1, text, length);
    return 0;
}
