/* ocxl_translate.c - see ocxl_translate.h */
#include "ocxl_translate.h"

#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PRESENT (UINT64_C(1) << 63)
#define FRAME ((UINT64_C(1) << 55) - 1)
#define ENTRIES 512 /* pages looked at in one read */

struct ocxl_translator {
    pthread_t thread;
    struct ocxl_afu afu; /* a copy: names, address, a connection of its own */
};

/* The first run of pages from 'addr' on that lie one behind the other in physical memory; or how far there are none. */
static int32_t translate(int pagemap, uint64_t addr, uint64_t len, struct link_answer *out)
{
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), entries[ENTRIES], first = 0, n = 0;
    uint64_t pages = (len + page_bytes - 1) / page_bytes;

    for (bool more = true; more && n < pages;) {
        size_t want = pages - n < ENTRIES ? (size_t)(pages - n) : ENTRIES;
        ssize_t got =
            pread(pagemap, entries, want * sizeof *entries, (off_t)((addr / page_bytes + n) * sizeof *entries));

        if (got < (ssize_t)sizeof *entries)
            break;
        for (size_t i = 0; i < (size_t)got / sizeof *entries && more; i++) {
            uint64_t frame = entries[i] & PRESENT ? entries[i] & FRAME : 0;

            if (n == 0)
                first = frame;
            more = first ? frame == first + n : frame == 0;
            n += more;
        }
    }
    out->more = n * page_bytes;
    out->value = first * page_bytes;
    return first ? LINK_OK : LINK_NO_CONTEXT;
}

static void serve(const struct ocxl_translator *t, int pagemap)
{
    struct link_request r;

    while (recv(t->afu.fd, &r, sizeof r, MSG_WAITALL) == (ssize_t)sizeof r) {
        struct link_answer a = { .tag = r.tag };

        a.status = (int32_t)htole32((uint32_t)translate(pagemap, le64toh(r.offset), le64toh(r.value), &a));
        a.value = htole64(a.value);
        a.more = htole64(a.more);
        if (send(t->afu.fd, &a, sizeof a, MSG_NOSIGNAL) != (ssize_t)sizeof a)
            return;
    }
}

static void *run(void *arg)
{
    static const struct timespec pause = { .tv_nsec = 200000000 };
    struct ocxl_translator *t = arg;
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

    if (pagemap < 0)
        return NULL;
    for (;;) {
        if (ocxl_call_open_translator(&t->afu) == LINK_OK)
            serve(t, pagemap);
        ocxl_call_hang_up(&t->afu);
        nanosleep(&pause, NULL); /* the emulator is away: it comes back */
    }
}

struct ocxl_translator *ocxl_translator_start(const struct ocxl_afu *afu)
{
    struct ocxl_translator *t = calloc(1, sizeof *t);
    sigset_t all, before;
    int rc;

    if (!t)
        return NULL;
    memcpy(t->afu.address, afu->address, sizeof t->afu.address);
    memcpy(t->afu.node, afu->node, sizeof t->afu.node);
    memcpy(t->afu.adapter, afu->adapter, sizeof t->afu.adapter);
    t->afu.fd = -1;
    sigfillset(&all); /* signals are the lender's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&t->thread, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        return t;
    free(t);
    return NULL;
}

void ocxl_translator_stop(struct ocxl_translator *t)
{
    if (!t)
        return;
    pthread_cancel(t->thread);
    pthread_join(t->thread, NULL);
    ocxl_call_hang_up(&t->afu);
    free(t);
}
