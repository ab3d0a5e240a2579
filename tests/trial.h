/* What programs that try an emitted model from C have in common. */
#define CHECK(condition)                                                                                             \
    do {                                                                                                             \
        if (!(condition)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                          \
            exit(1);                                                                                                 \
        }                                                                                                            \
    } while (0)

static uint64_t seed = 1;
static double chance(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 40) / (double)(1 << 24);
}

/* Memory exactly as large as asked for, so that a sanitizer sees every step beyond it; filled with a pattern. */
static void *memory(size_t bytes) {
    void *block = NULL;
    CHECK(posix_memalign(&block, 64, bytes ? bytes : 1) == 0);
    memset(block, 0x5a, bytes);
    return block;
}
