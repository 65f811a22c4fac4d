#ifndef HEADRACE_CUDA_DRIVER_H
#define HEADRACE_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

// The part of the CUDA driver's interface that a back end needs, found at run time in the driver's library: nothing
// of CUDA is needed to build. Names, types and versions of entry points are those of the driver's own header; its
// handles are opaque here. Every call returns a CUresult.

// Only the calls themselves are said never to be null; handles may be.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"

typedef int headrace_cu_result;
typedef int headrace_cu_device;
typedef uint64_t headrace_cu_address;
typedef void *headrace_cu_context;
typedef void *headrace_cu_stream;
typedef void *headrace_cu_event;
typedef void *headrace_cu_module;
typedef void *headrace_cu_function;

enum {
    HEADRACE_CU_SUCCESS = 0,
    HEADRACE_CU_OUT_OF_MEMORY = 2,
    HEADRACE_CU_NOT_READY = 600,
    HEADRACE_CU_STREAM_NON_BLOCKING = 1,
    HEADRACE_CU_EVENT_BLOCKING_SYNC = 1,
    HEADRACE_CU_EVENT_DISABLE_TIMING = 2,
    HEADRACE_CU_HOST_ALLOC_PORTABLE = 1,
};

/// Each entry point: its field, the symbol, its parameters.
#define HEADRACE_CU_CALLS(CALL) \
    CALL(init, "cuInit", (unsigned flags)) \
    CALL(error_name, "cuGetErrorName", (headrace_cu_result result, const char **text)) \
    CALL(error_string, "cuGetErrorString", (headrace_cu_result result, const char **text)) \
    CALL(device_count, "cuDeviceGetCount", (int *count)) \
    CALL(device, "cuDeviceGet", (headrace_cu_device * device, int ordinal)) \
    CALL(retain_context, "cuDevicePrimaryCtxRetain", \
         (headrace_cu_context * context, headrace_cu_device device)) \
    CALL(release_context, "cuDevicePrimaryCtxRelease_v2", (headrace_cu_device device)) \
    CALL(push_context, "cuCtxPushCurrent_v2", (headrace_cu_context context)) \
    CALL(pop_context, "cuCtxPopCurrent_v2", (headrace_cu_context * context)) \
    CALL(host_alloc, "cuMemHostAlloc", (void **address, size_t bytes, unsigned flags)) \
    CALL(host_free, "cuMemFreeHost", (void *address)) \
    CALL(device_alloc, "cuMemAlloc_v2", (headrace_cu_address * address, size_t bytes)) \
    CALL(device_free, "cuMemFree_v2", (headrace_cu_address address)) \
    CALL(copy_to_device, "cuMemcpyHtoDAsync_v2", \
         (headrace_cu_address to, const void *from, size_t bytes, headrace_cu_stream stream)) \
    CALL(copy_to_host, "cuMemcpyDtoH_v2", (void *to, headrace_cu_address from, size_t bytes)) \
    CALL(stream_create, "cuStreamCreate", (headrace_cu_stream * stream, unsigned flags)) \
    CALL(stream_synchronize, "cuStreamSynchronize", (headrace_cu_stream stream)) \
    CALL(stream_wait, "cuStreamWaitEvent", \
         (headrace_cu_stream stream, headrace_cu_event event, unsigned flags)) \
    CALL(stream_destroy, "cuStreamDestroy_v2", (headrace_cu_stream stream)) \
    CALL(event_create, "cuEventCreate", (headrace_cu_event * event, unsigned flags)) \
    CALL(event_record, "cuEventRecord", (headrace_cu_event event, headrace_cu_stream stream)) \
    CALL(event_query, "cuEventQuery", (headrace_cu_event event)) \
    CALL(event_synchronize, "cuEventSynchronize", (headrace_cu_event event)) \
    CALL(event_destroy, "cuEventDestroy_v2", (headrace_cu_event event)) \
    CALL(module_load, "cuModuleLoadData", (headrace_cu_module * module, const void *image)) \
    CALL(module_function, "cuModuleGetFunction", \
         (headrace_cu_function * function, headrace_cu_module module, const char *name)) \
    CALL(module_unload, "cuModuleUnload", (headrace_cu_module module)) \
    CALL(launch, "cuLaunchKernel", \
         (headrace_cu_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, \
          unsigned block_y, unsigned block_z, unsigned shared_bytes, headrace_cu_stream stream, \
          void **parameters, void **extra))

#define HEADRACE_CU_FIELD(field, symbol, parameters) headrace_cu_result (*_Nonnull field) parameters;

struct headrace_cu_driver {
    HEADRACE_CU_CALLS(HEADRACE_CU_FIELD)
};

/// Opens the library and finds every call: 0; or -1 where it cannot be opened, or 1 where it lacks a call, with the
/// loader's words or the call's name in `text`. A library once opened stays: the driver cannot be unloaded.
int headrace_cu_open(const char *path, struct headrace_cu_driver *driver, char *text, size_t text_bytes);

/// `cuLaunchKernel` in one dimension, for parameters that lie one after the other in memory.
headrace_cu_result headrace_cu_launch(
    const struct headrace_cu_driver *driver, headrace_cu_function function, unsigned blocks, unsigned threads,
    headrace_cu_stream stream, void *parameters, const size_t *offsets, size_t count);

#pragma clang diagnostic pop

#endif
