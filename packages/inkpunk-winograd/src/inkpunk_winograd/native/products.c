/* Convolutions of 1 x 1 (so matrix products, too) and of 3 x 3, of pixels in float32 or bfloat16 and kernels in bfloat16
 * as they lie in a model: products of 16 bits, sums of 32. products.py beside it calls this.
 *
 * What is multiplied is [outs][channels] by [channels][pixels], so that the kernels are read where they are, and only
 * the pixels, which have to be rounded anyway, are brought into the order that the processor multiplies in: pairs of
 * channels, and for each pair all pixels as neighbours. A border of zeros lies around each picture, so that a tap of a
 * kernel is nothing but an offset. A block of pixels is packed by all threads, then each task takes OUT output channels
 * and GROUP strips of 2 x LANES pixels. Its kernels come from the second cache, DEPTH channels at a time from the first.
 */

#include <immintrin.h>

#include "lanes.h"
#include "team.h"

#define OUT 32            /* output channels of a task */
#define STRIP (2 * LANES) /* pixels that are multiplied at a time */
#define GROUP 16          /* strips of a task */
#define BLOCK (8 << 20)   /* bytes of packed pixels, unless two rows take more */
#define LEAST_ROWS 2
#define SUMS (OUT * STRIP)
#define TILE 16              /* rows of a tile, of 64 bytes each */
#define KERNELS (TILE * 32)  /* numbers in a tile of kernels */

typedef unsigned int Pair; /* of bfloat16 */
typedef unsigned short Half;
typedef int pairs __attribute__((vector_size(64)));

/* products.py has the same struct. */
typedef struct {
    const void *x;      /* [batch, height, width, channels], float32 or bfloat16 */
    const Half *weight; /* [out, side, side, channels], each output channel `weight_stride` after the one before */
    const float *bias;  /* [out], or NULL */
    void *result;       /* as x: [batch, height, width, out] */
    Pair *packed;       /* of a block, by the strides below */
    float *own;         /* for each thread, [GROUP][SUMS], and kernels: [depth / 32][taps][OUT / TILE][TILE][32] */
    Int batch, height, width, channels, out, side, weight_stride;
    Int depth;   /* channels that are multiplied at a time */
    Int doubled; /* 1: each pixel of x stands for 2 x 2, and x is half as high and wide as told; 0: for itself */
    Int narrow;  /* x and result are bfloat16 */
    Int tiles;   /* by tiles (AMX), which the process must be allowed; else by vectors (AVX512_BF16) */
    Int rows, images;  /* of a block: how many rows of how many pictures */
    Int to_pair, to_row, to_image; /* in `packed`: from a pair of channels to the next, and so on */
    Team team;
} Work;

/* Some rows of some pictures, and the next of its tasks. A strip's halves are LANES neighbours in a padded row. */
typedef struct {
    const Work *work;
    Int image, images, top, rows, next;
} Block;

INLINE Int border(const Work *w) { return w->side / 2; }
INLINE Int pitch(const Work *w) { return w->width + 2 * border(w); }
INLINE Int padded_rows(const Block *b) { return b->rows + 2 * border(b->work); }

/* Where rows fill halves each is cut by itself, and lies in `packed` with all its channels. Else rows lie one after
 * another, channel by channel, and are cut as one: what is computed of the border between them is lost. */
INLINE int by_rows(const Work *w) { return w->width % LANES == 0; }
INLINE Int halves_of_image(const Block *b) {
    const Work *w = b->work;
    return by_rows(w) ? b->rows * (w->width / LANES) : ceil_div(b->rows * pitch(w) - 2 * border(w), LANES);
}
INLINE Int halves(const Block *b) { return b->images * halves_of_image(b); }

/* Where a half begins: in which row of its picture, and at which place of the padded row. */
typedef struct {
    Int image, y, x;
} Start;

INLINE Start start_of(const Block *b, Int half) {
    const Work *w = b->work;
    const Int i = half % halves_of_image(b), each = by_rows(w) ? w->width : pitch(w);
    return (Start){half / halves_of_image(b), i * LANES / each, i * LANES % each};
}

INLINE const Pair *packed_at(const Work *w, Start at) {
    return w->packed + at.image * w->to_image + at.y * w->to_row + at.x;
}

/* -- From pixels to packed pixels ---------------------------------------------------------------------------------- */

/* 16 pairs of channels of a pixel, from the channel on that p is at. */
INLINE vec take_pairs(const void *p, Int narrow) {
    if (narrow) return load(p);
    return (vec)_mm512_cvtne2ps_pbh((__m512)load((const float *)p + LANES), (__m512)load(p));
}

/* Pack a padded row of an image in the block. */
static void pack_row(const Block *b, Int image, Int row) {
    const Work *w = b->work;
    const Int y = b->top + row - border(w), size = w->narrow ? 2 : 4;
    const Int rows = w->height >> w->doubled, across = w->width >> w->doubled;
    const char *from = (const char *)w->x + ((b->image + image) * rows + (y >> w->doubled)) * across * w->channels * size;
    for (Int place = 0; place < pitch(w); place += LANES) {
        const Int count = least(pitch(w) - place, LANES);
        Pair *to = w->packed + image * w->to_image + row * w->to_row + place;
        for (Int c = 0; c < w->channels; c += 2 * LANES) {
            vec lanes[LANES];
            for (Int i = 0; i < LANES; i++) {
                const Int x = place + i - border(w);
                const int inside = i < count && y >= 0 && y < w->height && x >= 0 && x < w->width;
                lanes[i] = inside ? take_pairs(from + ((x >> w->doubled) * w->channels + c) * size, w->narrow) : (vec){0};
            }
            transpose(lanes);
            const __mmask16 there = (__mmask16)((1u << count) - 1);
            for (Int i = 0; i < LANES; i++)
                _mm512_mask_storeu_ps(to + (c / 2 + i) * w->to_pair, there, (__m512)lanes[i]);
        }
    }
}

/* -- Products ------------------------------------------------------------------------------------------------------ */

/* What a strip's sums are made of: kernels of OUT output channels, and two halves of pixels, each `depth` channels of
 * all taps. */
typedef struct {
    const Half *kernels; /* as in `own` */
    const Pair *left, *right;
    Int depth;
} Factors;

INLINE Int taps(const Work *w) { return w->side * w->side; }

INLINE Int tap_offset(const Work *w, Int tap) { return tap / w->side * w->to_row + tap % w->side; }

/* Bring the kernels of OUT output channels, from k on, and `depth` channels, from c on, to where they are neighbours. */
INLINE void take_kernels(const Work *w, Int k, Int c, Int depth, Half *to) {
    for (Int some = c; some < c + depth; some += 32)
        for (Int tap = 0; tap < taps(w); tap++)
            for (Int out = 0; out < OUT; out++, to += 32)
                store((float *)to, load((const float *)(w->weight + (k + out) * w->weight_stride + tap * w->channels + some)));
}

/* Have a share of the kernels from channel c on fetched while those before them are multiplied. */
INLINE void expect_kernels(const Work *w, Int k, Int c, Int share, Int shares) {
    if (c >= w->channels) return;
    const Int lines = least(w->channels - c, w->depth) / 32, all = OUT * taps(w) * lines;
    for (Int i = all * share / shares; i < all * (share + 1) / shares; i++) {
        const Int line = i % lines, tap = i / lines % taps(w), out = i / lines / taps(w);
        __builtin_prefetch(w->weight + (k + out) * w->weight_stride + tap * w->channels + c + line * 32, 0, 2);
    }
}

/* sums [2 of OUT / 2][2 halves][OUT / 2][LANES] (+)= kernels times pixels; nine tenths of the time is spent here. */
__attribute__((target("amx-tile,amx-bf16"))) static void multiply_by_tiles(const Work *w, Factors f, float *sums,
                                                                           int first) {
    const Int pair = w->to_pair * sizeof(Pair);
    if (first) {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    } else {
        _tile_loadd(0, sums, 64); _tile_loadd(1, sums + 256, 64);
        _tile_loadd(2, sums + 512, 64); _tile_loadd(3, sums + 768, 64);
    }
    const Half *kernels = f.kernels;
    for (Int c = 0; c < f.depth; c += 2 * LANES)
        for (Int tap = 0; tap < taps(w); tap++, kernels += 2 * KERNELS) {
            const Int offset = c / 2 * w->to_pair + tap_offset(w, tap);
            _tile_loadd(4, kernels, 64);
            _tile_loadd(6, f.left + offset, pair);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, f.right + offset, pair);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, kernels + KERNELS, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    _tile_stored(0, sums, 64); _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64); _tile_stored(3, sums + 768, 64);
}

/* The same by vectors, EIGHT output channels at a time. */
#define EIGHT 8
static void multiply_by_vectors(const Work *w, Factors f, float *sums, int first) {
    for (Int k = 0; k < OUT; k += EIGHT) {
        float *to = sums + k / (OUT / 2) * (SUMS / 2) + k % (OUT / 2) * LANES;
        __m512 sum[EIGHT][2];
        for (int i = 0; i < EIGHT; i++)
            for (int half = 0; half < 2; half++)
                sum[i][half] = first ? _mm512_setzero_ps() : (__m512)load(to + half * (SUMS / 4) + i * LANES);
        const Half *kernels = f.kernels + k / TILE * KERNELS + k % TILE * 32;
        for (Int c = 0; c < f.depth; c += 2 * LANES)
            for (Int tap = 0; tap < taps(w); tap++, kernels += 2 * KERNELS) {
                const Pair *left = f.left + c / 2 * w->to_pair + tap_offset(w, tap);
                const Pair *right = f.right + c / 2 * w->to_pair + tap_offset(w, tap);
                for (Int of = 0; of < LANES; of++) {
                    const __m512bh a = (__m512bh)load((const float *)(left + of * w->to_pair));
                    const __m512bh b = (__m512bh)load((const float *)(right + of * w->to_pair));
                    for (int i = 0; i < EIGHT; i++) {
                        int each;
                        memcpy(&each, kernels + i * 32 + 2 * of, sizeof each);
                        const __m512bh kernel = (__m512bh)_mm512_set1_epi32(each);
                        sum[i][0] = _mm512_dpbf16_ps(sum[i][0], kernel, a);
                        sum[i][1] = _mm512_dpbf16_ps(sum[i][1], kernel, b);
                    }
                }
            }
        for (int i = 0; i < EIGHT; i++)
            for (int half = 0; half < 2; half++) store(to + half * (SUMS / 4) + i * LANES, (vec)sum[i][half]);
    }
}

/* -- From sums to the result --------------------------------------------------------------------------------------- */

/* Give OUT output channels, from k on, of the pixels of a half: sums are [2][OUT / 2][LANES], SUMS / 2 apart. */
static void give_half(const Block *b, Int half, Int k, const float *sums) {
    const Work *w = b->work;
    const Start start = start_of(b, half);
    for (Int part = 0; part < OUT; part += LANES) {
        vec lanes[LANES];
        const vec bias = w->bias ? load(w->bias + k + part) : (vec){0};
        for (int i = 0; i < LANES; i++) lanes[i] = load(sums + part / LANES * (SUMS / 2) + i * LANES);
        transpose(lanes);
        if (by_rows(w) && !w->narrow) {
            float *to = (float *)w->result +
                        (((b->image + start.image) * w->height + b->top + start.y) * w->width + start.x) * w->out + k + part;
            for (int i = 0; i < LANES; i++) store(to + i * w->out, lanes[i] + bias);
            continue;
        }
        Int y = start.y, x = start.x;
        for (int i = 0; i < LANES; i++, x++) {
            if (x == pitch(w)) x = 0, y++;
            if (x >= w->width || y >= b->rows) continue;
            const Int at = (((b->image + start.image) * w->height + b->top + y) * w->width + x) * w->out + k + part;
            if (w->narrow) {
                const __m256bh narrow = _mm512_cvtneps_pbh((__m512)(lanes[i] + bias));
                memcpy((Half *)w->result + at, &narrow, sizeof narrow);
            } else {
                store((float *)w->result + at, lanes[i] + bias);
            }
        }
    }
}

/* -- All of it ----------------------------------------------------------------------------------------------------- */

static void pack_block(void *data, Int thread) {
    Block *b = data;
    const Int all = b->images * padded_rows(b);
    (void)thread;
    for (Int i; (i = take(&b->next, 1)) < all;) pack_row(b, i / padded_rows(b), i % padded_rows(b));
}

INLINE Int own_numbers(const Work *w) { return GROUP * SUMS + OUT * taps(w) * w->depth / 2; }

INLINE void multiply_task(Block *b, Int k, Int from, Int count, float *sums, int tiles) {
    const Work *w = b->work;
    const Int all = halves(b);
    Half *kernels = (Half *)(sums + GROUP * SUMS);
    for (Int c = 0; c < w->channels; c += w->depth) {
        const Int depth = least(w->channels - c, w->depth);
        take_kernels(w, k, c, depth, kernels);
        for (Int strip = 0; strip < count; strip++) {
            const Int half = 2 * (from + strip), next = least(half + 1, all - 1); /* the last may stand alone */
            const Factors f = {
                .kernels = kernels,
                .left = packed_at(w, start_of(b, half)) + c / 2 * w->to_pair,
                .right = packed_at(w, start_of(b, next)) + c / 2 * w->to_pair,
                .depth = depth,
            };
            float *own = sums + strip * SUMS;
            expect_kernels(w, k, c + w->depth, strip, count);
            (tiles ? multiply_by_tiles : multiply_by_vectors)(w, f, own, c == 0);
            if (c + w->depth >= w->channels) {
                give_half(b, half, k, own);
                if (next > half) give_half(b, next, k, own + SUMS / 4);
            }
        }
    }
}

INLINE void multiply_tasks(Block *b, Int thread, int tiles) {
    const Work *w = b->work;
    const Int strips = ceil_div(halves(b), 2), panels = w->out / OUT, tasks = ceil_div(strips, GROUP) * panels;
    for (Int task; (task = take(&b->next, 1)) < tasks;) {
        const Int from = task / panels * GROUP;
        multiply_task(b, task % panels * OUT, from, least(strips - from, GROUP), w->own + thread * own_numbers(w), tiles);
    }
}

static void multiply_block_by_vectors(void *data, Int thread) { multiply_tasks(data, thread, 0); }

__attribute__((target("amx-tile"))) static void multiply_block_by_tiles(void *data, Int thread) {
    struct {
        unsigned char palette, start, none[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
    _tile_loadconfig(&shape);
    multiply_tasks(data, thread, 1);
    _tile_release();
}

/* Choose the blocks, and tell how many bytes `packed` and `own` need room for together; `own` comes first. */
EXPORT Int inkpunk_products_plan(Work *w) {
    const Int each = pitch(w) * w->channels * sizeof(Half); /* bytes of a padded row */
    const Int whole = (w->height + 2 * border(w)) * each;
    w->images = whole <= BLOCK ? least(w->batch, BLOCK / whole) : 1;
    w->rows = whole <= BLOCK ? w->height : least(w->height, BLOCK / each - 2 * border(w));
    if (w->rows < LEAST_ROWS) w->rows = least(LEAST_ROWS, w->height);
    const Int padded = w->rows + 2 * border(w), all = w->images * padded;
    /* The last half may read past the end. An odd number of lines: rows apart by a power of two would meet in the same
     * few lines of the cache. */
    if (by_rows(w)) {
        w->to_pair = (ceil_div(pitch(w), LANES) | 1) * LANES;
        w->to_row = w->channels / 2 * w->to_pair;
        w->to_image = padded * w->to_row;
    } else {
        w->to_pair = (ceil_div(all * pitch(w) + LANES, LANES) | 1) * LANES;
        w->to_row = pitch(w);
        w->to_image = padded * pitch(w);
    }
    const Int pairs = by_rows(w) ? all * w->to_row : w->channels / 2 * w->to_pair;
    return w->team.threads * own_numbers(w) * sizeof(float) + pairs * sizeof(Pair);
}

/* Do planned work, with room for it all from `own` on. */
EXPORT void inkpunk_products_run(Work *w) {
    w->packed = (Pair *)(w->own + w->team.threads * own_numbers(w));
    for (Int image = 0; image < w->batch; image += w->images)
        for (Int top = 0; top < w->height; top += w->rows) {
            const Int images = least(w->batch - image, w->images), rows = least(w->height - top, w->rows);
            Block block = {w, image, images, top, rows, 0};
            together(&w->team, pack_block, &block);
            block.next = 0;
            together(&w->team, w->tiles ? multiply_block_by_tiles : multiply_block_by_vectors, &block);
        }
}
