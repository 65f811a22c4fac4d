#ifndef HEADRACE_DLPACK_H
#define HEADRACE_DLPACK_H

#include <stdint.h>

// The binary interface of DLPack 1.0 (https://dmlc.github.io/dlpack/latest/c_api.html), in our own words: a consumer
// in any language reads these structures as they lie in memory, so no field may move.

enum {
    HEADRACE_DL_MAJOR_VERSION = 1,
    HEADRACE_DL_MINOR_VERSION = 0,
};

enum {
    HEADRACE_DL_CPU = 1,
    HEADRACE_DL_CUDA = 2,
};

enum {
    HEADRACE_DL_INT = 0,
    HEADRACE_DL_UINT = 1,
    HEADRACE_DL_FLOAT = 2,
    HEADRACE_DL_BFLOAT = 4,
    HEADRACE_DL_COMPLEX = 5,
    HEADRACE_DL_BOOL = 6,
};

/// The consumer must not write to the elements.
#define HEADRACE_DL_READ_ONLY UINT64_C(1)

struct headrace_dl_tensor {
    /// Null where there are no elements.
    void *data;
    int32_t device_type;
    int32_t device_id;
    int32_t ndim;
    uint8_t code;
    uint8_t bits;
    uint16_t lanes;
    int64_t *shape;
    /// In elements.
    int64_t *strides;
    uint64_t byte_offset;
};

/// What "dltensor" capsules hold.
struct headrace_dl_managed {
    struct headrace_dl_tensor tensor;
    void *manager;
    void (*deleter)(struct headrace_dl_managed *self);
};

/// What "dltensor_versioned" capsules hold.
struct headrace_dl_versioned {
    uint32_t major;
    uint32_t minor;
    void *manager;
    void (*deleter)(struct headrace_dl_versioned *self);
    uint64_t flags;
    struct headrace_dl_tensor tensor;
};

_Static_assert(sizeof(struct headrace_dl_tensor) == 48, "the layout of DLTensor");
_Static_assert(sizeof(struct headrace_dl_managed) == 64, "the layout of DLManagedTensor");
_Static_assert(sizeof(struct headrace_dl_versioned) == 80, "the layout of DLManagedTensorVersioned");

#endif
