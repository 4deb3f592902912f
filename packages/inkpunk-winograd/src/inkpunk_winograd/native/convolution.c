/* The convolution of ../convolution.py in one pass over memory. convolution.py beside it calls this.
 *
 * A block of tiles of the input is transformed into w->tiles, which all threads share and the last cache holds. Then
 * each task takes OUT output channels and PART tiles. It transforms OUT x DEPTH kernels into the thread's own
 * `kernels`, multiplies, adds to its own `sums`, and goes on to the next DEPTH input channels; at last it transforms
 * the sums into pixels. So the transformed kernels, four times as large as the kernels themselves, never leave a
 * core's cache, and memory sees nothing but inputs, kernels and outputs. Each block transforms all kernels again: 15
 * cycles each, where multiplying them by PART tiles takes 300.
 */

#include "lanes.h"
#include "team.h"

/* As many rows of sums as the registers hold beside the kernels that they meet. */
#if LANES == 8
#define ROWS 6
#else
#define ROWS 8
#endif

#define PANEL (2 * LANES) /* output channels that are multiplied at a time */
#define OUT 32            /* output channels of a task */
#define DEPTH 64          /* input channels that are multiplied at a time */
#define PART (16 * ROWS)  /* tiles of a task */
#define TASKS 4           /* a thread, at least, so that none waits long for the others */
#define LINE 16           /* numbers in a line of the cache */

#define MAX_PAIRS 2 /* of points, beside 0 and infinity: see filtering.py */
#define MAX_SIDE (2 * MAX_PAIRS)
#define MAX_WINDOW (MAX_SIDE + 2)
#define MAX_TAPS (MAX_WINDOW * MAX_WINDOW)

/* From one tap's numbers to the next's: a power of two would map all taps to the same few lines of the cache. */
#define KERNELS_STRIDE (OUT * DEPTH + LINE)
#define SUMS_STRIDE (PART * OUT + LINE)
#define TILES_STRIDE(block) ((block) * DEPTH + LINE)

/* convolution.py has the same struct. */
typedef struct {
    const float *x;                            /* [batch, height, width, channels] */
    const float *weight;                       /* [out, channels, 3, 3], by strides */
    const float *bias;                         /* [out], or NULL */
    float *result;                             /* [batch, height, width, out] */
    float *tiles;                              /* [channels / DEPTH][taps][block][DEPTH] */
    float *own;                                /* for each thread, [taps] of kernels and [taps] of sums */
    Int batch, height, width, channels, out;
    Int strides[4];                            /* of the weight, in numbers */
    Int pairs;                                 /* 1 for tiles of 2 x 2, 2 for 4 x 4 */
    Int block;                                 /* tiles that are transformed at a time */
    Team team;
} Work;

INLINE Int side(Int pairs) { return 2 * pairs; }
INLINE Int window(Int pairs) { return 2 * pairs + 2; }
INLINE Int taps(Int pairs) { return window(pairs) * window(pairs); }

INLINE Int count_tiles(const Work *w) {
    return w->batch * ceil_div(w->height, side(w->pairs)) * ceil_div(w->width, side(w->pairs));
}

/* -- The transforms, along one axis: those of filtering.py ------------------------------------------------------- */

INLINE float point(int pairs, int i) { return pairs == 1 ? 1.0f : i == 0 ? 0.625f : 1.5f; }

/* B d: `window` inputs to as many outputs. */
INLINE void transform_input(int pairs, const vec *in, int step, vec *out, int out_step) {
    if (pairs == 1) {
        out[0] = in[2 * step] - in[0];
        out[1 * out_step] = in[2 * step] + in[1 * step];
        out[2 * out_step] = in[2 * step] - in[1 * step];
        out[3 * out_step] = in[3 * step] - in[1 * step];
        return;
    }
    const float p = point(2, 0), q = point(2, 1), pp = p * p, qq = q * q;
    const vec even_p = in[4 * step] - qq * in[2 * step], odd_p = in[3 * step] - qq * in[1 * step];
    const vec even_q = in[4 * step] - pp * in[2 * step], odd_q = in[3 * step] - pp * in[1 * step];
    out[0] = in[4 * step] - (pp + qq) * in[2 * step] + pp * qq * in[0];
    out[1 * out_step] = even_p + p * odd_p;
    out[2 * out_step] = even_p - p * odd_p;
    out[3 * out_step] = even_q + q * odd_q;
    out[4 * out_step] = even_q - q * odd_q;
    out[5 * out_step] = in[5 * step] - (pp + qq) * in[3 * step] + pp * qq * in[1 * step];
}

/* G g: three numbers of a kernel to `window`. */
INLINE void transform_kernel(int pairs, const vec *in, int step, vec *out, int out_step) {
    const float p = point(pairs, 0), q = point(pairs, 1), pp = p * p, qq = q * q;
    out[0] = in[0] * (pairs == 1 ? -1.0f : 1.0f / (pp * qq));
    for (int i = 0; i < pairs; i++) {
        const float each = i == 0 ? p : q, others = pairs == 1 ? 1.0f : i == 0 ? pp - qq : qq - pp;
        const float product = 2.0f * each * each * others; /* of the differences to all other points */
        const vec even = (in[0] + each * each * in[2 * step]) * (1.0f / product);
        const vec odd = in[1 * step] * (each / product);
        out[(1 + 2 * i) * out_step] = even + odd;
        out[(2 + 2 * i) * out_step] = even - odd;
    }
    out[(1 + 2 * pairs) * out_step] = in[2 * step];
}

/* A^T m: `window` products to `side` outputs. */
INLINE void transform_output(int pairs, const vec *in, int step, vec *out, int out_step) {
    const vec sum_p = in[1 * step] + in[2 * step], difference_p = in[1 * step] - in[2 * step];
    if (pairs == 1) {
        out[0] = in[0] + sum_p;
        out[1 * out_step] = in[3 * step] + difference_p;
        return;
    }
    const float p = point(2, 0), q = point(2, 1);
    const vec sum_q = in[3 * step] + in[4 * step], difference_q = in[3 * step] - in[4 * step];
    out[0] = in[0] + (sum_p + sum_q);
    out[1 * out_step] = p * difference_p + q * difference_q;
    out[2 * out_step] = p * p * sum_p + q * q * sum_q;
    out[3 * out_step] = in[5 * step] + (p * p * p * difference_p + q * q * q * difference_q);
}

/* -- From the input to tiles ------------------------------------------------------------------------------------- */

/* Transform one tile, all its channels, to its place in the block; a tile past the last is zeros. */
INLINE void take_tile(int pairs, const Work *w, Int tile, Int place) {
    static const float zeros[LANES];
    const Int across = ceil_div(w->width, side(pairs)), down = ceil_div(w->height, side(pairs));
    const Int image = tile / (down * across);
    const Int top = tile / across % down * side(pairs) - 1, left = tile % across * side(pairs) - 1;
    const float *pixels[MAX_TAPS]; /* NULL beyond the border */
    for (int i = 0; i < window(pairs); i++)
        for (int j = 0; j < window(pairs); j++) {
            const Int row = top + i, column = left + j;
            const int inside = image < w->batch && row >= 0 && row < w->height && column >= 0 && column < w->width;
            const Int pixel = (image * w->height + row) * w->width + column;
            pixels[i * window(pairs) + j] = inside ? w->x + pixel * w->channels : NULL;
        }
    for (Int c = 0; c < w->channels; c += LANES) {
        const Int rest = w->channels - c;
        vec in[MAX_TAPS], half[MAX_TAPS], out[MAX_TAPS];
        for (int tap = 0; tap < taps(pairs); tap++) {
            if (rest >= LANES || !pixels[tap]) {
                in[tap] = load(pixels[tap] ? pixels[tap] + c : zeros);
            } else {
                in[tap] = (vec){0};
                memcpy(&in[tap], pixels[tap] + c, rest * sizeof(float));
            }
        }
        const int step = window(pairs);
        for (int j = 0; j < window(pairs); j++) transform_input(pairs, in + j, step, half + j, step);
        for (int i = 0; i < window(pairs); i++) transform_input(pairs, half + i * step, 1, out + i * step, 1);
        float *to = w->tiles + c / DEPTH * taps(pairs) * TILES_STRIDE(w->block) + place * DEPTH + c % DEPTH;
        for (int tap = 0; tap < taps(pairs); tap++) store(to + tap * TILES_STRIDE(w->block), out[tap]);
    }
}

/* -- Kernels ----------------------------------------------------------------------------------------------------- */

/* The two orders that weights come in: [out, channels, 3, 3] and, channels last, [out, 3, 3, channels]. */
INLINE int has_taps_last(const Work *w) { return w->strides[3] == 1 && w->strides[2] == 3 && w->strides[1] == 9; }
INLINE int has_channels_last(const Work *w) { return w->strides[1] == 1; }

/* Transform the kernels of OUT output channels, from k on, and `depth` input channels, from c on, to
 * [taps][OUT / PANEL][DEPTH][PANEL]; output channels past the last are zeros. */
INLINE void take_kernels(int pairs, const Work *w, Int k, Int c, Int depth, float *kernels) {
    const Int *strides = w->strides;
    const int taps_last = has_taps_last(w), channels_last = has_channels_last(w);
    /* Nine numbers for each of LANES input channels, in the weight's own order; output channels lie side by side. */
    float numbers[9 * LANES][LANES];
    for (Int out = 0; out < OUT; out += LANES)
        for (Int some = 0; some < depth; some += LANES) {
            const float *from = w->weight + (k + out) * strides[0] + (c + some) * strides[1];
            const Int outs = least(w->out - k - out, LANES), channels = least(depth - some, LANES);
            if (outs == LANES && channels == LANES && (taps_last || channels_last)) {
                for (int nine = 0; nine < 9; nine++) {
                    const Int start = taps_last ? nine * LANES : nine / 3 * strides[2] + nine % 3 * strides[3];
                    vec rows[LANES];
                    for (int i = 0; i < LANES; i++) rows[i] = load(from + start + i * strides[0]);
                    transpose(rows);
                    for (int i = 0; i < LANES; i++) store(numbers[nine * LANES + i], rows[i]);
                }
            } else {
                memset(numbers, 0, sizeof numbers);
                for (int nine = 0; nine < 9; nine++)
                    for (Int channel = 0; channel < channels; channel++)
                        for (Int i = 0; i < outs; i++)
                            numbers[taps_last ? channel * 9 + nine : nine * LANES + channel][i] =
                                from[i * strides[0] + channel * strides[1] + nine / 3 * strides[2] +
                                     nine % 3 * strides[3]];
            }
            for (Int channel = 0; channel < channels; channel++) {
                const int step = window(pairs);
                vec in[9], half[3 * MAX_WINDOW], done[MAX_TAPS];
                for (int nine = 0; nine < 9; nine++)
                    in[nine] = load(numbers[taps_last ? channel * 9 + nine : nine * LANES + channel]);
                for (int j = 0; j < 3; j++) transform_kernel(pairs, in + j, 3, half + j, 3);
                for (int i = 0; i < step; i++) transform_kernel(pairs, half + 3 * i, 1, done + step * i, 1);
                float *to = kernels + (out / PANEL * DEPTH + some + channel) * PANEL + out % PANEL;
                for (int tap = 0; tap < taps(pairs); tap++) store(to + tap * KERNELS_STRIDE, done[tap]);
            }
        }
}

/* Have the kernels from c on fetched while those before them are multiplied: with each tap, a share of them. */
INLINE void expect_kernels(int pairs, const Work *w, Int k, Int c, int tap) {
    const Int lines = DEPTH * 9 / LINE, outs = least(w->out - k, OUT);
    for (Int line = tap * lines / taps(pairs); line < (tap + 1) * lines / taps(pairs); line++) {
        const Int nine = line / (DEPTH / LINE), channel = line % (DEPTH / LINE) * LINE;
        const Int nested = nine / 3 * w->strides[2] + nine % 3 * w->strides[3] + channel * w->strides[1];
        const Int at = has_taps_last(w) ? line * LINE : nested;
        const float *from = w->weight + k * w->strides[0] + c * w->strides[1] + at;
        for (Int out = 0; out < outs; out++) __builtin_prefetch(from + out * w->strides[0], 0, 2);
    }
}

/* -- Products ---------------------------------------------------------------------------------------------------- */

/* sums [ROWS][OUT] (+)= tiles [ROWS][DEPTH] times kernels [depth][PANEL]: nine tenths of the time is spent here.
 * The tiles that are `next` are fetched meanwhile. */
static void multiply(const float *restrict tiles, const float *restrict kernels, float *restrict sums, Int depth,
                     int first, const float *next) {
    for (int i = 0; i < ROWS * DEPTH; i += LINE) __builtin_prefetch(next + i, 0, 2);
    vec sum[ROWS][2] = {0};
    for (Int c = 0; c < depth; c++) {
        const vec left = load(kernels + c * PANEL), right = load(kernels + c * PANEL + LANES);
        for (int row = 0; row < ROWS; row++) {
            const float each = tiles[row * DEPTH + c];
            sum[row][0] += each * left;
            sum[row][1] += each * right;
        }
    }
    /* Sums of DEPTH and then of those sums round far less than one long sum. */
    for (int row = 0; row < ROWS; row++)
        for (int half = 0; half < 2; half++) {
            float *to = sums + row * OUT + half * LANES;
            store(to, first ? sum[row][half] : load(to) + sum[row][half]);
        }
}

/* Sum over all input channels the products of `count` tiles, from `from` on in the block, with OUT kernels. */
INLINE void multiply_all(int pairs, const Work *w, Int k, Int from, Int count, float *kernels, float *sums) {
    for (Int c = 0; c < w->channels; c += DEPTH) {
        const Int depth = least(w->channels - c, DEPTH);
        take_kernels(pairs, w, k, c, depth, kernels);
        for (int tap = 0; tap < taps(pairs); tap++) {
            if (c + DEPTH < w->channels) expect_kernels(pairs, w, k, c + DEPTH, tap);
            const float *tiles = w->tiles + (c / DEPTH * taps(pairs) + tap) * TILES_STRIDE(w->block) + from * DEPTH;
            for (Int tile = 0; tile < count; tile += ROWS)
                for (int panel = 0; panel < OUT / PANEL; panel++)
                    multiply(tiles + tile * DEPTH, kernels + tap * KERNELS_STRIDE + panel * PANEL * DEPTH,
                             sums + tap * SUMS_STRIDE + tile * OUT + panel * PANEL, depth, c == 0,
                             tiles + tile * DEPTH + TILES_STRIDE(w->block));
        }
    }
}

/* -- From sums to the output ------------------------------------------------------------------------------------- */

/* Transform one tile's sums to its pixels, OUT channels from k on, and add the bias. */
INLINE void give_tile(int pairs, const Work *w, const float *sums, Int tile, Int k) {
    const Int across = ceil_div(w->width, side(pairs)), down = ceil_div(w->height, side(pairs));
    const Int image = tile / (down * across);
    const Int top = tile / across % down * side(pairs), left = tile % across * side(pairs);
    for (Int out = 0; out < OUT && k + out < w->out; out += LANES) {
        const Int outs = least(w->out - k - out, LANES);
        const int step = window(pairs);
        vec in[MAX_TAPS], half[MAX_SIDE * MAX_WINDOW], done[MAX_SIDE * MAX_SIDE], bias = {0};
        for (int tap = 0; tap < taps(pairs); tap++) in[tap] = load(sums + tap * SUMS_STRIDE + out);
        for (int j = 0; j < window(pairs); j++) transform_output(pairs, in + j, step, half + j, step);
        for (int i = 0; i < side(pairs); i++)
            transform_output(pairs, half + i * step, 1, done + i * side(pairs), 1);
        if (w->bias) memcpy(&bias, w->bias + k + out, outs * sizeof(float));
        for (int i = 0; i < least(side(pairs), w->height - top); i++)
            for (int j = 0; j < least(side(pairs), w->width - left); j++) {
                const Int pixel = (image * w->height + top + i) * w->width + left + j;
                const vec value = done[i * side(pairs) + j] + bias;
                float *to = w->result + pixel * w->out + k + out;
                if (outs == LANES)
                    store(to, value);
                else
                    memcpy(to, &value, outs * sizeof(float));
            }
    }
}

/* -- All of it --------------------------------------------------------------------------------------------------- */

INLINE Int own_numbers(int pairs) { return taps(pairs) * (KERNELS_STRIDE + SUMS_STRIDE); }

/* A block of tiles, and the next of its tasks. */
typedef struct {
    const Work *work;
    Int start, count, next;
} Block;

INLINE void take_block(int pairs, Block *block) {
    const Int padded = ceil_div(block->count, ROWS) * ROWS; /* multiply takes so many at a time */
    for (Int from; (from = take(&block->next, ROWS)) < padded;)
        for (Int place = from; place < from + ROWS; place++) take_tile(pairs, block->work, block->start + place, place);
}

INLINE void give_block(int pairs, Block *block, Int thread) {
    const Work *w = block->work;
    float *kernels = w->own + thread * own_numbers(pairs), *sums = kernels + taps(pairs) * KERNELS_STRIDE;
    const Int parts = ceil_div(block->count, PART), tasks = ceil_div(w->out, OUT) * parts;
    for (Int task; (task = take(&block->next, 1)) < tasks;) {
        const Int k = task / parts * OUT, from = task % parts * PART, some = least(block->count - from, PART);
        multiply_all(pairs, w, k, from, some, kernels, sums);
        for (Int tile = 0; tile < some; tile++) give_tile(pairs, w, sums + tile * OUT, block->start + from + tile, k);
    }
}

/* Of tiles of 2 x 2 and of 4 x 4: what a team does together. */
static void take_small(void *block, Int thread) { (void)thread, take_block(1, block); }
static void take_large(void *block, Int thread) { (void)thread, take_block(2, block); }
static void give_small(void *block, Int thread) { give_block(1, block, thread); }
static void give_large(void *block, Int thread) { give_block(2, block, thread); }

/* Choose the block for work of these sizes, and tell how many numbers `own` and `tiles` need room for together: at
 * most `limit`, unless a block of ROWS tiles needs more. `own` comes first, own_numbers() for each thread. */
EXPORT Int inkpunk_winograd_plan(Work *w, Int limit) {
    const Int own = w->team.threads * own_numbers(w->pairs), slabs = ceil_div(w->channels, DEPTH) * taps(w->pairs);
    const Int tasks = ceil_div(w->out, OUT), most = ((limit - own) / slabs - LINE) / DEPTH / ROWS * ROWS;
    w->block = least(ceil_div(count_tiles(w), ROWS) * ROWS, PART * ceil_div(TASKS * w->team.threads, tasks));
    if (w->block > most) w->block = most > ROWS ? most : ROWS;
    return own + slabs * TILES_STRIDE(w->block);
}

/* Do planned work, with room for it all from `own` on. */
EXPORT void inkpunk_winograd_run(Work *w) {
    w->tiles = w->own + w->team.threads * own_numbers(w->pairs);
    for (Int start = 0; start < count_tiles(w); start += w->block) {
        const Int count = least(count_tiles(w) - start, w->block);
        together(&w->team, w->pairs == 1 ? take_small : take_large, &(Block){w, start, count, 0});
        together(&w->team, w->pairs == 1 ? give_small : give_large, &(Block){w, start, count, 0});
    }
}
