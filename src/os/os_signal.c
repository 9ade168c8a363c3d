// SPDX-License-Identifier: Apache-2.0
// Faults of the program, looked at before its own handler does.
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "base/atomic.h"
#include "base/attr.h"

enum { OTHERS_MOST = 8 };

static _Atomic(lr_os_fault_handler *) handler;

// Who handled SIGSEGV when ours was put before it, the latest last. An entry that others_count
// covers does not change any more: on_fault() may run in any thread.
static struct sigaction others[OTHERS_MOST];
static atomic_u32 others_count;

// The last fault that was passed on, to notice that it comes back: a handler that was installed
// after ours may pass on to ours what it does not know. Its call has the same context and a frame
// further down; another fault has another context, or the same one with the same frame, where a
// handler was left by longjmp(). It goes on to the one before, `passed_to` being the one it was
// passed to. Relaxed: of two faults at a time one may be forgotten and go round once more.
static atomic_sz passed_context;
static atomic_sz passed_frame;
static atomic_u32 passed_to;

static struct lr_os_registers registers_of(const void *context) {
    const mcontext_t *c = &((const ucontext_t *)context)->uc_mcontext;
#if defined(__x86_64__)
    return (struct lr_os_registers){.pc = (size_t)c->gregs[REG_RIP],
                                    .stack_pointer = (size_t)c->gregs[REG_RSP],
                                    .frame_pointer = (size_t)c->gregs[REG_RBP]};
#else
    return (struct lr_os_registers){
        .pc = (size_t)c->pc, .stack_pointer = (size_t)c->sp, .frame_pointer = (size_t)c->regs[29]};
#endif
}

static void install(void (*function)(int, siginfo_t *, void *), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    if (function != NULL) {
        action.sa_sigaction = function;
    } else {
        action.sa_handler = SIG_DFL;
    }
    action.sa_flags = flags;
    sigaction(SIGSEGV, &action, NULL);
}

// After this, returning from the handler repeats the fault, which ends the process as it should.
static void install_default(void) { install(NULL, 0); }

static bool is_handler(const struct sigaction *action) {
    return (action->sa_flags & SA_SIGINFO) != 0 ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

// As the kernel calls it, but for the stack: ours may run on one that it does not want.
static void call(const struct sigaction *action, int number, siginfo_t *info, void *context) {
    if ((action->sa_flags & (int)SA_RESETHAND) != 0) {
        install_default();
    }
    sigset_t blocked = action->sa_mask;
    if ((action->sa_flags & SA_NODEFER) == 0) {
        sigaddset(&blocked, number);
    }
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    if ((action->sa_flags & SA_SIGINFO) != 0) {
        action->sa_sigaction(number, info, context);
    } else {
        action->sa_handler(number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static LR_NOINLINE void pass_on(int number, siginfo_t *info, void *context, bool by_access) {
    size_t frame = (size_t)__builtin_frame_address(0);
    bool came_back = lr_load_relaxed(&passed_context) == (size_t)context &&
                     frame < lr_load_relaxed(&passed_frame);
    // Acquire pairs with lr_os_watch_faults().
    uint32_t to = came_back ? lr_load_relaxed(&passed_to) : lr_load_acquire(&others_count);
    const struct sigaction *action = to != 0 ? &others[to - 1] : NULL;
    if (action == NULL || !is_handler(action)) {
        bool ignored = action != NULL && action->sa_handler == SIG_IGN;
        if (by_access) {
            install_default(); // also where it is ignored, as the kernel does
        } else if (!ignored) {
            install_default();
            raise(number);
        }
        return;
    }
    lr_store_relaxed(&passed_context, (size_t)context);
    lr_store_relaxed(&passed_frame, frame);
    lr_store_relaxed(&passed_to, to - 1);
    call(action, number, info, context);
    lr_store_relaxed(&passed_context, 0);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved_errno = errno;
    bool by_access = info->si_code > 0; // not sent by kill()
    lr_os_fault_handler *function = lr_load_relaxed(&handler);
    struct lr_os_registers at = registers_of(context);
    if (!by_access || !function(info->si_addr, &at)) {
        pass_on(number, info, context, by_access);
    }
    errno = saved_errno;
}

static bool is_same(const struct sigaction *a, const struct sigaction *b) {
    bool same = a->sa_flags == b->sa_flags && a->sa_sigaction == b->sa_sigaction;
    for (int number = 1; same && number < NSIG; number++) {
        same = sigismember(&a->sa_mask, number) == sigismember(&b->sa_mask, number);
    }
    return same;
}

void lr_os_watch_faults(lr_os_fault_handler *function) {
    int saved_errno = errno;
    uint32_t count = lr_load_relaxed(&others_count);
    struct sigaction now;
    bool is_ours = sigaction(SIGSEGV, NULL, &now) != 0 ||
                   ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault);
    bool is_known = !is_ours && count != 0 && is_same(&others[count - 1], &now);
    // A program that installs ever new ones keeps the last.
    if (!is_ours && (is_known || count < OTHERS_MOST)) {
        if (!is_known) {
            others[count] = now;
            lr_store_release(&others_count, count + 1); // pairs with pass_on()
        }
        lr_store_relaxed(&handler, function);
        // The program's handler may be left by longjmp(), and may run on a stack of its own.
        install(on_fault, SA_SIGINFO | SA_NODEFER | (now.sa_flags & SA_RESTART) | SA_ONSTACK);
    }
    errno = saved_errno;
}
