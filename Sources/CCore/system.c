#include "system.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

void headrace_name_this_thread(const char *name) {
    char text[16];
    snprintf(text, sizeof text, "%s", name);
    pthread_setname_np(pthread_self(), text);
}

const char *headrace_errno_name(int number) {
    return strerrorname_np(number);
}
