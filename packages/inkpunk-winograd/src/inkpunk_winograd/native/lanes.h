#pragma once

/* Vectors of as many float32 numbers as a register holds. */

#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float vec_in_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *p) { return *(const vec_in_memory *)p; }
INLINE void store(float *p, vec v) { *(vec_in_memory *)p = v; }

/* Transpose LANES x LANES numbers: rows s apart swap the squares off their diagonal, for s of 1, 2, 4, ... */
#if LANES == 16
#define EACH_LANE(f, s)                                                                                            \
    f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s), f(8, s), f(9, s), f(10, s), f(11, s), \
        f(12, s), f(13, s), f(14, s), f(15, s)
#elif LANES == 8
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s), f(4, s), f(5, s), f(6, s), f(7, s)
#else
#define EACH_LANE(f, s) f(0, s), f(1, s), f(2, s), f(3, s)
#endif
#define UPPER(lane, s) ((lane) & (s) ? LANES + (lane) - (s) : (lane))
#define LOWER(lane, s) ((lane) & (s) ? LANES + (lane) : (lane) + (s))
#define SWAP(s)                                                                       \
    for (int i = 0; i < LANES; i++)                                                   \
        if (!(i & (s))) {                                                             \
            const vec a = rows[i], b = rows[i + (s)];                                 \
            rows[i] = __builtin_shufflevector(a, b, EACH_LANE(UPPER, s));             \
            rows[i + (s)] = __builtin_shufflevector(a, b, EACH_LANE(LOWER, s));       \
        }

INLINE void transpose(vec *rows) {
    SWAP(1)
    SWAP(2)
#if LANES > 4
    SWAP(4)
#endif
#if LANES > 8
    SWAP(8)
#endif
}
