#ifndef HEADRACE_RING_H
#define HEADRACE_RING_H
#endif
