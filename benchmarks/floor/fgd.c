/* Floor and oracle for the openb/FGD experiment, in plain C11.
 *
 * Why: a Python/Numba engine needs to know how fast the same algorithm can be without any
 * framework around it, and needs an independent program to compare decisions with.
 *
 * Build:  cc -std=c11 -O2 -march=native -ffp-contract=off -o fgd fgd.c -lm
 *         (-ffp-contract=off matters: fused operations would change truncated scores)
 * Use:    fgd run   INPUT POLICY [-o OUT] [-m METRICS] [-f | -x] [-s SEED] [-r REPEAT]
 *         fgd steady INPUT POLICY -k COPIES -d DECISIONS [-w WARMUP] [-u PERCENT] [-R] [-x] [-s SEED]
 *
 * The algorithm is incremental. Scores are kept per (task class, node). A placement
 * changes one node; the change is appended to a log, and a class brings its scores up to
 * date from the log only when a task of that class arrives. The best node is found
 * through the maximum of each block of 64 nodes; ties go to the lowest row.
 *
 * INPUT is text, whitespace separated:
 *   nodes N              then N lines   cpu_milli mem_mib gpus model   (rows in tie order)
 *   typical T A          then T lines   cpu_milli gpus gpu_milli model_mask count
 *                        (A: tasks of the whole trace, all classes; only -f needs it)
 *   classes C            then C lines   cpu_milli mem_mib gpus gpu_milli model_mask
 *   arrivals M           then M class numbers
 * model is 0..30; model_mask has bit `model` set for each allowed model, -1 allows all.
 *
 *   gpu_power lines      optional, for PWR: model, W of a free GPU, W of a used GPU
 * POLICY is one of Random DotProd GpuClustering GpuPacking BestFit FGD PWR, or PWR+W for
 * PWR with weight 1000 - W and FGD with weight W.
 *
 * OUT: one line an arrival, "row gpu_mask" (-1 0 when it fits nowhere).
 * METRICS: one line an arrival, "arrived_milli used_milli fragmentation_milli".
 * stdout: one JSON line with times and totals.
 */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GPUS = 8, WHOLE = 1000, BLOCK = 64, MAX_THRESHOLDS = 64, MAX_CPUS = 256, MAX_MODELS = 31 };
enum { MAX_CPU_MILLI = 128000, MAX_GPU_MILLI = 8000, MAX_PODS = 1001 };
enum policy { RANDOM, DOTPROD, CLUSTERING, PACKING, BESTFIT, FGD, PWR, POLICIES };
static const char *const policy_names[POLICIES] = {"Random",  "DotProd", "GpuClustering", "GpuPacking",
                                                   "BestFit", "FGD",     "PWR"};

typedef struct {
    int32_t cpu, mem;         /* left */
    int16_t gpu[GPUS];        /* left, milli; -1 beyond the last GPU */
    int32_t gpu_total;        /* left, sum */
    int32_t usable;           /* FGD: sum over typical classes of count x usable GPU milli */
    int32_t cpu_capacity;
    int16_t hosted[GPUS + 1]; /* tasks by affinity: [0] shared, [k] k whole GPUs */
    int16_t pods;
    uint8_t gpus, model, free_gpus;
} Node;

typedef struct { int32_t cpu, gpus, milli; uint32_t models; } Shape; /* what scores depend on */
typedef struct { Shape s; int32_t mem; int shape; } Class;
typedef struct { Shape s; int32_t count; double p; } Typical;
typedef struct { int32_t row, cls; uint32_t mask; } Placed;

static int n_nodes, n_typical, n_classes, n_shapes, n_arrivals, n_blocks;
static Node *nodes;
static Typical *typical;
static Class *classes;
static Shape *shapes;
static int *arrivals;
static enum policy policy;
static double weight_fgd; /* PWR mixes: PWR gets 1000 - weight_fgd */
/* How the score's rounding treats differences that are zero in exact arithmetic:
 * ORIGINAL (default): as the original's floating point does, 49 or 50, see frag_float;
 * EXACT (-x): always 50; FLOAT (-f): everything in floating point, slow, the oracle. */
static enum { ORIGINAL, EXACT, FLOAT } rounding;
static int64_t total_count;

/* ---- the xorshift generator of policy Random and of random departures ---- */
static uint64_t rng_state = 88172645463325252u;
static uint32_t below(uint32_t n) {
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return (uint32_t)(((rng_state >> 32) * n) >> 32);
}

static void *need(size_t bytes) {
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64)) exit(2);
    memset(p, 0, bytes + 64);
    return p;
}

/* ---- fragmentation in exact integers ----
 * With class counts instead of probabilities, total_count x F = total_count x R - usable,
 * where usable = sum over GPU classes that fit of count x (GPU milli on GPUs that are
 * large enough for one share). Classes with the same gpu_milli look at the same GPUs,
 * so they are grouped: per threshold only the number of large-enough GPUs and the CPU
 * left decide which counts add up, and that sum is a table look-up. */
static int n_thresholds, n_cpus, n_any_cpus;
static int32_t thresholds[MAX_THRESHOLDS], cpus[MAX_CPUS], any_cpus[MAX_CPUS]; /* any: CPU-only too */
static int32_t *table; /* [model][cpu index][threshold][number of GPUs 0..8] */
#define SLOT (MAX_THRESHOLDS * 9)
static uint8_t cpu_index_of[MAX_CPU_MILLI / 100 + 2]; /* by cpu_milli / 100, rounded down */
static int cpus_fine;                                 /* all typical CPU requests are multiples of 100 */

static int cpu_index(int32_t cpu) {
    if (cpus_fine && cpu <= MAX_CPU_MILLI) return cpu_index_of[cpu / 100];
    int i = 0;
    while (i < n_cpus && cpus[i] <= cpu) i++;
    return i;
}
static int any_cpu_index(int32_t cpu) {
    int i = 0;
    while (i < n_any_cpus && any_cpus[i] <= cpu) i++;
    return i;
}
static const int32_t *table_row(int model, int32_t cpu) {
    return table + ((size_t)model * (MAX_CPUS + 1) + cpu_index(cpu)) * SLOT;
}

static int by_int(const void *a, const void *b) {
    return (*(const int32_t *)a > *(const int32_t *)b) - (*(const int32_t *)a < *(const int32_t *)b);
}
static int distinct(int32_t *v, int n) {
    int m = 0;
    qsort(v, n, sizeof *v, by_int);
    for (int i = 0; i < n; i++)
        if (!m || v[m - 1] != v[i]) v[m++] = v[i];
    return m;
}
static void build_table(void) {
    int32_t *a = need(sizeof *a * (n_typical + 1)), *b = need(sizeof *b * (n_typical + 1));
    int n = 0;
    total_count = 0;
    for (int i = 0; i < n_typical; i++) {
        total_count += typical[i].count;
        if (typical[i].s.milli > 0) a[n] = typical[i].s.milli, b[n++] = typical[i].s.cpu;
    }
    int32_t *all = need(sizeof *all * (n_typical + 1));
    for (int i = 0; i < n_typical; i++) all[i] = typical[i].s.cpu;
    n_any_cpus = distinct(all, n_typical);
    if (n_any_cpus > MAX_CPUS) exit(3);
    memcpy(any_cpus, all, sizeof *all * n_any_cpus);
    free(all);
    n_thresholds = distinct(a, n);
    n_cpus = distinct(b, n);
    if (n_thresholds > MAX_THRESHOLDS || n_cpus > MAX_CPUS) exit(3);
    memcpy(thresholds, a, sizeof *a * n_thresholds);
    memcpy(cpus, b, sizeof *b * n_cpus);
    cpus_fine = 1;
    for (int i = 0; i < n_cpus; i++) cpus_fine &= cpus[i] % 100 == 0;
    if (cpus_fine)
        for (int c = 0, i = 0; c <= MAX_CPU_MILLI / 100; c++) {
            while (i < n_cpus && cpus[i] <= c * 100) i++;
            cpu_index_of[c] = (uint8_t)i;
        }
    table = need(sizeof *table * MAX_MODELS * (MAX_CPUS + 1) * SLOT);
    for (int m = 0; m < MAX_MODELS; m++)
        for (int q = 0; q <= n_cpus; q++)
            for (int k = 0; k < n_typical; k++) {
                const Shape *s = &typical[k].s;
                if (s->milli <= 0 || !(s->models >> m & 1) || (q == 0 || s->cpu > cpus[q - 1])) continue;
                int t = 0;
                while (thresholds[t] != s->milli) t++;
                for (int g = s->gpus; g <= GPUS; g++)
                    table[((size_t)m * (MAX_CPUS + 1) + q) * SLOT + t * 9 + g] += typical[k].count;
            }
    free(a), free(b);
}

static int32_t usable_of(const Node *n, const int16_t *gpu, int32_t cpu) {
    const int32_t *w = table_row(n->model, cpu);
    int32_t out = 0;
    for (int t = 0; t < n_thresholds; t++) {
        int count = 0, milli = 0;
        for (int i = 0; i < GPUS; i++) {
            int fits = gpu[i] >= thresholds[t];
            count += fits;
            milli += fits ? gpu[i] : 0;
        }
        out += w[t * 9 + count] * milli;
    }
    return out;
}

/* Score from the exact difference: boundaries of int(100 x sigmoid(d / total / 1000)). */
static int64_t score_from[102]; /* smallest difference with at least this score */
static int fgd_score_of(int64_t d) {
    double x = (double)d / (double)total_count / 1000.0;
    return (int)(100.0 * (1.0 / (1.0 + exp(-x))));
}
static void build_scores(void) {
    for (int s = 0; s <= 101; s++) {
        int64_t lo = -20 * total_count * WHOLE, hi = 20 * total_count * WHOLE;
        while (lo < hi) {
            int64_t mid = lo + (hi - lo) / 2;
            if (mid > hi) mid = hi;
            if (fgd_score_of(mid) >= s) hi = mid;
            else lo = mid + 1;
        }
        score_from[s] = lo;
    }
}
static int fgd_score(int64_t d) {
    int lo = 0, hi = 100;
    while (lo < hi) {
        int mid = (lo + hi + 1) / 2;
        if (d >= score_from[mid]) lo = mid;
        else hi = mid - 1;
    }
    return lo;
}

/* The same in floating point, with sums formed in the original's order: seven sums by
 * kind (lack both, lack GPU, satisfied, lack CPU, CPU-only fits, CPU-only does not,
 * model excluded), each over classes in order of popularity, then added without the
 * satisfied one. Differences that are zero in exact arithmetic need not be zero here. */
static double frag_float(const Node *n, const int16_t *gpu, int32_t cpu) {
    double kinds[7] = {0};
    int64_t left = 0;
    for (int i = 0; i < n->gpus; i++) left += gpu[i];
    for (int k = 0; k < n_typical; k++) {
        const Shape *s = &typical[k].s;
        double p = typical[k].p;
        int cpu_fits = cpu >= s->cpu, count = 0;
        int64_t small = 0;
        if (s->milli == 0) {
            kinds[cpu_fits ? 4 : 5] += p * (double)left;
            continue;
        }
        if (!(s->models >> n->model & 1)) {
            kinds[6] += p * (double)left;
            continue;
        }
        for (int i = 0; i < n->gpus; i++) {
            if (gpu[i] >= s->milli) count++;
            else small += gpu[i];
        }
        if (count >= s->gpus && cpu_fits) {
            kinds[1] += p * (double)small;
            kinds[2] += p * (double)(left - small);
        } else {
            kinds[count >= s->gpus ? 3 : cpu_fits ? 1 : 0] += p * (double)left;
        }
    }
    return kinds[0] + kinds[1] + kinds[3] + kinds[4] + kinds[5] + kinds[6];
}

/* ---- which GPUs, and the score of one node ---- */
static int fits(const Node *n, const Shape *s) {
    if (n->cpu < s->cpu || n->pods >= MAX_PODS) return 0;
    if (s->gpus == 0) return 1;
    if (!(s->models >> n->model & 1)) return 0;
    if (s->milli == WHOLE) return n->free_gpus >= s->gpus;
    int count = 0;
    for (int i = 0; i < n->gpus; i++) count += n->gpu[i] >= s->milli;
    return count >= s->gpus;
}
static int shared(const Shape *s) { return s->gpus == 1 && s->milli < WHOLE; }
static uint32_t first_free(const Node *n, int count) {
    uint32_t mask = 0;
    for (int i = 0; i < n->gpus && count > 0; i++)
        if (n->gpu[i] == WHOLE) mask |= 1u << i, count--;
    return mask;
}
static int best_fit_gpu(const Node *n, int milli) {
    int best = -1;
    for (int i = 0; i < n->gpus; i++)
        if (n->gpu[i] >= milli && (best < 0 || n->gpu[i] < n->gpu[best])) best = i;
    return best;
}

static int score_fgd_float(const Node *n, const Shape *s, uint32_t *mask) {
    double before = frag_float(n, n->gpu, n->cpu);
    int16_t gpu[GPUS];
    memcpy(gpu, n->gpu, sizeof gpu);
    int best = -1;
    *mask = 0;
    if (!shared(s)) {
        *mask = first_free(n, s->gpus);
        for (int i = 0; i < GPUS; i++)
            if (*mask >> i & 1) gpu[i] = 0;
        double x = (before - frag_float(n, gpu, n->cpu - s->cpu)) / 1000;
        return (int)(1.0 / (1.0 + exp(-x)) * 100.0);
    }
    for (int i = 0; i < n->gpus; i++) {
        if (gpu[i] < s->milli) continue;
        gpu[i] -= s->milli;
        double x = (before - frag_float(n, gpu, n->cpu - s->cpu)) / 1000;
        gpu[i] += s->milli;
        int score = (int)(1.0 / (1.0 + exp(-x)) * 100.0);
        if (score > best) best = score, *mask = 1u << i;
    }
    return best;
}

/* Exact arithmetic says that fragmentation stays as it is. The original's sums may differ
 * in the last digits when a class moves from one kind to another with the same amount
 * (for example from "lacks a GPU" to "lacks both"), and a difference a little below zero
 * is truncated to 49 instead of 50. */
static int score_of_zero(const Node *n, const int16_t *gpu, int32_t cpu) {
    if (rounding == EXACT || n->gpu_total == 0) return 50;
    if (any_cpu_index(n->cpu) == any_cpu_index(cpu) && !memcmp(gpu, n->gpu, sizeof n->gpu)) return 50;
    double x = (frag_float(n, n->gpu, n->cpu) - frag_float(n, gpu, cpu)) / 1000;
    return (int)(1.0 / (1.0 + exp(-x)) * 100.0);
}

static int score_fgd(const Node *n, const Shape *s, uint32_t *mask) {
    if (rounding == FLOAT) return score_fgd_float(n, s, mask);
    int64_t gain0 = (int64_t)s->gpus * s->milli * total_count - n->usable; /* + usable after */
    *mask = 0;
    int16_t gpu[GPUS];
    if (!shared(s)) {
        memcpy(gpu, n->gpu, sizeof gpu);
        *mask = first_free(n, s->gpus);
        for (int i = 0; i < GPUS; i++)
            if (*mask >> i & 1) gpu[i] = 0;
        int64_t d = gain0 + usable_of(n, gpu, n->cpu - s->cpu);
        return d ? fgd_score(d) : score_of_zero(n, gpu, n->cpu - s->cpu);
    }
    /* counts and sums per threshold once, then corrected for the one GPU that changes */
    const int32_t *w = table_row(n->model, n->cpu - s->cpu);
    int32_t count[MAX_THRESHOLDS], milli[MAX_THRESHOLDS], base[MAX_THRESHOLDS + 1];
    int32_t all = 0;
    for (int t = 0; t < n_thresholds; t++) {
        int c = 0, m = 0;
        for (int i = 0; i < GPUS; i++) {
            int ok = n->gpu[i] >= thresholds[t];
            c += ok;
            m += ok ? n->gpu[i] : 0;
        }
        count[t] = c, milli[t] = m;
        base[t] = w[t * 9 + c] * m;
        all += base[t];
    }
    int best = -1;
    for (int i = 0; i < n->gpus; i++) {
        int old = n->gpu[i], new = old - s->milli, seen = 0;
        if (new < 0) continue;
        for (int j = 0; j < i; j++) seen |= n->gpu[j] == old; /* equal GPUs: first index wins */
        if (seen) continue;
        int32_t after = all;
        for (int t = 0; t < n_thresholds && thresholds[t] <= old; t++) {
            int32_t value = new >= thresholds[t] ? w[t * 9 + count[t]] * (milli[t] - s->milli)
                                                 : w[t * 9 + count[t] - 1] * (milli[t] - old);
            after += value - base[t];
        }
        int score;
        if (gain0 + after) {
            score = fgd_score(gain0 + after);
        } else {
            memcpy(gpu, n->gpu, sizeof gpu);
            gpu[i] = (int16_t)new;
            score = score_of_zero(n, gpu, n->cpu - s->cpu);
        }
        if (score > best) best = score, *mask = 1u << i;
    }
    return best;
}

static int score_packing(const Node *n, const Shape *s) {
    if (s->milli == 0) return 0;
    int free = n->free_gpus;
    if (free == n->gpus) return 33 - free > free ? 33 - free : free;
    int opened = 0, percent = 0;
    if (shared(s)) {
        int g = best_fit_gpu(n, s->milli);
        opened = n->gpu[g] == WHOLE;
        percent = n->gpu[g] * 100 / WHOLE;
    } else {
        opened = s->gpus;
    }
    if (opened) return 50 - opened > 33 ? 50 - opened : 33;
    return 100 - percent / 10 > 50 ? 100 - percent / 10 : 50;
}
static int score_clustering(const Node *n, const Shape *s) {
    if (s->gpus == 0) return 0;
    int kinds = 0, mine = n->hosted[shared(s) ? 0 : s->gpus] > 0;
    for (int k = 0; k <= GPUS; k++) kinds += n->hosted[k] > 0;
    int b = 25 * (MAX_GPU_MILLI - n->gpu_total) / MAX_GPU_MILLI;
    if (mine) return b + (kinds == 1 ? 75 : 50);
    return b + (kinds == 0 ? 25 : 0);
}
static int score_dotprod(const Node *n, const Shape *s) {
    double a = (double)n->cpu / MAX_CPU_MILLI * ((double)s->cpu / MAX_CPU_MILLI);
    double b = (double)n->gpu_total / MAX_GPU_MILLI * ((double)(s->gpus * s->milli) / MAX_GPU_MILLI);
    double score = 1 - (0.0 + a + b) / 2.0;
    return (int)(100.0 * score);
}
static int score_bestfit(const Node *n, const Shape *s) {
    double score = 0;
    score += (double)(n->cpu - s->cpu) / MAX_CPU_MILLI * 0.5;
    score += (double)(n->gpu_total - s->gpus * s->milli) / MAX_GPU_MILLI * 0.5;
    return (int)((1.0 - score) * 100.0);
}

/* Power of a node in W. GPUs: idle power if fully free, else full power. CPU: two vCPU a
 * core, packages of 16 cores, a package with any busy core draws full power. */
static double gpu_idle[MAX_MODELS], gpu_full[MAX_MODELS];
enum { CORES_A_PACKAGE = 16, PACKAGE_IDLE_W = 15, PACKAGE_FULL_W = 120, MILLI_A_CORE = 2000 };
static double power_of(const Node *n, int free_gpus, int32_t cpu) {
    int cores = (n->cpu_capacity + MILLI_A_CORE - 1) / MILLI_A_CORE, busy = cores - cpu / MILLI_A_CORE;
    int packages = (cores + CORES_A_PACKAGE - 1) / CORES_A_PACKAGE;
    int active = (busy + CORES_A_PACKAGE - 1) / CORES_A_PACKAGE;
    return free_gpus * gpu_idle[n->model] + (n->gpus - free_gpus) * gpu_full[n->model] +
           active * PACKAGE_FULL_W + (packages - active) * PACKAGE_IDLE_W;
}
/* First GPU that is already in use and fits, else the first that fits (then a free one). */
static int used_gpu_first(const Node *n, int milli) {
    int pick = -1;
    for (int i = 0; i < n->gpus; i++) {
        if (n->gpu[i] < milli) continue;
        if (n->gpu[i] < WHOLE) return i;
        if (pick < 0) pick = i;
    }
    return pick;
}
static int score_power(const Node *n, const Shape *s) {
    int free = n->free_gpus;
    if (!shared(s)) free -= s->gpus;
    else free -= n->gpu[used_gpu_first(n, s->milli)] == WHOLE;
    return (int)(power_of(n, n->free_gpus, n->cpu) - power_of(n, free, n->cpu - s->cpu));
}

static int score_of(const Node *n, const Shape *s) {
    uint32_t mask;
    if (!fits(n, s)) return -1;
    switch (policy) {
    case DOTPROD: return score_dotprod(n, s);
    case CLUSTERING: return score_clustering(n, s);
    case PACKING: return score_packing(n, s);
    case BESTFIT: return score_bestfit(n, s); /* min-max scaling keeps its order and its ties */
    case FGD: return score_fgd(n, s, &mask);
    default: return 0;
    }
}
static uint32_t gpus_for(const Node *n, const Shape *s) {
    uint32_t mask = 0;
    if (s->gpus == 0) return 0;
    if (!shared(s)) return first_free(n, s->gpus);
    if (policy == FGD || (policy == PWR && weight_fgd >= 500)) {
        score_fgd(n, s, &mask); /* a mix takes the GPU of its heavier part, FGD if equal */
        return mask;
    }
    if (policy == PWR) return 1u << used_gpu_first(n, s->milli);
    if (policy == RANDOM) {
        int seen = 0, pick = 0;
        for (int i = 0; i < n->gpus; i++)
            if (n->gpu[i] >= s->milli && below((uint32_t)++seen) == 0) pick = i;
        return 1u << pick;
    }
    return 1u << best_fit_gpu(n, s->milli);
}

/* ---- state changes ---- */
static int32_t *change_log, *last_change;
static size_t log_length, log_room;
static int64_t used_milli, usable_sum;
static void changed(int row) {
    Node *n = nodes + row;
    int32_t before = n->usable;
    n->free_gpus = 0, n->gpu_total = 0;
    for (int i = 0; i < n->gpus; i++) n->gpu_total += n->gpu[i], n->free_gpus += n->gpu[i] == WHOLE;
    n->usable = usable_of(n, n->gpu, n->cpu);
    usable_sum += n->usable - before;
    if (log_length == log_room) {
        log_room = log_room ? 2 * log_room : 1 << 16;
        if (log_room > INT32_MAX) exit(4);
        change_log = realloc(change_log, log_room * sizeof *change_log);
        if (!change_log) exit(2);
    }
    last_change[row] = (int32_t)log_length;
    change_log[log_length++] = row;
}
static void apply(int row, const Class *c, uint32_t mask, int sign) {
    Node *n = nodes + row;
    n->cpu -= sign * c->s.cpu, n->mem -= sign * c->mem, n->pods += sign;
    for (int i = 0; i < n->gpus; i++)
        if (mask >> i & 1) n->gpu[i] -= sign * c->s.milli;
    if (c->s.gpus) n->hosted[shared(&c->s) ? 0 : c->s.gpus] += sign;
    used_milli += (int64_t)sign * c->s.gpus * c->s.milli;
    changed(row);
}

/* ---- cached scores ---- */
typedef struct { int8_t *score, *top; size_t seen; } Cache;
static Cache *caches;
static int8_t block_top(const int8_t *score) {
    int8_t top = -1;
    for (int i = 0; i < BLOCK; i++) top = score[i] > top ? score[i] : top;
    return top;
}
static Cache *refresh(int shape) {
    Cache *c = caches + shape;
    const Shape *s = shapes + shape;
    if (!c->score) {
        c->score = need((size_t)n_blocks * BLOCK), c->top = need((size_t)n_blocks);
        memset(c->score, -1, (size_t)n_blocks * BLOCK);
        for (int i = 0; i < n_nodes; i++) c->score[i] = (int8_t)score_of(nodes + i, s);
        for (int b = 0; b < n_blocks; b++) c->top[b] = block_top(c->score + b * BLOCK);
    } else {
        for (size_t k = c->seen; k < log_length; k++) {
            int row = change_log[k];
            if (last_change[row] != (int32_t)k) continue; /* changed again later: once is enough */
            int8_t old = c->score[row], new = (int8_t)score_of(nodes + row, s), *top = c->top + row / BLOCK;
            c->score[row] = new;
            if (new >= *top) *top = new;
            else if (old == *top) *top = block_top(c->score + row / BLOCK * BLOCK);
        }
    }
    c->seen = log_length;
    return c;
}
static int choose_random(const Class *c) {
    int seen = 0, pick = -1;
    for (int i = 0; i < n_nodes; i++)
        if (nodes[i].mem >= c->mem && fits(nodes + i, &c->s) && below((uint32_t)++seen) == 0) pick = i;
    return pick;
}
static int choose_power(const Class *c) {
    static int *power, *frag;
    if (!power) power = need(sizeof *power * n_nodes), frag = need(sizeof *frag * n_nodes);
    int lo = INT_MAX, hi = INT_MIN, best = -1;
    uint32_t mask;
    for (int i = 0; i < n_nodes; i++) {
        frag[i] = -1;
        if (nodes[i].mem < c->mem || !fits(nodes + i, &c->s)) continue;
        frag[i] = weight_fgd > 0 ? score_fgd(nodes + i, &c->s, &mask) : 0;
        power[i] = score_power(nodes + i, &c->s);
        if (power[i] < lo) lo = power[i];
        if (power[i] > hi) hi = power[i];
    }
    int64_t top = -1;
    for (int i = 0; i < n_nodes; i++) {
        if (frag[i] < 0) continue;
        int64_t scaled = hi == lo ? 100 : (int64_t)(power[i] - lo) * 100 / (hi - lo);
        int64_t total = (int64_t)(1000 - weight_fgd) * scaled + (int64_t)weight_fgd * frag[i];
        if (total > top) top = total, best = i;
    }
    return best;
}
static int choose(const Class *c) {
    if (policy == RANDOM) return choose_random(c);
    if (policy == PWR) return choose_power(c);
    const Cache *k = refresh(c->shape);
    int8_t top = -1;
    for (int b = 0; b < n_blocks; b++) top = k->top[b] > top ? k->top[b] : top;
    if (top < 0) return -1;
    const int8_t *t = memchr(k->top, top, (size_t)n_blocks);
    const int8_t *at = memchr(k->score + (t - k->top) * BLOCK, top, BLOCK);
    int row = (int)(at - k->score);
    if (nodes[row].mem >= c->mem) return row;
    /* memory is not part of the scores: where it binds, look on, block by block */
    int best = -1;
    top = -1;
    for (int b = 0; b < n_blocks; b++) {
        if (k->top[b] <= top) continue;
        for (int i = b * BLOCK; i < (b + 1) * BLOCK; i++)
            if (k->score[i] > top && nodes[i].mem >= c->mem) top = k->score[i], best = i;
    }
    return best;
}

/* ---- input, time, output ---- */
static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static double wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static int section(FILE *f, const char *name) {
    char word[32];
    int n;
    if (fscanf(f, "%31s %d", word, &n) != 2 || strcmp(word, name)) {
        fprintf(stderr, "fgd: expected section %s\n", name);
        exit(2);
    }
    return n;
}
static void check(int ok) {
    if (!ok) fprintf(stderr, "fgd: bad input line\n"), exit(2);
}
static void load(const char *path, int copies) {
    FILE *f = fopen(path, "r");
    if (!f) perror(path), exit(2);
    int base = section(f, "nodes");
    n_nodes = base * copies;
    n_blocks = (n_nodes + BLOCK - 1) / BLOCK;
    nodes = need(sizeof *nodes * n_nodes);
    last_change = need(sizeof *last_change * n_nodes);
    for (int i = 0; i < base; i++) {
        int cpu, mem, gpus, model;
        check(fscanf(f, "%d %d %d %d", &cpu, &mem, &gpus, &model) == 4 && gpus <= GPUS && model < MAX_MODELS);
        Node *n = nodes + i;
        n->cpu = n->cpu_capacity = cpu, n->mem = mem, n->gpus = (uint8_t)gpus, n->model = (uint8_t)model;
        for (int g = 0; g < GPUS; g++) n->gpu[g] = g < gpus ? WHOLE : -1;
        for (int k = 1; k < copies; k++) nodes[(size_t)k * base + i] = *n;
    }
    n_typical = section(f, "typical");
    int all_tasks, typical_tasks = 0;
    check(fscanf(f, "%d", &all_tasks) == 1);
    typical = need(sizeof *typical * n_typical);
    for (int i = 0; i < n_typical; i++) {
        int cpu, gpus, milli, models, count;
        check(fscanf(f, "%d %d %d %d %d", &cpu, &gpus, &milli, &models, &count) == 5);
        typical[i] = (Typical){{cpu, gpus, milli, (uint32_t)models}, count, 0};
        typical_tasks += count;
    }
    /* popularity with the two roundings of the original: share of all, then of the typical */
    for (int i = 0; i < n_typical; i++) {
        typical[i].p = (double)typical[i].count / all_tasks;
        if (typical_tasks < all_tasks) typical[i].p /= (double)typical_tasks / all_tasks;
    }
    n_classes = section(f, "classes");
    classes = need(sizeof *classes * n_classes);
    shapes = need(sizeof *shapes * n_classes);
    for (int i = 0; i < n_classes; i++) {
        int cpu, mem, gpus, milli, models, k = 0;
        check(fscanf(f, "%d %d %d %d %d", &cpu, &mem, &gpus, &milli, &models) == 5);
        check(milli == WHOLE || gpus <= 1);
        Shape s = {cpu, gpus, milli, (uint32_t)models};
        while (k < n_shapes && memcmp(shapes + k, &s, sizeof s)) k++;
        if (k == n_shapes) shapes[n_shapes++] = s;
        classes[i] = (Class){s, mem, k};
    }
    n_arrivals = section(f, "arrivals");
    arrivals = need(sizeof *arrivals * n_arrivals);
    for (int i = 0; i < n_arrivals; i++) check(fscanf(f, "%d", arrivals + i) == 1 && arrivals[i] < n_classes);
    char word[32]; /* optional: power of GPU models, "gpu_power MODEL IDLE FULL" */
    while (fscanf(f, "%31s", word) == 1) {
        int m;
        double idle, full;
        check(!strcmp(word, "gpu_power") && fscanf(f, "%d %lf %lf", &m, &idle, &full) == 3);
        gpu_idle[m] = idle, gpu_full[m] = full;
    }
    fclose(f);
    build_table();
    build_scores();
    caches = need(sizeof *caches * n_shapes);
    for (int i = 0; i < n_nodes; i++) changed(i);
}
static int by_double(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static int run(int argc, char **argv) {
    const char *out = NULL, *metrics = NULL;
    int repeat = 1;
    for (int i = 4; i < argc; i++) {
        if (!strcmp(argv[i], "-f")) rounding = FLOAT;
        else if (!strcmp(argv[i], "-x")) rounding = EXACT;
        else if (!strcmp(argv[i], "-o") && i + 1 < argc) out = argv[++i];
        else if (!strcmp(argv[i], "-m") && i + 1 < argc) metrics = argv[++i];
        else if (!strcmp(argv[i], "-r") && i + 1 < argc) repeat = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-s") && i + 1 < argc) rng_state ^= (uint64_t)atoll(argv[++i]) * 0x9E3779B97F4A7C15u;
        else return 1;
    }
    load(argv[2], 1);
    Placed *placed = need(sizeof *placed * n_arrivals);
    Node *fresh = need(sizeof *nodes * n_nodes);
    memcpy(fresh, nodes, sizeof *nodes * n_nodes);
    int64_t usable_fresh = usable_sum;
    double best = 1e9;
    int lost = 0;
    for (int r = 0; r < repeat; r++) {
        memcpy(nodes, fresh, sizeof *nodes * n_nodes);
        used_milli = 0, usable_sum = usable_fresh, log_length = 0, lost = 0;
        for (int k = 0; k < n_shapes; k++) free(caches[k].score), free(caches[k].top), caches[k].score = NULL;
        double start = cpu_seconds();
        for (int i = 0; i < n_arrivals; i++) {
            const Class *c = classes + arrivals[i];
            int row = choose(c);
            placed[i].row = row, placed[i].mask = 0;
            if (row < 0) {
                lost++;
                continue;
            }
            placed[i].mask = gpus_for(nodes + row, &c->s);
            apply(row, c, placed[i].mask, 1);
        }
        double spent = cpu_seconds() - start;
        if (spent < best) best = spent;
    }
    int64_t capacity = 0;
    for (int i = 0; i < n_nodes; i++) capacity += nodes[i].gpus * WHOLE;
    printf("{\"policy\": \"%s\", \"nodes\": %d, \"decisions\": %d, \"not_placed\": %d, \"used_milli\": %lld, "
           "\"capacity_milli\": %lld, \"shapes\": %d, \"thresholds\": %d, \"cpu_s\": %.6f}\n",
           argv[3], n_nodes, n_arrivals, lost, (long long)used_milli, (long long)capacity, n_shapes, n_thresholds, best);
    if (out) {
        FILE *f = fopen(out, "w");
        if (!f) return perror(out), 2;
        for (int i = 0; i < n_arrivals; i++) fprintf(f, "%d %u\n", placed[i].row, placed[i].mask);
        fclose(f);
    }
    if (metrics) { /* replayed outside the timed loop */
        FILE *f = fopen(metrics, "w");
        if (!f) return perror(metrics), 2;
        memcpy(nodes, fresh, sizeof *nodes * n_nodes);
        used_milli = 0, usable_sum = usable_fresh, log_length = 0;
        int64_t arrived = 0;
        for (int i = 0; i < n_arrivals; i++) {
            const Class *c = classes + arrivals[i];
            arrived += (int64_t)c->s.gpus * c->s.milli;
            if (placed[i].row >= 0) apply(placed[i].row, c, placed[i].mask, 1);
            fprintf(f, "%lld %lld %.4f\n", (long long)arrived, (long long)used_milli,
                    (double)(capacity - used_milli) - (double)usable_sum / (double)total_count);
        }
        fclose(f);
    }
    return 0;
}

/* Steady state: arrivals drawn at random from the arrivals of the input. Before each one,
 * running tasks end until the GPU allocation is at most `percent` of capacity: the oldest
 * first, or with -R a random one. The time of one decision is choosing node and GPUs and
 * applying them (departures and drawing are not in it). */
static int steady(int argc, char **argv) {
    int copies = 1, decisions = 100000, warmup = -1, random_end = 0;
    double percent = 90;
    for (int i = 4; i < argc; i++) {
        if (!strcmp(argv[i], "-R")) random_end = 1;
        else if (!strcmp(argv[i], "-x")) rounding = EXACT;
        else if (i + 1 >= argc) return 1;
        else if (!strcmp(argv[i], "-k")) copies = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-d")) decisions = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-w")) warmup = atoi(argv[++i]);
        else if (!strcmp(argv[i], "-u")) percent = atof(argv[++i]);
        else if (!strcmp(argv[i], "-s")) rng_state ^= (uint64_t)atoll(argv[++i]) * 0x9E3779B97F4A7C15u;
        else return 1;
    }
    load(argv[2], copies);
    int64_t capacity = 0, limit;
    for (int i = 0; i < n_nodes; i++) capacity += nodes[i].gpus * WHOLE;
    limit = (int64_t)((double)capacity * percent / 100);
    size_t room = 1 << 20, head = 0, tail = 0;
    Placed *running = malloc(sizeof *running * room);
    double *took = need(sizeof *took * decisions);
    int done = 0, filled = 0, since_full = 0, lost = 0;
    double loop = 0, started = 0, measured_cpu = 0;
    if (warmup < 0) warmup = decisions / 10;
    for (;;) {
        while (used_milli > limit && head < tail) {
            filled = 1;
            size_t at = random_end ? head + below((uint32_t)(tail - head)) : head;
            Placed p = running[at];
            if (random_end) running[at] = running[--tail];
            else head++;
            apply(p.row, classes + p.cls, p.mask, -1);
        }
        if (filled && since_full++ == warmup) started = cpu_seconds();
        int measure = filled && since_full > warmup;
        int cls = arrivals[below((uint32_t)n_arrivals)];
        const Class *c = classes + cls;
        double t0 = wall_seconds();
        int row = choose(c);
        uint32_t mask = 0;
        if (row >= 0) {
            mask = gpus_for(nodes + row, &c->s);
            apply(row, c, mask, 1);
        }
        double spent = wall_seconds() - t0;
        if (row >= 0) {
            if (tail == room) {
                if (head) memmove(running, running + head, sizeof *running * (tail - head)), tail -= head, head = 0;
                if (tail > room / 2) running = realloc(running, sizeof *running * (room *= 2));
                if (!running) return 2;
            }
            running[tail++] = (Placed){row, cls, mask};
        }
        if (measure) {
            lost += row < 0;
            took[done++] = spent, loop += spent;
            if (done == decisions) break;
        }
    }
    measured_cpu = cpu_seconds() - started;
    qsort(took, (size_t)done, sizeof *took, by_double);
    printf("{\"policy\": \"%s\", \"nodes\": %d, \"decisions\": %d, \"not_placed\": %d, \"percent\": %.1f, "
           "\"end\": \"%s\", \"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, "
           "\"max_us\": %.3f, \"cpu_s_with_departures\": %.4f}\n",
           argv[3], n_nodes, done, lost, percent, random_end ? "random" : "oldest", 1e6 * loop / done,
           1e6 * took[done / 2], 1e6 * took[(size_t)(done * 0.99)], 1e6 * took[(size_t)(done * 0.999)],
           1e6 * took[done - 1], measured_cpu);
    return 0;
}

int main(int argc, char **argv) {
    int rc = 1;
    if (argc >= 4) {
        int p = 0;
        char *plus = strchr(argv[3], '+'); /* "PWR+900": PWR weight 100, FGD weight 900 */
        size_t length = plus ? (size_t)(plus - argv[3]) : strlen(argv[3]);
        while (p < POLICIES && (strlen(policy_names[p]) != length || strncmp(policy_names[p], argv[3], length))) p++;
        policy = (enum policy)p;
        if (plus) weight_fgd = atof(plus + 1);
        if (p < POLICIES && !strcmp(argv[1], "run")) rc = run(argc, argv);
        else if (p < POLICIES && !strcmp(argv[1], "steady")) rc = steady(argc, argv);
    }
    if (rc == 1) fprintf(stderr, "usage: fgd run|steady INPUT POLICY [options], see the head of fgd.c\n");
    return rc;
}
