// SPDX-License-Identifier: Apache-2.0
//
// The command's reader of recordings: any bytes are read, as far as they make sense, or refused,
// and what was read becomes a plan whose operations stay within it.
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tool/replay_plan.h"

static uint8_t file[1 << 16];

// Blocks of a few events, their bytes as the input has them.
static size_t blocks_of(struct fuzz_input *in, size_t used) {
    while (in->left > 0 && used + sizeof(struct trace_file_block) + 300 < sizeof file) {
        struct trace_file_block block = {.kind = TRACE_FILE_EVENTS,
                                         .thread = (uint32_t)fuzz_below(in, 4),
                                         .events = (uint32_t)fuzz_below(in, 32)};
        const size_t wanted = fuzz_below(in, 256);
        block.raw = block.stored = (uint32_t)(wanted < in->left ? wanted : in->left);
        memcpy(file + used, &block, sizeof block);
        memcpy(file + used + sizeof block, in->at, block.raw);
        used += sizeof block + block.raw;
        in->at += block.raw;
        in->left -= block.raw;
    }
    return used;
}

static void check_plan(struct plan *plan) {
    uint64_t ops = 0;
    MUST(plan->ops_at + plan->op_count * sizeof(struct plan_op) <= plan->bytes);
    MUST(plan->slots_at + plan->slot_count * sizeof(uint64_t) <= plan->bytes);
    for (uint32_t t = 0; t < plan->thread_count; t++) {
        MUST(lr_plan_threads(plan)[t].first == ops);
        ops += lr_plan_threads(plan)[t].count;
    }
    MUST(ops == plan->op_count);
    for (uint64_t i = 0; i < plan->op_count; i++) {
        const struct plan_op *op = &lr_plan_ops(plan)[i];
        MUST(op->slot < plan->slot_count && op->to < plan->slot_count && op->align_log < 48);
    }
    for (uint64_t i = 0; i < plan->before_count; i++)
        MUST(lr_plan_before(plan)[i].slot < plan->slot_count);
}

// The input is a recording behind its header, or what its blocks hold if its first byte is even.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct trace_file_header header = {
        .magic = TRACE_FILE_MAGIC, .version = TRACE_FILE_VERSION, .header_bytes = sizeof header};
    struct fuzz_input in = {.at = data, .left = size};
    struct trace trace;
    if (size < 2 || size > sizeof file / 2)
        return 0;
    const bool picked = fuzz_take(&in, 1) % 2 == 0;
    size_t used = sizeof header;
    memcpy(file, &header, sizeof header);
    if (picked) {
        used = blocks_of(&in, used);
    } else {
        memcpy(file + used, in.at, in.left);
        used += in.left;
    }
    FILE *const stream = fmemopen(file, used, "r");
    MUST(stream != NULL);
    MUST(lr_trace_read(stream, &trace) == NULL);
    fclose(stream);
    for (size_t i = 1; i < trace.count; i++)
        MUST(trace.events[i - 1].sequence < trace.events[i].sequence);
    if (trace.count > 0) {
        int fd = -1;
        struct plan *const plan = lr_plan_make(&trace, &fd);
        MUST(plan != NULL);
        check_plan(plan);
        munmap(plan, plan->bytes);
        close(fd);
    }
    lr_trace_free(&trace);
    return 0;
}
