// SPDX-License-Identifier: Apache-2.0
#include "diag/own_file.h"

#include <errno.h>

#include "os/os.h"

bool lr_own_file_name(enum lr_option_id id, const char *end, char name[LR_OWN_FILE_BYTES],
                      bool *unique) {
    struct lr_print p;
    lr_print_init(&p, name, LR_OWN_FILE_BYTES, -1);
    *unique = false;
    for (const char *s = lr_options_text(id); *s != '\0'; s++) {
        if (s[0] == '%' && s[1] == 'p') {
            lr_print_u64(&p, lr_os_process_id());
            *unique = true;
            s++;
        } else {
            lr_print_char(&p, *s);
        }
    }
    lr_print_str(&p, end);
    return !p.truncated;
}

int lr_own_file_write(enum lr_option_id id, int (*print)(int fd)) {
    char name[LR_OWN_FILE_BYTES];
    char other[LR_OWN_FILE_BYTES];
    char end[24];
    bool unique;
    struct lr_print p;
    lr_print_init(&p, end, sizeof end, -1);
    lr_print_f(&p, ".%u", lr_os_process_id());
    if (!lr_own_file_name(id, "", name, &unique) || !lr_own_file_name(id, end, other, &unique)) {
        return -ENAMETOOLONG;
    }
    const int fd = lr_os_file_begin(other);
    if (fd < 0) {
        return fd;
    }
    const int error = print(fd);
    lr_os_close(fd);
    if (error != 0) {
        lr_os_file_remove(other);
        return error;
    }
    return lr_os_file_replace(name, other);
}

void lr_own_file_complain(enum lr_option_id id, int error, const char *what_follows) {
    const char *why = error == -ENOENT                       ? "there is no such folder"
                      : error == -EACCES || error == -EPERM  ? "not permitted"
                      : error == -EROFS                      ? "the file system is read-only"
                      : error == -ENOSPC || error == -EDQUOT ? "no space is left"
                      : error == -EISDIR                     ? "it is a folder; name a file in it"
                      : error == -ENOTDIR                    ? "a part of the path is no folder"
                                                             : "see <errno.h>";
    char variable[64];
    struct lr_print p;
    lr_print_init(&p, variable, sizeof variable, -1);
    lr_option_print_variable(&p, id);
    lr_print_line("larder: cannot write %s=\"%s\": %s (error %d); %s\n", variable,
                  lr_options_text(id), why, -error, what_follows);
}
