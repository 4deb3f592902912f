/* Group normalisation of pictures that are channels last, and SiLU after it, in two passes over memory; the result may lie
 * where the input does. norm.py calls this.
 *
 * Pixels are taken a block at a time. Of a block the first pass tells each group's mean, and from that the sum of squares
 * about it, while the block is in the cache: numbers far from zero lose no digits. What blocks tell is joined in norm.py,
 * always in the same order, so that no bit depends on how many threads there are. The second pass scales and shifts.
 */

#include "exponent.h"
#include "lanes.h"
#include "team.h"

#define MOST_CHANNELS 4096
#define AT_ONCE 4 /* pixels, whose sum is added to what is kept for each channel */
#define LOG2_E 1.44269504f

/* norm.py has the same struct. */
typedef struct {
    const float *x;      /* [batch, pixels, channels] */
    const float *factors; /* [batch, 2, channels]: what to multiply with, and what to add */
    float *told;         /* [batch, blocks, groups, 2]: mean, and sum of squares about it */
    float *result;       /* as x */
    Int batch, pixels, channels, groups;
    Int block; /* pixels of a block; the last of a picture may have fewer */
    Int silu;
    Team team;
} Work;

typedef struct {
    const Work *work;
    Int next;
} Tasks;

INLINE Int blocks(const Work *w) { return ceil_div(w->pixels, w->block); }

/* -- The first pass ------------------------------------------------------------------------------------------------ */

/* sums[c] = the sum over `count` pixels from x on of channel c less about[c], squared; of the channel where about is NULL. */
INLINE void sum_up(const float *x, Int count, Int channels, const float *about, float *sums) {
    for (Int c = 0; c < channels; c += LANES) store(sums + c, (vec){0});
    for (Int p = 0; p < count; p += AT_ONCE)
        for (Int c = 0; c < channels; c += LANES) {
            vec sum = {0};
            for (Int i = 0; i < least(count - p, AT_ONCE); i++) {
                vec each = load(x + (p + i) * channels + c);
                if (about) each -= load(about + c), each *= each;
                sum += each;
            }
            store(sums + c, load(sums + c) + sum);
        }
}

INLINE float sum_of(const float *numbers, Int count) {
    float sum = 0;
    for (Int i = 0; i < count; i++) sum += numbers[i];
    return sum;
}

static void tell(void *data, Int thread) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int all = w->batch * blocks(w), each = w->channels / w->groups;
    float sums[MOST_CHANNELS], about[MOST_CHANNELS];
    (void)thread;
    for (Int task; (task = take(&tasks->next, 1)) < all;) {
        const Int image = task / blocks(w), first = task % blocks(w) * w->block;
        const Int count = least(w->pixels - first, w->block);
        const float *x = w->x + (image * w->pixels + first) * w->channels;
        float *told = w->told + task * w->groups * 2;
        sum_up(x, count, w->channels, 0, sums);
        for (Int g = 0; g < w->groups; g++) {
            told[2 * g] = sum_of(sums + g * each, each) / (float)(count * each);
            for (Int c = 0; c < each; c++) about[g * each + c] = told[2 * g];
        }
        sum_up(x, count, w->channels, about, sums);
        for (Int g = 0; g < w->groups; g++) told[2 * g + 1] = sum_of(sums + g * each, each);
    }
}

/* -- The second pass ----------------------------------------------------------------------------------------------- */

/* x / (1 + exp(-x)), of a power that cannot be too large. */
INLINE vec silu(vec x) {
    const bits negative = x < (vec){0};
    const vec size = (vec)((negative & (bits)-x) | (~negative & (bits)x));
    const vec power = exp2_of(size * -LOG2_E), one = (vec){0} + 1.0f;
    return x * (vec)((negative & (bits)power) | (~negative & (bits)one)) / (one + power);
}

INLINE void scale_and_shift(const Work *w, Int image, Int first, Int count, int activated) {
    const float *factor = w->factors + image * 2 * w->channels, *shift = factor + w->channels;
    for (Int p = first; p < first + count; p++) {
        const Int at = (image * w->pixels + p) * w->channels;
        for (Int c = 0; c < w->channels; c += LANES) {
            const vec y = load(w->x + at + c) * load(factor + c) + load(shift + c);
            store(w->result + at + c, activated ? silu(y) : y);
        }
    }
}

static void give(void *data, Int thread) {
    Tasks *tasks = data;
    const Work *w = tasks->work;
    const Int all = w->batch * blocks(w);
    (void)thread;
    for (Int task; (task = take(&tasks->next, 1)) < all;) {
        const Int first = task % blocks(w) * w->block, count = least(w->pixels - first, w->block);
        if (w->silu) scale_and_shift(w, task / blocks(w), first, count, 1);
        else scale_and_shift(w, task / blocks(w), first, count, 0);
    }
}

/* Tell of each block what its groups have for a mean. */
EXPORT void inkpunk_norm_tell(const Work *w) {
    Tasks tasks = {w, 0};
    together(&w->team, tell, &tasks);
}

/* Give the result, by the factors that were made of it. */
EXPORT void inkpunk_norm_give(const Work *w) {
    Tasks tasks = {w, 0};
    together(&w->team, give, &tasks);
}
