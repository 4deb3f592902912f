/* softmax(query key^T scale) value in one pass over the keys, for every head: Dao et al., arXiv 2205.14135, algorithm 1,
 * and Milakov and Gimelshein, arXiv 1805.02867, for the softmax whose maximum is learnt on the way.
 *
 * Queries lie side by side in the lanes of vectors, so that a maximum or a sum over keys never crosses lanes, and heads
 * of any width waste nothing. Keys are brought, once, into the order in which they are multiplied, which all threads
 * share. Then each task takes GROUPS x QUERIES queries of a head and walks through its keys, BLOCK at a time: their
 * scores stay in the first cache, and the keys and values that all groups meet in the second.
 */

#include "exponent.h"
#include "lanes.h"
#include "team.h"

/* As many sums as the registers hold beside what meets them. */
#if LANES == 16
#define KEYS 12 /* whose scores are summed at a time */
#define SUMS 10 /* channels of the result that are summed at a time: a divisor of 40, 80 and 160 */
#else
#define KEYS 6
#define SUMS 5
#endif

#define QUERIES (2 * LANES)
#define GROUPS (128 / QUERIES) /* of queries, that a task takes */
#define BLOCK 144              /* keys: a multiple of KEYS */
#define PACKS 16               /* of KEYS keys, that a thread packs at a time */
#define LOG2_E 1.44269504f

typedef vec pair[2]; /* a number for each of QUERIES */

INLINE Int ceil_to(Int a, Int b) { return ceil_div(a, b) * b; }

/* attention.py has the same struct. */
typedef struct {
    const float *query, *key, *value;           /* [batch, tokens or context, heads, width], the last contiguous */
    float *result;                              /* [batch, tokens, heads, width] */
    float *keys;                                /* [batch, heads, context / KEYS][width][KEYS] */
    float scale;
    Int batch, heads, tokens, context, width;
    Int query_strides[3], key_strides[3], value_strides[3]; /* of batch, token and head, in numbers */
    Team team;
} Work;

/* Bring KEYS keys of a head, from the one that is `first` on, to [width][KEYS]; past the last lies anything. */
INLINE void pack(const Work *w, Int image, Int head, Int first, float *keys) {
    const float *key = w->key + image * w->key_strides[0] + first * w->key_strides[1] + head * w->key_strides[2];
    for (Int i = 0; i < least(w->context - first, KEYS); i++)
        for (Int d = 0; d < w->width; d++) keys[d * KEYS + i] = key[i * w->key_strides[1] + d];
}

/* scores [KEYS]: queries [width] times keys [width][KEYS]; `most` grows with the first `count` of them. */
INLINE void score(const pair *queries, const float *keys, pair *scores, vec *most, Int count, Int width) {
    pair sum[KEYS] = {0};
    for (Int d = 0; d < width; d++)
        for (int key = 0; key < KEYS; key++) {
            const float each = keys[d * KEYS + key];
            sum[key][0] += each * queries[d][0];
            sum[key][1] += each * queries[d][1];
        }
    for (int key = 0; key < KEYS; key++)
        for (int half = 0; half < 2; half++) {
            scores[key][half] = sum[key][half];
            if (key < count) most[half] = larger(sum[key][half], most[half]);
        }
}

/* sums [n]: sums * fade + weights [count] times n channels of values [count]. */
INLINE void gather(int n, const pair *weights, const float *values, Int stride, pair *sums, const vec *fade,
                   Int count) {
    pair sum[SUMS];
    for (int i = 0; i < n; i++)
        for (int half = 0; half < 2; half++) sum[i][half] = sums[i][half] * fade[half];
    for (Int key = 0; key < count; key++)
        for (int i = 0; i < n; i++) {
            const float each = values[key * stride + i];
            sum[i][0] += each * weights[key][0];
            sum[i][1] += each * weights[key][1];
        }
    for (int i = 0; i < n; i++)
        for (int half = 0; half < 2; half++) sums[i][half] = sum[i][half];
}

/* What a group of queries knows so far: the highest score of each, the sum of its weights, and of weighted values. */
typedef struct {
    pair most, total;
} Known;

static void attend_block(const Work *w, const pair *queries, const float *keys, const float *values, Int count,
                         Known *known, pair *sums) {
    pair scores[BLOCK], fade;
    pair most = {known->most[0], known->most[1]};
    Int key = 0;
    for (; key + KEYS <= count; key += KEYS)
        score(queries, keys + key * w->width, scores + key, most, KEYS, w->width);
    if (key < count) score(queries, keys + key * w->width, scores + key, most, count - key, w->width);
    for (int half = 0; half < 2; half++) {
        vec all = {0};
        for (Int key = 0; key < count; key++) {
            scores[key][half] = exp2_of(scores[key][half] - most[half]);
            all += scores[key][half];
        }
        fade[half] = exp2_of(known->most[half] - most[half]);
        known->total[half] = known->total[half] * fade[half] + all;
        known->most[half] = most[half];
    }
    const Int stride = w->value_strides[1];
    Int d = 0;
    for (; d + SUMS <= w->width; d += SUMS) gather(SUMS, scores, values + d, stride, sums + d, fade, count);
    for (; d + 2 <= w->width; d += 2) gather(2, scores, values + d, stride, sums + d, fade, count);
    for (; d < w->width; d++) gather(1, scores, values + d, stride, sums + d, fade, count);
}

static void attend(const Work *w, Int image, Int head, Int first) {
    const float *keys = w->keys + (image * w->heads + head) * ceil_to(w->context, KEYS) * w->width;
    const float *values = w->value + image * w->value_strides[0] + head * w->value_strides[2];
    const float *from = w->query + image * w->query_strides[0] + first * w->query_strides[1] + head * w->query_strides[2];
    float *to = w->result + ((image * w->tokens + first) * w->heads + head) * w->width;
    const Int count = least(w->tokens - first, GROUPS * QUERIES), groups = ceil_to(count, QUERIES) / QUERIES;
    pair queries[GROUPS * w->width], sums[GROUPS * w->width];
    Known known[GROUPS];
    memset(queries, 0, sizeof queries);
    memset(sums, 0, sizeof sums);
    for (int i = 0; i < GROUPS; i++)
        for (int half = 0; half < 2; half++) known[i].most[half] = (vec){0} - __builtin_inff(), known[i].total[half] = (vec){0};
    for (Int i = 0; i < count; i++) {
        float *lane = (float *)(queries + i / QUERIES * w->width) + i % QUERIES;
        for (Int d = 0; d < w->width; d++) lane[d * QUERIES] = from[i * w->query_strides[1] + d] * (w->scale * LOG2_E);
    }
    for (Int block = 0; block < w->context; block += BLOCK)
        for (Int group = 0; group < groups; group++)
            attend_block(w, queries + group * w->width, keys + block * w->width, values + block * w->value_strides[1],
                         least(w->context - block, BLOCK), known + group, sums + group * w->width);
    for (Int i = 0; i < count; i++) {
        const float *lane = (float *)(sums + i / QUERIES * w->width) + i % QUERIES;
        const float total = ((float *)known[i / QUERIES].total)[i % QUERIES];
        for (Int d = 0; d < w->width; d++) to[i * w->heads * w->width + d] = lane[d * QUERIES] / total;
    }
}

/* Numbers that `keys` needs room for. */
EXPORT Int inkpunk_attention_room(const Work *w) {
    return w->batch * w->heads * ceil_to(w->context, KEYS) * w->width;
}

/* Work, and the next of its tasks. */
typedef struct {
    const Work *work;
    Int next;
} Tasks;

static void pack_all(void *data, Int thread) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int packs = ceil_div(w->context, KEYS), all = w->batch * w->heads * packs;
    (void)thread;
    for (Int from; (from = take(&tasks->next, PACKS)) < all;)
        for (Int i = from; i < least(from + PACKS, all); i++) {
            const Int head = i / packs, key = i % packs * KEYS;
            pack(w, head / w->heads, head % w->heads, key, w->keys + (head * packs * KEYS + key) * w->width);
        }
}

static void attend_all(void *data, Int thread) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int parts = ceil_div(w->tokens, GROUPS * QUERIES), all = w->batch * w->heads * parts;
    (void)thread;
    for (Int i; (i = take(&tasks->next, 1)) < all;)
        attend(w, i / parts / w->heads, i / parts % w->heads, i % parts * GROUPS * QUERIES);
}

EXPORT void inkpunk_attention_run(const Work *w) {
    together(&w->team, pack_all, &(Tasks){w, 0});
    together(&w->team, attend_all, &(Tasks){w, 0});
}
