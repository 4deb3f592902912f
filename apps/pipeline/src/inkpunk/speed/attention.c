/* softmax(query key^T scale) value in one pass over the keys, for every head: Dao et al., arXiv 2205.14135, algorithm 1,
 * and Milakov and Gimelshein, arXiv 1805.02867, for the softmax whose maximum is learnt on the way.
 *
 * Keys are transposed and values padded once, to `keys` and `values`, which all threads share. Then each task takes
 * QUERIES queries of a head and walks through its keys, KEYS at a time: products, exponentials and sums of ROWS
 * queries stay in the first cache while the keys stay in the second.
 */

#include <math.h>
#include <omp.h>
#include <string.h>

/* As many rows of sums as the registers hold beside what meets them. */
#if defined(__AVX512F__)
#define LANES 16
#define ROWS 8
#define WIDE 3 /* vectors of values that are summed at a time */
#elif defined(__AVX__)
#define LANES 8
#define ROWS 6
#define WIDE 2
#else
#define LANES 4
#define ROWS 8
#define WIDE 2
#endif

#define PANEL (2 * LANES)   /* keys that are multiplied at a time */
#define KEYS 512            /* of a block: a multiple of PANEL */
#define QUERIES (16 * ROWS) /* of a task */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef float vec_in_memory __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const float *p) { return *(const vec_in_memory *)p; }
INLINE void store(float *p, vec v) { *(vec_in_memory *)p = v; }
INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long ceil_to(long a, long b) { return (a + b - 1) / b * b; }

/* attention.py has the same struct. */
typedef struct {
    const float *query, *key, *value;           /* [batch, tokens or context, heads, width], the last contiguous */
    float *result;                              /* [batch, tokens, heads, width] */
    float *keys;                                /* [batch, heads, context / PANEL][width][PANEL] */
    float *values;                              /* [batch, heads, context, in multiples of PANEL][width, of LANES] */
    float scale;
    long batch, heads, tokens, context, width;
    long query_strides[3], key_strides[3], value_strides[3]; /* of batch, token and head, in numbers */
    long threads;
} Work;

/* 2^x for x <= 0, within a few roundings; 0 far below. Plain enough for the compiler to do many at a time. */
INLINE float exp2_of(float x) {
    const float magic = 12582912.0f; /* 1.5 x 2^23: adding it rounds to a whole number, in the low bits */
    const float shifted = (x < -126.0f ? -126.0f : x) + magic;
    const float f = (x < -126.0f ? -126.0f : x) - (shifted - magic); /* -1/2 to 1/2 */
    /* the Taylor series of 2^f: its remainder is below 2e-8 */
    float p = f * 1.5403530e-4f + 1.3333558e-3f;
    p = p * f + 9.6181291e-3f;
    p = p * f + 5.5504109e-2f;
    p = p * f + 2.4022651e-1f;
    p = p * f + 6.9314718e-1f;
    p = p * f + 1.0f;
    int whole, bits;
    memcpy(&whole, &shifted, sizeof whole);
    memcpy(&bits, &p, sizeof bits);
    bits += (int)((unsigned)whole << 23); /* on to the exponent */
    memcpy(&p, &bits, sizeof p);
    return x < -126.0f ? 0.0f : x == x ? p : x; /* a NaN stays one */
}

/* Bring one panel of a head's keys and values into the order that the products want; zeros past the last. */
INLINE void pack(const Work *w, long image, long head, long first, float *keys, float *values) {
    const long padded = ceil_to(w->width, LANES);
    for (long i = 0; i < PANEL; i++) {
        const long token = first + i;
        float *to = values + i * padded;
        if (token >= w->context) {
            for (long d = 0; d < w->width; d++) keys[d * PANEL + i] = 0;
            memset(to, 0, padded * sizeof(float));
            continue;
        }
        const float *key = w->key + image * w->key_strides[0] + token * w->key_strides[1] + head * w->key_strides[2];
        for (long d = 0; d < w->width; d++) keys[d * PANEL + i] = key[d];
        const float *value =
            w->value + image * w->value_strides[0] + token * w->value_strides[1] + head * w->value_strides[2];
        memcpy(to, value, w->width * sizeof(float));
        memset(to + w->width, 0, (padded - w->width) * sizeof(float));
    }
}

/* scores [ROWS][KEYS], PANEL of them: queries [ROWS][width] times keys [width][PANEL]. */
static void score(const float *restrict queries, const float *restrict keys, float *restrict scores, long width) {
    vec sum[ROWS][2] = {0};
    for (long d = 0; d < width; d++) {
        const vec left = load(keys + d * PANEL), right = load(keys + d * PANEL + LANES);
        for (int row = 0; row < ROWS; row++) {
            const float each = queries[row * width + d];
            sum[row][0] += each * left;
            sum[row][1] += each * right;
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int half = 0; half < 2; half++) store(scores + row * KEYS + half * LANES, sum[row][half]);
}

/* sums [ROWS][padded], `wide` vectors of them: sums * fade + weights [ROWS][KEYS] times values [count][padded]. */
INLINE void gather(int wide, const float *restrict weights, const float *restrict values, float *restrict sums,
                   const float *fade, long count, long padded) {
    vec sum[ROWS][WIDE];
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < wide; i++) sum[row][i] = load(sums + row * padded + i * LANES) * fade[row];
    for (long key = 0; key < count; key++) {
        vec value[WIDE];
        for (int i = 0; i < wide; i++) value[i] = load(values + key * padded + i * LANES);
        for (int row = 0; row < ROWS; row++) {
            const float each = weights[row * KEYS + key];
            for (int i = 0; i < wide; i++) sum[row][i] += each * value[i];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < wide; i++) store(sums + row * padded + i * LANES, sum[row][i]);
}

/* Turn scores into weights: `most` and `total` are what is known of each row so far, `fade` what it shrinks by. */
INLINE void weigh(float *scores, long count, float *most, float *total, float *fade) {
    for (int row = 0; row < ROWS; row++) {
        float *some = scores + row * KEYS;
        float now = most[row], all = 0;
#pragma omp simd reduction(max : now)
        for (long i = 0; i < count; i++) now = some[i] > now ? some[i] : now;
#pragma omp simd reduction(+ : all)
        for (long i = 0; i < count; i++) all += some[i] = exp2_of(some[i] - now);
        fade[row] = exp2_of(most[row] - now);
        total[row] = total[row] * fade[row] + all;
        most[row] = now;
    }
}

static void attend(const Work *w, long image, long head, long first) {
    const long padded = ceil_to(w->width, LANES), context = ceil_to(w->context, PANEL);
    const float *keys = w->keys + (image * w->heads + head) * context * w->width;
    const float *values = w->values + (image * w->heads + head) * context * padded;
    const long count = least(w->tokens - first, QUERIES), rows = ceil_to(count, ROWS);
    float queries[QUERIES * w->width], sums[QUERIES * padded], scores[ROWS * KEYS];
    float most[QUERIES], total[QUERIES], fade[ROWS];
    memset(queries, 0, sizeof queries);
    memset(sums, 0, sizeof sums);
    for (long i = 0; i < QUERIES; i++) most[i] = -INFINITY, total[i] = 0;
    for (long i = 0; i < count; i++) {
        const float *query = w->query + image * w->query_strides[0] + (first + i) * w->query_strides[1] +
                             head * w->query_strides[2];
        for (long d = 0; d < w->width; d++) queries[i * w->width + d] = query[d] * (w->scale * 1.44269504f); /* log2 e */
    }
    for (long block = 0; block < w->context; block += KEYS) {
        const long some = least(w->context - block, KEYS);
        for (long row = 0; row < rows; row += ROWS) {
            for (long panel = 0; panel < some; panel += PANEL)
                score(queries + row * w->width, keys + (block + panel) * w->width, scores + panel, w->width);
            weigh(scores, some, most + row, total + row, fade);
            for (long d = 0; d < padded; d += WIDE * LANES) {
                const float *from = values + block * padded + d;
                float *to = sums + row * padded + d;
                if (padded - d >= WIDE * LANES)
                    gather(WIDE, scores, from, to, fade, some, padded);
                else if (padded - d >= 2 * LANES)
                    gather(2, scores, from, to, fade, some, padded);
                else
                    gather(1, scores, from, to, fade, some, padded);
            }
        }
    }
    for (long i = 0; i < count; i++) {
        float *to = w->result + ((image * w->tokens + first + i) * w->heads + head) * w->width;
        for (long d = 0; d < w->width; d++) to[d] = sums[i * padded + d] / total[i];
    }
}

/* Numbers that `keys` and `values` need room for together; the keys come first. */
long inkpunk_attention_room(const Work *w) {
    return w->batch * w->heads * ceil_to(w->context, PANEL) * (w->width + ceil_to(w->width, LANES));
}

/* Do it all, with room from `keys` on. */
void inkpunk_attention_run(Work *w) {
    const long context = ceil_to(w->context, PANEL), padded = ceil_to(w->width, LANES), heads = w->batch * w->heads;
    const long panels = context / PANEL, tasks = (w->tokens + QUERIES - 1) / QUERIES;
    w->values = w->keys + heads * context * w->width;
#pragma omp parallel num_threads(w->threads)
    {
#pragma omp for schedule(static)
        for (long i = 0; i < heads * panels; i++) {
            const long head = i / panels, panel = i % panels * PANEL;
            pack(w, head / w->heads, head % w->heads, panel, w->keys + (head * context + panel) * w->width,
                 w->values + (head * context + panel) * padded);
        }
#pragma omp for schedule(dynamic)
        for (long i = 0; i < heads * tasks; i++)
            attend(w, i / tasks / w->heads, i / tasks % w->heads, i % tasks * QUERIES);
    }
}
