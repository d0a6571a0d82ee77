/* test_silent_lender.c - agent/orders.h: orders for buffers while their lender, a thread of this test's, does not
 * answer. */
/* links: memlane-agent-core */
#include "converge_fixture.h"
#include "lender/protocol.h"
#include "observe.h"
#include "unit_main.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECTIONS 8

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    struct pollfd fds[CONNECTIONS + 1]; /* the last one listens */
    char lender_id[ID_SIZE];
    bool mute[LENDER_OP_READ + 1]; /* says nothing to such requests */
    unsigned asked[LENDER_OP_READ + 1];
    enum lender_status alloc;
} fake;

static void answer(int fd, const struct lender_request *r)
{
    struct lender_answer a = { .magic = LENDER_MAGIC, .protocol = LENDER_PROTOCOL, .op = r->op, .tag = r->tag };
    pthread_mutex_lock(&fake.lock);
    fake.asked[r->op]++;
    bool mute = fake.mute[r->op];
    memcpy(a.lender_id, fake.lender_id, sizeof a.lender_id);
    a.status = r->op == LENDER_OP_ALLOC ? fake.alloc : r->op == LENDER_OP_LIST ? LENDER_END : LENDER_OK;
    a.adapter_ok = 1;
    pthread_mutex_unlock(&fake.lock);
    if (!mute)
        ck_assert_int_ge(send(fd, &a, sizeof a, MSG_NOSIGNAL), -1);
}

static void take(struct pollfd *p)
{
    struct lender_request r;
    ssize_t n = recv(p->fd, &r, sizeof r, 0);
    if (n == sizeof r) {
        answer(p->fd, &r);
        return;
    }
    close(p->fd);
    p->fd = -1;
}

/* Ends when the listening socket is shut down. */
static void *fake_main(void *arg)
{
    (void)arg;
    for (;;) {
        poll(fake.fds, CONNECTIONS + 1, -1);
        for (unsigned i = 0; i < CONNECTIONS; i++)
            if (fake.fds[i].fd >= 0 && fake.fds[i].revents)
                take(&fake.fds[i]);
        if (!fake.fds[CONNECTIONS].revents)
            continue;
        int fd = accept(fake.fds[CONNECTIONS].fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        unsigned i = 0;
        while (i < CONNECTIONS && fake.fds[i].fd >= 0)
            i++;
        ck_assert_uint_lt(i, CONNECTIONS);
        fake.fds[i].fd = fd;
    }
}

static void is_called(const char *lender_id)
{
    pthread_mutex_lock(&fake.lock);
    snprintf(fake.lender_id, sizeof fake.lender_id, "%s", lender_id);
    pthread_mutex_unlock(&fake.lock);
}

static void is_mute(enum lender_op op, bool mute)
{
    pthread_mutex_lock(&fake.lock);
    fake.mute[op] = mute;
    fake.asked[op] = 0;
    pthread_mutex_unlock(&fake.lock);
}

static unsigned asked(enum lender_op op)
{
    pthread_mutex_lock(&fake.lock);
    unsigned n = fake.asked[op];
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* What is told of buffers, and of their adapter; the caller frees it. */
static struct wire_observed seen(void)
{
    struct wire_observed o;
    struct err e = { 0 };
    ck_assert_int_eq(observe(&node, OBSERVE_ORDERS, &o, &e), 0);
    ck_assert_msg(o.adapters[1].ok, "%s", o.adapters[1].error);
    return o;
}

static void setup_lender(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    struct err e = { 0 };
    setup();
    memset(&fake, 0, sizeof fake);
    pthread_mutex_init(&fake.lock, NULL);
    is_called("lender-1");
    for (unsigned i = 0; i <= CONNECTIONS; i++)
        fake.fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
    int fd = fake.fds[CONNECTIONS].fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/lender-afu1.sock", fixture_dir);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(listen(fd, 4), 0);
    ck_assert_int_eq(pthread_create(&fake.thread, NULL, fake_main, NULL), 0);
    struct adapter_config *a = &config.adapters[config.n_adapters++];
    a->wire.role = WIRE_MEMORY;
    a->wire.ports = 2;
    strcpy(a->wire.name, "afu1");
    strcpy(a->device, "/dev/any");
    node_done(&node);
    start_agent();
    struct wire_observed o;
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    wire_observed_done(&o);
}

static void teardown_lender(void)
{
    teardown();
    shutdown(fake.fds[CONNECTIONS].fd, SHUT_RDWR);
    pthread_join(fake.thread, NULL);
    for (unsigned i = 0; i <= CONNECTIONS; i++)
        if (fake.fds[i].fd >= 0)
            close(fake.fds[i].fd);
}

static void order(enum wire_want want, unsigned n)
{
    static uint64_t revision;
    struct wire_want_buffer all[3] = { 0 };
    struct wire_desired d = { .epoch = 1, .revision = ++revision, .buffers = all, .n_buffers = n };
    for (unsigned i = 0; i < n; i++) {
        struct wire_want_buffer *w = &all[i];
        snprintf(w->id, sizeof w->id, "b%u", i);
        w->want = want;
        w->attempt = 1;
        strcpy(w->adapter, "afu1");
        strcpy(w->compute_node, "n2");
        strcpy(w->compute_adapter, "afu0");
        w->size_bytes = BLOCK;
        w->offset_bytes = i * BLOCK;
    }
    converge_apply(&node, &d);
}

START_TEST(buffers_whose_release_was_not_answered_or_not_sent_are_held)
{
    is_mute(LENDER_OP_RELEASE, true);
    order(WIRE_ABSENT, 2);
    ck_assert_uint_eq(asked(LENDER_OP_RELEASE), 1); /* it is asked nothing more in this pass */
    ck_assert(node.incomplete);
    struct wire_observed o = seen();
    ck_assert_uint_eq(o.n_buffers, 2); /* though its list shows neither: it may be committing them still */
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(o.buffers[i].present);
        ck_assert_str_eq(o.buffers[i].lender_id, "");
        ck_assert_str_eq(o.buffers[i].error, ""); /* nothing failed */
    }
    wire_observed_done(&o);
    is_mute(LENDER_OP_RELEASE, false);
    order(WIRE_ABSENT, 2); /* of the same attempt */
    ck_assert_uint_eq(asked(LENDER_OP_RELEASE), 2);
    ck_assert(!node.incomplete);
    o = seen();
    ck_assert_uint_eq(o.n_buffers, 0);
    wire_observed_done(&o);
}
END_TEST

START_TEST(what_a_silent_lender_held_is_gone_with_it)
{
    struct wire_observed o;
    struct err e = { 0 };
    is_mute(LENDER_OP_RELEASE, true);
    order(WIRE_ABSENT, 1);
    is_called("lender-2");
    ck_assert_int_eq(observe(&node, OBSERVE_ALL, &o, &e), 0);
    ck_assert_uint_eq(o.n_buffers, 1);
    ck_assert(!o.buffers[0].present);
    wire_observed_done(&o);
}
END_TEST

START_TEST(a_lender_that_does_not_answer_a_create_is_asked_nothing_more_in_that_pass)
{
    is_mute(LENDER_OP_ALLOC, true);
    order(WIRE_CREATE, 3);
    ck_assert_uint_eq(asked(LENDER_OP_ALLOC), 1);
    ck_assert(node.incomplete);
    ck_assert_uint_eq(node.n_failed, 0);
}
END_TEST

START_TEST(a_lender_that_is_still_at_it_is_told_of_every_buffer)
{
    fake.alloc = LENDER_AGAIN;
    ck_assert_int_eq(agent_config_set(&config, "time_scale", "0.02", &(struct err){ 0 }), 0);
    order(WIRE_CREATE, 3);
    ck_assert_uint_ge(asked(LENDER_OP_ALLOC), 3);
    ck_assert(node.incomplete);
    ck_assert_uint_eq(node.n_failed, 0);
}
END_TEST

int main(void)
{
    in_steps = true;
    Suite *s = suite_create("silent_lender");
    TCase *t = tcase_create("silent_lender");
    tcase_add_checked_fixture(t, setup_lender, teardown_lender);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, buffers_whose_release_was_not_answered_or_not_sent_are_held);
    tcase_add_test(t, what_a_silent_lender_held_is_gone_with_it);
    tcase_add_test(t, a_lender_that_does_not_answer_a_create_is_asked_nothing_more_in_that_pass);
    tcase_add_test(t, a_lender_that_is_still_at_it_is_told_of_every_buffer);
    suite_add_tcase(s, t);
    return unit_main(s);
}
