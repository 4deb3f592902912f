#pragma once

/* Powers of two, lane by lane. */

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "lanes.h"

typedef int bits __attribute__((vector_size(4 * LANES)));

#if defined(__AVX512F__)
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX__)
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
#else
INLINE vec larger(vec a, vec b) { /* b where one is no number, as above */
    const bits is = a > b;
    return (vec)((is & (bits)a) | (~is & (bits)b));
}
#endif

/* 2^x for x <= 0, within 2e-7 of itself; 0 where it is below the least number; what is no number stays none. */
INLINE vec exp2_of(vec x) {
    const vec lowest = (vec){0} - 127.0f, magic = (vec){0} + (12582912.0f + 127.0f); /* 1.5 x 2^23 */
    x = larger(lowest, x);
    const vec shifted = x + magic; /* rounded to a whole number, in the low bits, on from the exponent of 1 */
    const vec f = x - (shifted - magic); /* -1/2 to 1/2 */
    /* 2^f, with the least error that this many terms have relative to it: 1e-7 */
    vec p = f * 1.3264727e-3f + 9.6715127e-3f;
    p = p * f + 5.5507337e-2f;
    p = p * f + 2.4022242e-1f;
    p = p * f + 6.9314698e-1f;
    p = p * f + 1.0f;
    return p * (vec)((bits)shifted << 23);
}
