#include "cuda_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static int find(void *library, const char *symbol, void *field, char *text, size_t text_bytes) {
    void *address = dlsym(library, symbol);
    if (!address) {
        snprintf(text, text_bytes, "%s", symbol);
        return 1;
    }
    // A function's address comes as a data pointer: POSIX lets it be copied, C does not let it be cast.
    memcpy(field, &address, sizeof address);
    return 0;
}

int headrace_cu_open(const char *path, struct headrace_cu_driver *driver, char *text, size_t text_bytes) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *words = dlerror();
        snprintf(text, text_bytes, "%s", words ? words : "no reason was given");
        return -1;
    }
#define HEADRACE_CU_FIND(field, symbol, parameters) \
    if (find(library, symbol, &driver->field, text, text_bytes)) return 1;
    HEADRACE_CU_CALLS(HEADRACE_CU_FIND)
    return 0;
}

headrace_cu_result headrace_cu_launch(
    const struct headrace_cu_driver *driver, headrace_cu_function function, unsigned blocks, unsigned threads,
    headrace_cu_stream stream, void *parameters, const size_t *offsets, size_t count) {
    void *addresses[16];
    if (count > sizeof addresses / sizeof *addresses) return 1;
    for (size_t place = 0; place < count; place++) addresses[place] = (char *)parameters + offsets[place];
    return driver->launch(function, blocks, 1, 1, threads, 1, 1, 0, stream, addresses, NULL);
}
