#include "system.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void headrace_name_this_thread(const char *name) {
    char text[16];
    snprintf(text, sizeof text, "%s", name);
    pthread_setname_np(pthread_self(), text);
}

const char *headrace_errno_name(int number) {
    return strerrorname_np(number);
}

int headrace_cpu_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    // More cores than the set has bits for: take what is online.
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static int argument_count;
static char **arguments;

// glibc hands the arguments of main to constructors as well.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
    argument_count = count;
    arguments = values;
}

const char *headrace_argument(int index) {
    return index >= 0 && index < argument_count && arguments ? arguments[index] : NULL;
}
