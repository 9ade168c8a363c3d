// SPDX-License-Identifier: Apache-2.0
// The whole contract with the operating system. Shared rules: addresses and lengths are multiples
// of the OS page; no function here allocates memory; none prints; errno is clobbered unless said.
#ifndef LARDER_OS_OS_H
#define LARDER_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- Address space (os_vm.c) ----

// Bytes of an OS page, read once by lr_os_init(): 4 KiB on x86-64, up to 64 KiB on aarch64.
size_t lr_os_page_bytes(void);
void lr_os_init(void);

// Reserves `bytes` of inaccessible address space aligned to `align` (power of two); NULL if
// refused.
void *lr_os_reserve(size_t bytes, size_t align);

// Makes [addr, addr+bytes) readable and writable. `reserved` says that the range lies in a
// reservation of lr_os_reserve(); else it must be unmapped now, and nothing that is mapped there is
// ever replaced. False if the kernel refuses, with errno EEXIST if something is mapped there.
bool lr_os_commit(void *addr, size_t bytes, bool reserved);

// True if nothing is mapped in the range now and a mapping there would be accepted.
bool lr_os_is_unmapped(void *addr, size_t bytes);

// Gives the pages back; they read as zero when touched next. False if the kernel refuses (mlock).
bool lr_os_purge(void *addr, size_t bytes);

// As lr_os_purge() for `count` ranges, in as few system calls as the kernel allows; entries whose
// pages could not be returned are left. Returns how many leading ranges were returned; adds the
// number of system calls to *calls.
struct lr_os_range {
    void *addr;
    size_t bytes;
};
size_t lr_os_purge_ranges(const struct lr_os_range *ranges, size_t count, uint64_t *calls);

// A mapping of its own, aligned to `align` (power of two), readable and writable, zero.
void *lr_os_map(size_t bytes, size_t align);
void lr_os_unmap(void *addr, size_t bytes);
// Changes the length of such a mapping, by moving its pages if need be. NULL, with nothing changed,
// if the kernel refuses.
void *lr_os_remap(void *addr, size_t old_bytes, size_t new_bytes);

// Makes any access to the range fault, with SIGSEGV; its contents are lost. False if the kernel
// refuses. Undone by lr_os_unguard(), which fails only where it has to and the kernel refuses.
bool lr_os_guard(void *addr, size_t bytes);
bool lr_os_unguard(void *addr, size_t bytes);
// How much of a range of up to 2 MiB has memory behind it; 0 where the kernel does not tell.
size_t lr_os_touched_bytes(void *addr, size_t bytes);
// Makes the range read-only for good where the kernel can (mseal), else until somebody changes it.
bool lr_os_seal(void *addr, size_t bytes);

// The system's setting of transparent huge pages; NEVER where it cannot be read.
enum lr_os_thp { LR_OS_THP_NEVER, LR_OS_THP_ASKED, LR_OS_THP_ALWAYS };
enum lr_os_thp lr_os_thp(void);
// True asks for transparent huge pages in the range, false forbids them.
void lr_os_huge_pages(void *addr, size_t bytes, bool wanted);

// Names the range in /proc/PID/maps where the kernel can (PR_SET_VMA); silently nothing elsewhere.
void lr_os_name_range(void *addr, size_t bytes, const char *name);

// ---- Process facts (os_proc.c) ----

// Bytes of RLIMIT_AS, or SIZE_MAX where there is no limit.
size_t lr_os_address_limit(void);
// The same of RLIMIT_DATA.
size_t lr_os_data_limit(void);
size_t lr_os_physical_bytes(void);
// Resident bytes of the process from /proc/self/statm; 0 if unreadable.
size_t lr_os_resident_bytes(void);

// The name of the program as the kernel knows it; "" if /proc is not there.
enum { LR_OS_COMMAND_BYTES = 32 };
void lr_os_command(char name[LR_OS_COMMAND_BYTES]);

// Reads the beginning of a file, at most `cap - 1` bytes, and ends it with a zero byte. How many
// bytes; 0 also where it cannot be read.
size_t lr_os_read_file(const char *path, char *text, size_t cap);

// Fills in random bytes, from the kernel; where it has none to give, hard to guess ones.
void lr_os_random(void *out, size_t bytes);

// secure_getenv; NULL in setuid programs. Valid once lr_os_environ() is not NULL.
const char *lr_os_getenv(const char *name);
// NULL before libc has set up its environment, and always in setuid programs.
char **lr_os_environ(void);
// True once libc's environment can be read, be it empty; true in setuid programs.
bool lr_os_environ_ready(void);
// True in setuid programs.
bool lr_os_is_secure(void);

// Where the program begins, says the kernel; an address in the executable.
size_t lr_os_program_entry(void);

// What thread `tid` of this process does, for the idle-cache hand-over.
enum lr_os_thread_activity {
    LR_OS_THREAD_GONE,    // no such thread
    LR_OS_THREAD_RUNNING, // on a CPU or runnable, or not known
    LR_OS_THREAD_BLOCKED, // inside a system call that runs no user code on this thread's stack
};
// `allowed_mask` is the signal mask that the thread had outside of any signal handler: blocked
// signals beyond it mean a handler may have interrupted user code, reported as running.
enum lr_os_thread_activity lr_os_thread_activity(uint32_t tid, uint64_t allowed_mask);

// True if /proc is there and speaks of this process: it may be missing (chroot) or belong to
// another pid namespace, where our thread ids mean other threads.
bool lr_os_proc_is_ours(void);

// True if the calling thread is the only one left, not counting a main thread that has ended.
bool lr_os_only_thread_left(void);

// ---- Faults (os_signal.c) ----

struct lr_os_registers {
    size_t pc;
    size_t stack_pointer;
    size_t frame_pointer;
};
// Called in the thread that faulted, in a signal handler: true if the access shall be tried again;
// false leaves the fault to whoever handled SIGSEGV before.
typedef bool lr_os_fault_handler(void *address, const struct lr_os_registers *at);
// Puts `function` before the handler of SIGSEGV that is installed now, unless it is there already,
// or the program has installed eight different ones since the first call and none of ours can be
// put before them any more. One function for the life of the process; one thread at a time. Keeps
// errno.
void lr_os_watch_faults(lr_os_fault_handler *function);

// ---- What the system allows and lacks (os_cgroup.c) ----

// `root` goes before each path: "", but for tests.

// The smallest memory limit among the process's control group and those above it, of version 1 or
// 2 and mounted where systemd and container runtimes do (/sys/fs/cgroup). SIZE_MAX: there is none,
// or none that can be read.
size_t lr_os_memory_allowed(const char *root);

// Both only grow; 0 where the system does not tell.
struct lr_os_memory_trouble {
    uint64_t stalled_us; // some thread of the group (else of the machine) waited for memory
    uint64_t limit_hits; // the group was at its limit and something had to be reclaimed
};
struct lr_os_memory_trouble lr_os_memory_trouble(const char *root);

// ---- The own address space (os_self.c) ----

// Copies memory of this process that may not be there; how many bytes could be read. 0 also where
// the kernel does not permit it.
size_t lr_os_peek(void *to, const void *from, size_t bytes);

// True if the eight bytes there, aligned to eight, can be read now; at a quarter of the price.
bool lr_os_is_readable(const void *word);

struct lr_os_mapping {
    size_t start;
    size_t end;
    size_t offset; // in the file
    bool executable;
    const char *path; // "" if it has none
};
typedef void lr_os_mapping_visit(const struct lr_os_mapping *mapping, void *context);
// Shows each mapping of the process; false if /proc is not there, or no memory. Errno is kept.
bool lr_os_each_mapping(lr_os_mapping_visit *visit, void *context);

// ---- Files shared with other processes (os_share.c) ----

// A file in memory of `bytes`, sealed against another size, closed on exec, for its user only.
// Its descriptor, or a negative errno.
int lr_os_share_create(const char *name, size_t bytes);
// The same, empty, to be written to; only the user of this process may open it.
int lr_os_file_create(const char *name);
// Bytes of a file in memory that nobody can make shorter, so that a mapping of it never faults; 0
// if the descriptor is none. From then on it is closed on exec.
size_t lr_os_share_bytes(int fd);
// Maps the first `bytes` of it, in the place of what is mapped at `at` unless that is NULL.
void *lr_os_share_map(int fd, size_t bytes, void *at);

// Which file a descriptor stands for: the program may have closed ours and opened its own.
struct lr_os_file_id {
    uint64_t device;
    uint64_t inode;
};
bool lr_os_file_identify(int fd, struct lr_os_file_id *id);
bool lr_os_file_is(int fd, const struct lr_os_file_id *id);

// False unless all of it could be read at `offset`.
bool lr_os_read_at(int fd, void *out, size_t bytes, size_t offset);
// Writes all of it at `offset`; 0 or negative errno.
int lr_os_write_at(int fd, const void *data, size_t bytes, size_t offset);
void lr_os_close(int fd);

// A new file at `path`, to be written to; what is there is removed first. Its descriptor, or a
// negative errno.
int lr_os_file_begin(const char *path);
// Puts the file `other` in the place of `path`; 0, or a negative errno, then `other` is removed.
int lr_os_file_replace(const char *path, const char *other);
void lr_os_file_remove(const char *path);

// ---- Threads and time (os_thread.c) ----

uint32_t lr_os_thread_id(void);
uint32_t lr_os_process_id(void);
// Signals 1 to 64 blocked in the calling thread, bit n-1 for signal n.
uint64_t lr_os_signal_mask(void);
// Blocks those that can wait: not faults, nor what libc keeps for itself. Returns the mask before.
uint64_t lr_os_signals_block(void);
void lr_os_signals_restore(uint64_t mask);
uint64_t lr_os_now_ns(void);        // CLOCK_MONOTONIC
uint64_t lr_os_thread_cpu_ns(void); // CPU time of the calling thread

// Starts a detached thread with every signal blocked and a stack of at least `stack_bytes`.
// 0 or negative errno. May call malloc (pthread_create does).
int lr_os_thread_start(void *(*run)(void *), void *arg, size_t stack_bytes);
// Names the calling thread (at most 15 characters) in /proc, top and debuggers.
void lr_os_thread_name(const char *name);

// Sleeps while *word == expected, at most `timeout_ns` (UINT64_MAX: for ever). Errno is kept.
void lr_os_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns);
void lr_os_futex_wake(void *word, int count);
// The same for a word that may lie in memory shared with other processes.
void lr_os_futex_wait_shared(void *word, uint32_t expected, uint64_t timeout_ns);
void lr_os_futex_wake_shared(void *word, int count);

// Registers for, and issues, a memory barrier on every running thread of the process.
bool lr_os_membarrier_register(void);
bool lr_os_membarrier(void);

#endif
