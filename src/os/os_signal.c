// SPDX-License-Identifier: Apache-2.0
// Faults of the program, looked at before its own handler does.
#include "os/os.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "base/atomic.h"

static _Atomic(lr_os_fault_handler *) handler;
static struct sigaction next; // whoever handled SIGSEGV before; written before on_fault() can run

// The last fault that was passed on, to notice that it comes back: a handler that was installed
// after ours may pass on to ours what it does not know. Its call has the same context and a frame
// further down; another fault has another context, or the same one with the same frame, where a
// handler was left by longjmp().
static atomic_sz passed_context;
static atomic_sz passed_frame;

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

// Returning from the handler then repeats the fault, which ends the process as it should.
static void die_by_default(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(SIGSEGV, &action, NULL);
}

static __attribute__((noinline)) void pass_on(int number, siginfo_t *info, void *context) {
    size_t frame = (size_t)__builtin_frame_address(0);
    bool came_back = lr_load_relaxed(&passed_context) == (size_t)context &&
                     frame < lr_load_relaxed(&passed_frame);
    bool has_handler = (next.sa_flags & SA_SIGINFO) != 0 ||
                       (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN);
    if (!has_handler || came_back) {
        die_by_default();
        return;
    }
    lr_store_relaxed(&passed_context, (size_t)context);
    lr_store_relaxed(&passed_frame, frame);
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &next.sa_mask, &before);
    if ((next.sa_flags & SA_SIGINFO) != 0) {
        next.sa_sigaction(number, info, context);
    } else {
        next.sa_handler(number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    lr_store_relaxed(&passed_context, 0);
}

static void on_fault(int number, siginfo_t *info, void *context) {
    int saved_errno = errno;
    bool by_access = info->si_code > 0; // not sent by kill()
    lr_os_fault_handler *function = lr_load_relaxed(&handler);
    struct lr_os_registers at = registers_of(context);
    if (!by_access || !function(info->si_addr, &at)) {
        pass_on(number, info, context);
    }
    errno = saved_errno;
}

void lr_os_watch_faults(lr_os_fault_handler *function) {
    int saved_errno = errno;
    struct sigaction now;
    if (sigaction(SIGSEGV, NULL, &now) == 0 &&
        ((now.sa_flags & SA_SIGINFO) == 0 || now.sa_sigaction != on_fault)) {
        next = now;
        lr_store_relaxed(&handler, function);
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = on_fault;
        // The program's handler may be left by longjmp(), and may run on a stack of its own.
        action.sa_flags = SA_SIGINFO | SA_NODEFER | (now.sa_flags & SA_RESTART) | SA_ONSTACK;
        sigaction(SIGSEGV, &action, NULL);
    }
    errno = saved_errno;
}
