// SPDX-License-Identifier: Apache-2.0
//
// The readers of options: any text is read as a value in range or refused, what is printed is read
// again as the same value, and any environment gives valid values.
#include "fuzz.h"

#include <string.h>

#include "conf/options.h"

static void read_value(enum lr_option_id id, const char *text) {
    uint64_t value = 0, again = 0;
    const enum lr_option_verdict verdict = lr_option_read(id, text, &value);
    if (verdict == LR_OPTION_NOT_UNDERSTOOD)
        return;
    MUST(lr_option_in_range(id, value));
    char printed[256];
    struct lr_print p;
    lr_print_init(&p, printed, sizeof printed, -1);
    lr_option_print_value(&p, id, value);
    MUST(!p.truncated);
    char *const space = strchr(printed, ' '); // between number and unit, for people only
    if (space != NULL)
        memmove(space, space + 1, strlen(space));
    if (lr_option_row(id)->unit != LR_UNIT_OBJECTS)
        MUST(lr_option_read(id, printed, &again) == LR_OPTION_GOOD && again == value);
}

static void read_alias(enum lr_option_alias alias, const char *text) {
    enum lr_option_id id = LR_OPTION_COUNT;
    uint64_t value = 0;
    if (lr_alias_read(alias, text, &id, &value) == LR_OPTION_NOT_UNDERSTOOD)
        return;
    MUST(id < LR_OPTION_COUNT);
    MUST(lr_option_in_range(id, value));
}

// Lines of the input are its variables.
static void read_environment(char *text) {
    enum { VARIABLES = 30 };
    char *environment[VARIABLES + 1];
    unsigned count = 0;
    for (char *line = strtok(text, "\n"); line != NULL && count < VARIABLES;
         line = strtok(NULL, "\n"))
        environment[count++] = line;
    environment[count] = NULL;
    char warnings[1024];
    struct lr_print p;
    lr_print_init(&p, warnings, sizeof warnings, -1);
    struct lr_option_values values;
    lr_options_from_environment(environment, &values, &p);
    for (enum lr_option_id id = 0; id < LR_OPTION_COUNT; id++) {
        MUST(lr_option_in_range(id, values.value[id]));
        MUST(values.origin[id] <= LR_FROM_ENVIRONMENT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *const text = malloc(size + 1);
    MUST(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    const unsigned which = size > 0 ? data[0] : 0;
    if (which < 128) {
        for (enum lr_option_id id = 0; size > 0 && id < LR_OPTION_COUNT; id++)
            read_value(id, text + 1);
        for (enum lr_option_alias alias = 0; size > 0 && alias < LR_ALIAS_COUNT; alias++)
            read_alias(alias, text + 1);
    } else {
        (void)lr_option_by_name(text + 1);
        MUST(lr_option_nearest(text + 1, strlen(text + 1)) <= LR_OPTION_COUNT);
        read_environment(text + 1);
    }
    free(text);
    return 0;
}
