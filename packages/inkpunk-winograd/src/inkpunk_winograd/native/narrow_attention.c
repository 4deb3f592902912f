/* What attention.c does, with products of bfloat16: softmax(query key^T scale) value in one pass over the keys, sums and
 * softmax in float32. narrow_attention.py calls this.
 *
 * Keys and values are rounded, and brought, once, into the tiles in which they are multiplied. Then each task takes
 * STRIPS x STRIP queries of a head and walks through its keys, BLOCK at a time. What is multiplied is [keys][channels]
 * by [channels][queries], and [channels][keys] by [keys][queries]: queries lie side by side in the lanes of vectors, so
 * that a maximum or a sum over keys never crosses lanes, and weights are where the second product takes them.
 */

#include <immintrin.h>

#include "lanes.h"
#include "team.h"

#define STRIP (2 * LANES) /* queries that are multiplied at a time, and keys, and channels of the result */
#define STRIPS 4          /* of queries, that a task takes */
#define BLOCK 256         /* keys: a multiple of STRIP */
#define TILE (LANES * 32) /* numbers of bfloat16 in a tile: LANES rows of 32 */
#define LOG2_E 1.44269504f

typedef unsigned short Half;

INLINE Int ceil_to(Int a, Int b) { return ceil_div(a, b) * b; }

/* narrow_attention.py has the same struct. */
typedef struct {
    const void *query, *key, *value; /* [batch, tokens or context, heads, width], the last contiguous */
    void *result;                    /* [batch, tokens, heads, width] */
    Half *keys;                      /* [batch, heads, context / LANES][width / 32] tiles, [key][channel] */
    Half *values;                    /* [batch, heads, context / 32][width / LANES] tiles, [channel][key] */
    float *own;                      /* for each thread */
    float scale;
    Int batch, heads, tokens, context, width;
    Int query_strides[3], key_strides[3], value_strides[3]; /* of batch, token and head, in numbers */
    Int narrow; /* all is bfloat16, else float32 */
    Int tiles;  /* by tiles (AMX), which the process must be allowed; else by vectors (AVX512_BF16) */
    Team team;
} Work;

/* Both are padded by zeros to whole strips. */
INLINE Int wide(const Work *w) { return ceil_to(w->width, STRIP); }
INLINE Int long_(const Work *w) { return ceil_to(w->context, STRIP); }

INLINE const char *at(const Work *w, const void *p, const Int *strides, Int image, Int token, Int head) {
    return (const char *)p + (image * strides[0] + token * strides[1] + head * strides[2]) * (w->narrow ? 2 : 4);
}

/* 32 channels, from c on, of what p is at, rounded; zeros past the last. */
INLINE __m512i rounded(const Work *w, const char *p, Int c) {
    const Int rest = least(w->width - c, 32);
    if (rest <= 0) return _mm512_setzero_si512();
    if (w->narrow) {
        const __mmask32 there = rest == 32 ? ~0u : (1u << rest) - 1;
        return _mm512_maskz_loadu_epi16(there, p + c * 2);
    }
    const __mmask16 low = rest >= LANES ? 0xffff : (1u << rest) - 1;
    const __mmask16 high = rest >= 32 ? 0xffff : rest > LANES ? (1u << (rest - LANES)) - 1 : 0;
    const float *from = (const float *)p + c;
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, from + LANES), _mm512_maskz_loadu_ps(low, from));
}

/* 2^x for x <= 0, within 1e-4 of itself, far less than what rounding to bfloat16 loses; as good as none where it is below
 * 2^-120; what is no number stays none. */
INLINE __m512 exp2_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-120.0f), x);
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole); /* -1/2 to 1/2 */
    __m512 p = _mm512_fmadd_ps(f, _mm512_set1_ps(5.5171660e-2f), _mm512_set1_ps(2.4261112e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9326099e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992807e-1f));
    return _mm512_scalef_ps(p, whole);
}

/* -- Products ------------------------------------------------------------------------------------------------------ */

/* Tiles that are multiplied: `steps` of two rows of tiles on the left, from `step` to step, and of two columns on the
 * right, which lie one after the other. */
typedef struct {
    const Half *upper, *lower, *left, *right;
    Int left_step, right_step, steps;
} Factors;

/* sums [STRIP][STRIP] (+)= left times right. */
__attribute__((target("amx-tile,amx-bf16"))) static void multiply_by_tiles(Factors f, float *sums, int first) {
    const Int row = STRIP * sizeof(float);
    float *below = sums + LANES * STRIP;
    if (first) {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    } else {
        _tile_loadd(0, sums, row); _tile_loadd(1, sums + LANES, row);
        _tile_loadd(2, below, row); _tile_loadd(3, below + LANES, row);
    }
    for (Int i = 0; i < f.steps; i++) {
        _tile_loadd(4, f.upper + i * f.left_step, 64);
        _tile_loadd(6, f.left + i * f.right_step, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, f.right + i * f.right_step, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, f.lower + i * f.left_step, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, row); _tile_stored(1, sums + LANES, row);
    _tile_stored(2, below, row); _tile_stored(3, below + LANES, row);
}

/* The same by vectors, EIGHT rows at a time. */
#define EIGHT 8
static void multiply_by_vectors(Factors f, float *sums, int first) {
    for (Int k = 0; k < STRIP; k += EIGHT) {
        float *to = sums + k * STRIP;
        __m512 sum[EIGHT][2];
        for (int i = 0; i < EIGHT; i++)
            for (int half = 0; half < 2; half++)
                sum[i][half] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(to + i * STRIP + half * LANES);
        for (Int step = 0; step < f.steps; step++) {
            const Half *rows = (k < LANES ? f.upper : f.lower) + step * f.left_step + k % LANES * 32;
            const Half *left = f.left + step * f.right_step, *right = f.right + step * f.right_step;
            for (Int of = 0; of < LANES; of++) {
                const __m512bh a = (__m512bh)_mm512_loadu_ps(left + of * 32);
                const __m512bh b = (__m512bh)_mm512_loadu_ps(right + of * 32);
                for (int i = 0; i < EIGHT; i++) {
                    int each;
                    memcpy(&each, rows + i * 32 + 2 * of, sizeof each);
                    const __m512bh pair = (__m512bh)_mm512_set1_epi32(each);
                    sum[i][0] = _mm512_dpbf16_ps(sum[i][0], pair, a);
                    sum[i][1] = _mm512_dpbf16_ps(sum[i][1], pair, b);
                }
            }
        }
        for (int i = 0; i < EIGHT; i++)
            for (int half = 0; half < 2; half++) _mm512_storeu_ps(to + i * STRIP + half * LANES, sum[i][half]);
    }
}

#define FEW 64 /* channels: those of STRIP queries are four tiles, which stay in registers for all keys */
/* scores [count][STRIP] of `count` keys of FEW channels, LANES at a time. */
__attribute__((target("amx-tile,amx-bf16"))) static void score_few(const Half *keys, const Half *queries, float *scores,
                                                                   Int count) {
    const Int row = STRIP * sizeof(float);
    _tile_loadd(4, queries, 64); _tile_loadd(5, queries + TILE, 64);
    _tile_loadd(6, queries + 2 * TILE, 64); _tile_loadd(7, queries + 3 * TILE, 64);
    for (Int key = 0; key < count; key += LANES, keys += 2 * TILE, scores += LANES * STRIP) {
        _tile_zero(0); _tile_zero(1);
        _tile_loadd(2, keys, 64);
        _tile_dpbf16ps(0, 2, 4);
        _tile_dpbf16ps(1, 2, 6);
        _tile_loadd(3, keys + TILE, 64);
        _tile_dpbf16ps(0, 3, 5);
        _tile_dpbf16ps(1, 3, 7);
        _tile_stored(0, scores, row); _tile_stored(1, scores + LANES, row);
    }
}

INLINE void multiply(Factors f, float *sums, int first, int tiles) {
    (tiles ? multiply_by_tiles : multiply_by_vectors)(f, sums, first);
}

/* -- Packing ------------------------------------------------------------------------------------------------------- */

INLINE Half *keys_of(const Work *w, Int image, Int head) {
    return w->keys + (image * w->heads + head) * long_(w) * wide(w);
}
INLINE Half *values_of(const Work *w, Int image, Int head) {
    return w->values + (image * w->heads + head) * long_(w) * wide(w);
}

/* Pack 32 keys and values of a head, from `first` on. */
static void pack(const Work *w, Int image, Int head, Int first) {
    Half *keys = keys_of(w, image, head) + first * wide(w), *values = values_of(w, image, head) + first * wide(w);
    for (Int c = 0; c < wide(w); c += 32) {
        vec even[LANES], odd[LANES]; /* pairs of channels, of keys 2i and of keys 2i + 1 */
        for (Int i = 0; i < 32; i++) {
            const Int there = first + i < w->context, token = there ? first + i : 0;
            const __m512i key = rounded(w, at(w, w->key, w->key_strides, image, token, head), there ? c : w->width);
            const __m512i value = rounded(w, at(w, w->value, w->value_strides, image, token, head), there ? c : w->width);
            _mm512_storeu_si512(keys + i / LANES * LANES * wide(w) + c / 32 * TILE + i % LANES * 32, key);
            (i % 2 ? odd : even)[i / 2] = (vec)value;
        }
        transpose(even); /* now [pair of channels][key] */
        transpose(odd);
        for (int pair = 0; pair < LANES; pair++) {
            const __m512i a = (__m512i)even[pair], b = (__m512i)odd[pair]; /* two channels each */
            const __m512i low = _mm512_set1_epi32(0xffff);
            const __m512i first_of = _mm512_or_si512(_mm512_and_si512(a, low), _mm512_slli_epi32(b, 16));
            const __m512i second_of = _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_andnot_si512(low, b));
            Half *to = values + (c / LANES + pair / 8) * TILE + pair % 8 * 64;
            _mm512_storeu_si512(to, first_of);
            _mm512_storeu_si512(to + 32, second_of);
        }
    }
}

/* Pack LANES queries of a head, from `first` on, to [width / 32] tiles, [pair of channels][query]. */
static void pack_queries(const Work *w, Int image, Int head, Int first, Half *queries) {
    for (Int c = 0; c < wide(w); c += 32) {
        vec lanes[LANES];
        for (Int i = 0; i < LANES; i++) {
            const Int there = first + i < w->tokens;
            const char *query = at(w, w->query, w->query_strides, image, there ? first + i : 0, head);
            lanes[i] = (vec)rounded(w, query, there ? c : w->width);
        }
        transpose(lanes);
        for (int i = 0; i < LANES; i++) store((float *)(queries + c / 32 * TILE + i * 32), lanes[i]);
    }
}

/* -- Attention ----------------------------------------------------------------------------------------------------- */

/* What a strip of queries knows so far: the highest score of each, the sum of its weights, and of weighted values. */
typedef struct {
    __m512 most[2], total[2];
} Known;

/* What a thread works in. */
typedef struct {
    Half *queries; /* [STRIPS][2][width / 32] tiles */
    Half *weights; /* [BLOCK / 32][2] tiles, [pair of keys][query] */
    float *scores; /* [BLOCK][STRIP] */
    float *sums;   /* [STRIPS][width][STRIP] */
} Own;

INLINE Int own_numbers(const Work *w) {
    return STRIPS * STRIP * wide(w) / 2 + BLOCK * STRIP / 2 + BLOCK * STRIP + STRIPS * STRIP * wide(w);
}
INLINE Own own_of(const Work *w, Int thread) {
    float *own = w->own + thread * own_numbers(w);
    Half *queries = (Half *)own, *weights = queries + STRIPS * STRIP * wide(w);
    float *scores = (float *)(weights + BLOCK * STRIP);
    return (Own){queries, weights, scores, scores + BLOCK * STRIP};
}

INLINE void attend_block(const Work *w, Own own, Int strip, const Half *keys, const Half *values, Int count,
                         Known *known, int tiles) {
    const Int all = ceil_to(count, STRIP), to_tiles = wide(w) / 32 * TILE;
    const Half *queries = own.queries + strip * 2 * to_tiles;
    float *sums = own.sums + strip * STRIP * wide(w);
    const __m512 scale = _mm512_set1_ps(w->scale * LOG2_E);
    __m512 most[2] = {known->most[0], known->most[1]}, fade[2], total[2];
    if (tiles && wide(w) == FEW) {
        score_few(keys, queries, own.scores, all);
    } else {
        for (Int key = 0; key < all; key += STRIP) {
            const Half *upper = keys + key * wide(w), *lower = upper + to_tiles;
            const Factors f = {upper, lower, queries, queries + to_tiles, TILE, TILE, wide(w) / 32};
            multiply(f, own.scores + key * STRIP, 1, tiles);
        }
    }
    for (Int key = 0; key < count; key++)
        for (int half = 0; half < 2; half++)
            most[half] = _mm512_max_ps(_mm512_loadu_ps(own.scores + key * STRIP + half * LANES), most[half]);
    for (int half = 0; half < 2; half++) {
        const __m512 scaled = _mm512_mul_ps(most[half], scale);
        const __mmask16 same = _mm512_cmpeq_ps_mask(known->most[half], most[half]); /* then exactly 1 */
        fade[half] = _mm512_mask_mov_ps(exp2_of(_mm512_fmsub_ps(known->most[half], scale, scaled)), same,
                                        _mm512_set1_ps(1.0f));
        total[half] = _mm512_mul_ps(known->total[half], fade[half]);
        /* [two rows of queries] to [query of one row, then of the other] */
        static const unsigned short turned[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                                  8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        const __m512i turn = _mm512_loadu_si512(turned);
        for (Int key = 0; key < all; key += 2) {
            const float *scores = own.scores + key * STRIP + half * LANES;
            __m512 a = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores), scale, scaled));
            __m512 b = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores + STRIP), scale, scaled));
            if (key + 2 > count) { /* keys past the last weigh nothing */
                if (key >= count) a = _mm512_setzero_ps();
                b = _mm512_setzero_ps();
            }
            total[half] = _mm512_add_ps(total[half], _mm512_add_ps(a, b));
            const __m512i pair = _mm512_permutexvar_epi16(turn, (__m512i)_mm512_cvtne2ps_pbh(b, a));
            _mm512_storeu_si512(own.weights + (key / 32 * 2 + half) * TILE + key % 32 / 2 * 32, pair);
        }
        known->most[half] = most[half], known->total[half] = total[half];
    }
    const __m512 one = _mm512_set1_ps(1.0f);
    const int fades = _mm512_cmpneq_ps_mask(fade[0], one) | _mm512_cmpneq_ps_mask(fade[1], one);
    for (Int d = 0; d < wide(w); d += STRIP) {
        float *to = sums + d * STRIP;
        for (Int i = 0; fades && i < STRIP; i++)
            for (int half = 0; half < 2; half++) {
                float *some = to + i * STRIP + half * LANES;
                _mm512_storeu_ps(some, _mm512_mul_ps(_mm512_loadu_ps(some), fade[half]));
            }
        const Half *upper = values + d / LANES * TILE;
        multiply((Factors){upper, upper + TILE, own.weights, own.weights + TILE, wide(w) / LANES * TILE, 2 * TILE,
                           all / STRIP},
                 to, 0, tiles);
    }
}

/* Give LANES queries, from `first` on: sums are [width][STRIP]. */
INLINE void give(const Work *w, Int image, Int head, Int first, const float *sums, __m512 total) {
    const __m512 share = _mm512_div_ps(_mm512_set1_ps(1.0f), total);
    for (Int d = 0; d < w->width; d += LANES) {
        vec lanes[LANES];
        for (int i = 0; i < LANES; i++) lanes[i] = load(sums + (d + i) * STRIP) * (vec)share;
        transpose(lanes);
        const __mmask16 there = w->width - d >= LANES ? 0xffff : (1u << (w->width - d)) - 1;
        for (Int i = 0; i < least(w->tokens - first, LANES); i++) {
            const Int place = ((image * w->tokens + first + i) * w->heads + head) * w->width + d;
            if (w->narrow)
                _mm256_mask_storeu_epi16((Half *)w->result + place, there, (__m256i)_mm512_cvtneps_pbh((__m512)lanes[i]));
            else
                _mm512_mask_storeu_ps((float *)w->result + place, there, (__m512)lanes[i]);
        }
    }
}

INLINE void attend(const Work *w, Own own, Int image, Int head, Int first, int tiles) {
    const Int strips = ceil_div(least(w->tokens - first, STRIPS * STRIP), STRIP);
    Known known[STRIPS];
    memset(own.sums, 0, strips * STRIP * wide(w) * sizeof(float));
    for (Int half = 0; half < 2 * strips; half++) {
        pack_queries(w, image, head, first + half * LANES, own.queries + half * LANES * wide(w));
        known[half / 2].most[half % 2] = _mm512_set1_ps(-__builtin_inff());
        known[half / 2].total[half % 2] = _mm512_setzero_ps();
    }
    for (Int block = 0; block < w->context; block += BLOCK)
        for (Int strip = 0; strip < strips; strip++)
            attend_block(w, own, strip, keys_of(w, image, head) + block * wide(w),
                         values_of(w, image, head) + block * wide(w), least(w->context - block, BLOCK), known + strip,
                         tiles);
    for (Int half = 0; half < 2 * strips; half++)
        if (first + half * LANES < w->tokens)
            give(w, image, head, first + half * LANES, own.sums + half / 2 * STRIP * wide(w) + half % 2 * LANES,
                 known[half / 2].total[half % 2]);
}

/* -- All of it ----------------------------------------------------------------------------------------------------- */

/* Work, and the next of its tasks. */
typedef struct {
    const Work *work;
    Int next;
} Tasks;

static void pack_all(void *data, Int thread) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int packs = long_(w) / 32, all = w->batch * w->heads * packs;
    (void)thread;
    for (Int i; (i = take(&tasks->next, 1)) < all;)
        pack(w, i / packs / w->heads, i / packs % w->heads, i % packs * 32);
}

INLINE void attend_all(void *data, Int thread, int tiles) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int parts = ceil_div(w->tokens, STRIPS * STRIP), all = w->batch * w->heads * parts;
    for (Int i; (i = take(&tasks->next, 1)) < all;)
        attend(w, own_of(w, thread), i / parts / w->heads, i / parts % w->heads, i % parts * STRIPS * STRIP, tiles);
}

static void attend_by_vectors(void *data, Int thread) { attend_all(data, thread, 0); }

__attribute__((target("amx-tile"))) static void attend_by_tiles(void *data, Int thread) {
    struct {
        unsigned char palette, start, none[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
    _tile_loadconfig(&shape);
    attend_all(data, thread, 1);
    _tile_release();
}

/* Bytes that are needed from `own` on. */
EXPORT Int inkpunk_narrow_attention_room(const Work *w) {
    return w->team.threads * own_numbers(w) * sizeof(float) +
           2 * w->batch * w->heads * long_(w) * wide(w) * (Int)sizeof(Half);
}

EXPORT void inkpunk_narrow_attention_run(Work *w) {
    w->keys = (Half *)(w->own + w->team.threads * own_numbers(w));
    w->values = w->keys + w->batch * w->heads * long_(w) * wide(w);
    together(&w->team, pack_all, &(Tasks){w, 0});
    together(&w->team, w->tiles ? attend_by_tiles : attend_by_vectors, &(Tasks){w, 0});
}
