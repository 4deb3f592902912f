/* The threads that kernels share their tasks among: those of torch's own OpenMP runtime, which team.py finds, so that a
 * library needs no runtime of its own, and no thread waits beside torch's. */

#include <stddef.h>

#include "lanes.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* All that is needed of the C library, and so none of the system's headers. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);

typedef ptrdiff_t Int; /* Windows' long has 32 bits */

INLINE Int least(Int a, Int b) { return a < b ? a : b; }
INLINE Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }

/* Where in a source a call stands: LLVM's ident_t, which is asked for and never looked at. */
typedef struct {
    int reserved, flags, more, size;
    const char *source;
} Place;

/* team.py has the same struct. At most one of `parallel` and `fork` is there; without, the caller does all alone. */
typedef struct {
    void (*parallel)(void (*body)(void *), void *data, unsigned threads, unsigned flags); /* GOMP_parallel */
    void (*fork)(const Place *, int count, void (*body)(int *, int *, ...), ...); /* __kmpc_fork_call */
    void (*ask)(const Place *, int self, int threads);                            /* __kmpc_push_num_threads */
    int (*self)(const Place *);                                                   /* __kmpc_global_thread_num */
    Int threads;
} Team;

typedef struct {
    void (*work)(void *data, Int thread);
    void *data;
    Int arrived;
} Call;

static void arrive(void *call) {
    Call *c = call;
    c->work(c->data, __atomic_fetch_add(&c->arrived, 1, __ATOMIC_RELAXED));
}

static void arrive_by_fork(int *self, int *member, void *call) {
    (void)self, (void)member;
    arrive(call);
}

/* Have `work` called by as many of the team's threads as come, each with a number below `threads`; wait for all. */
INLINE void together(const Team *team, void (*work)(void *data, Int thread), void *data) {
    static const Place place = {.flags = 2, .source = ";unknown;unknown;0;0;;"};
    Call call = {work, data, 0};
    if (team->threads > 1 && team->parallel) {
        team->parallel(arrive, &call, team->threads, 0);
    } else if (team->threads > 1 && team->fork) {
        team->ask(&place, team->self(&place), team->threads);
        team->fork(&place, 1, (void (*)(int *, int *, ...))arrive_by_fork, &call);
    } else {
        work(data, 0);
    }
}

/* The first of the next `count` tasks that nobody has taken. */
INLINE Int take(Int *next, Int count) { return __atomic_fetch_add(next, count, __ATOMIC_RELAXED); }
