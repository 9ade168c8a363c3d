// SPDX-License-Identifier: Apache-2.0
//
// The command's reader of heap profiles: any text is read or refused, twice in the same way, and
// what was read can be subtracted.
#include "fuzz.h"

#include "tool/profile_data.h"

// Lines that a profile has, each beginning with what a byte of the input picks, and going on with
// what follows there.
static FILE *text_of(const uint8_t *data, size_t size) {
    static const char *const begins[] = {
        "stack 1 2 3 4 5 6 7 8 9 10 11 ",
        "stack ",
        "columns ",
        "maps\n",
        "55550000-55560000 r-xp 0 00:00 1 /program",
        "samples 5",
        "process 77",
        "",
    };
    static char text[1 << 16];
    size_t used = (size_t)sprintf(text, "larder-profile 1\n");
    bool at_start = true;
    for (size_t i = 0; i < size && used + 100 < sizeof text; i++) {
        if (at_start)
            used += (size_t)sprintf(text + used, "%s", begins[data[i] % 8]);
        else
            text[used++] = (char)data[i];
        at_start = !at_start ? data[i] == '\n' : text[used - 1] == '\n';
    }
    return fmemopen(text, used, "r");
}

static FILE *open_input(const uint8_t *data, size_t size) {
    FILE *const in = data[0] % 2 == 0 ? text_of(data + 1, size - 1)
                                      : fmemopen((void *)(size_t)(data + 1), size - 1, "r");
    MUST(in != NULL);
    return in;
}

// The input is a profile, or what is picked for one if its first byte is even.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct profile first = {0}, second = {0};
    if (size < 2)
        return 0;
    FILE *const in = open_input(data, size);
    const char *const wrong = lr_profile_read(in, &first);
    rewind(in);
    MUST((lr_profile_read(in, &second) == NULL) == (wrong == NULL));
    fclose(in);
    MUST(first.stack_count == second.stack_count && first.mapping_count == second.mapping_count);
    for (size_t i = 0; i < first.mapping_count; i++)
        MUST(first.mappings[i].path != NULL);
    lr_profile_subtract(&first, &second, true);
    lr_profile_free(&first);
    lr_profile_free(&second);
    return 0;
}
