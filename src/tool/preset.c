// SPDX-License-Identifier: Apache-2.0
#include "tool/preset.h"

#include <string.h>

#include "tool/tool.h"

const struct preset lr_presets[] = {
#define PRESET(id, text) {.name = #id, .help = (text)},
#include "tool/presets.def"
};
const size_t lr_preset_count = sizeof lr_presets / sizeof *lr_presets;

const struct preset_option lr_preset_options[] = {
#define PRESET_OPTION(set, option, text) {.preset = #set, .name = #option, .value = (text)},
#include "tool/presets.def"
};
const size_t lr_preset_option_count = sizeof lr_preset_options / sizeof *lr_preset_options;

const struct preset *lr_preset_find(const char *name) {
    for (size_t i = 0; i < lr_preset_count; i++) {
        if (strcmp(lr_presets[i].name, name) == 0) {
            return &lr_presets[i];
        }
    }
    return NULL;
}

static const char *name_at(unsigned i) { return lr_presets[i].name; }

const char *lr_preset_nearest(const char *name) {
    return lr_tool_nearest(name, name_at, (unsigned)lr_preset_count);
}
