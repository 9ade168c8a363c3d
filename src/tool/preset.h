// SPDX-License-Identifier: Apache-2.0
// The presets of presets.def.
#ifndef LARDER_TOOL_PRESET_H
#define LARDER_TOOL_PRESET_H

#include <stddef.h>

struct preset {
    const char *name;
    const char *help;
};

struct preset_option {
    const char *preset;
    const char *name;
    const char *value;
};

extern const struct preset lr_presets[];
extern const size_t lr_preset_count;
extern const struct preset_option lr_preset_options[];
extern const size_t lr_preset_option_count;

// NULL if there is none of that name.
const struct preset *lr_preset_find(const char *name);
// As lr_tool_nearest().
const char *lr_preset_nearest(const char *name);

#endif
