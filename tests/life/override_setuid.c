// SPDX-License-Identifier: Apache-2.0
//
// A setuid program takes no LARDER_ variable from its caller. Root only: runs a copy of itself that
// is setuid to nobody, which is AT_SECURE; without the bit the same variables do take effect.
#define _GNU_SOURCE 1

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../support/plain.h"

enum { NOBODY = 65534, NOT_SECURE = 76, NOT_STARTED = 127 };

// Runs `path` with variables that make Larder speak; its stderr goes to `err`. Returns the exit
// code, -1 for a signal.
static int run(char *path, char *expectation, char *err, size_t err_bytes) {
    int err_pipe[2];
    CHECK(pipe(err_pipe) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char *const argv[] = {path, expectation, NULL};
        char *const envp[] = {"LARDER_VERBOSE=1", "LARDER_STATS=1", "LARDER_BATCH_MAX=nonsense",
                              NULL};
        dup2(err_pipe[1], STDERR_FILENO);
        execve(path, argv, envp);
        _exit(NOT_STARTED);
    }
    close(err_pipe[1]);
    size_t used = 0;
    for (ssize_t got = 1; got > 0 && used < err_bytes - 1; used += (size_t)got) {
        got = read(err_pipe[0], err + used, err_bytes - 1 - used);
        CHECK(got >= 0);
    }
    err[used] = '\0';
    close(err_pipe[0]);
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void copy_self(const char *path, mode_t mode) {
    const int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    struct stat info;
    CHECK(from >= 0 && to >= 0 && fstat(from, &info) == 0);
    for (off_t left = info.st_size; left > 0;) {
        const ssize_t sent = sendfile(to, from, NULL, (size_t)left);
        CHECK(sent > 0);
        left -= sent;
    }
    CHECK(fchown(to, NOBODY, NOBODY) == 0 && fchmod(to, mode) == 0);
    close(from);
    close(to);
}

// Both runs; leaves the outcome to the caller, which first removes the files.
static int run_copies(char *plain, char *secure, char *err, size_t err_bytes) {
    copy_self(plain, 0755);
    copy_self(secure, 04755);
    const int plain_code = run(plain, "plain", err, err_bytes);
    if (plain_code != 0 || strstr(err, "larder: ") == NULL) {
        fprintf(stderr, "without setuid: exit %d, stderr: %s\n", plain_code, err);
        return 1;
    }
    return run(secure, "secure", err, err_bytes);
}

int main(int argc, char **argv) {
    if (argc > 1) {
        plain_require_larder();
        free(malloc(1000));
        const int secure = getauxval(AT_SECURE) != 0;
        return secure == (strcmp(argv[1], "secure") == 0) ? 0 : NOT_SECURE;
    }
    if (geteuid() != 0)
        SKIP("needs root, to make a setuid copy of itself");
    char directory[] = "/tmp/larder-setuid-XXXXXX";
    CHECK(mkdtemp(directory) != NULL && chmod(directory, 0755) == 0);
    char plain[64], secure[64];
    static char err[65536];
    snprintf(plain, sizeof plain, "%s/plain", directory);
    snprintf(secure, sizeof secure, "%s/secure", directory);
    const int code = run_copies(plain, secure, err, sizeof err);
    unlink(plain);
    unlink(secure);
    rmdir(directory);
    if (code == NOT_SECURE)
        SKIP("/tmp does not honour the setuid bit");
    if (code == NOT_STARTED)
        SKIP("nobody may not read the library's directory");
    if (code != 0 || err[0] != '\0')
        fprintf(stderr, "setuid: exit %d, stderr: %s\n", code, err);
    CHECK(code == 0 && err[0] == '\0');
    return 0;
}
