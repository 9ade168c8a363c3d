// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target without libFuzzer:
//   program            for LARDER_TEST_SECONDS (2) with random inputs of LARDER_TEST_SEED
//   program FILE...    with these inputs, as libFuzzer leaves them behind when it finds something
#include "fuzz.h"

#include <string.h>
#include <time.h>

enum { INPUT_MOST = 4096 };

static uint64_t state;

// splitmix64
static uint64_t next(void) {
    uint64_t z = state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// Of the exact size, so that a sanitizer sees each byte too far.
static void run(const uint8_t *bytes, size_t size) {
    uint8_t *const input = malloc(size != 0 ? size : 1);
    MUST(input != NULL);
    memcpy(input, bytes, size);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
}

static void run_file(const char *path) {
    static uint8_t bytes[1 << 20];
    FILE *const file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    run(bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    if (argc > 1)
        return 0;
    const char *const seed = getenv("LARDER_TEST_SEED"), *const seconds =
                                                             getenv("LARDER_TEST_SECONDS");
    state = seed != NULL ? strtoull(seed, NULL, 10) : now_ms();
    printf("LARDER_TEST_SEED=%llu\n", (unsigned long long)state);
    fflush(stdout);
    const uint64_t end = now_ms() + 1000 * (seconds != NULL ? strtoull(seconds, NULL, 10) : 2);
    unsigned long inputs = 0;
    for (; inputs < 10 || now_ms() < end; inputs++) {
        static uint8_t bytes[INPUT_MOST];
        // Bytes of one input are of a kind: all values, or few of them, which repeat operations.
        const uint8_t mask = next() % 2 == 0 ? 0xff : (uint8_t)next();
        const size_t size = next() % (next() % 2 == 0 ? 64 : INPUT_MOST);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)next() & mask;
        run(bytes, size);
    }
    printf("%lu inputs\n", inputs);
    return 0;
}
