/* links: memlane-orchestrator */
/* How many connections an address, or the network it is of, may have. */
#include "api/peers.h"
#include "unit_main.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 400

static struct peers *p;
static struct err e;

static void setup(void)
{
    ck_assert_int_eq(peers_new(&p, LIMIT, &e), 0);
}

static void teardown(void)
{
    peers_free(p);
}

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static union address address(const char *text)
{
    union address a = { .any = { 0 } };
    a.any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
    void *to = a.any.sa_family == AF_INET6 ? (void *)&a.six.sin6_addr : (void *)&a.four.sin_addr;
    ck_assert_int_eq(inet_pton(a.any.sa_family, text, to), 1);
    return a;
}

static bool enter(const char *text)
{
    union address a = address(text);
    bool may = peers_may_enter(p, &a.any);
    if (may)
        peers_enter(p, &a.any);
    return may;
}

static unsigned enter_many(const char *format, unsigned n)
{
    char text[64];
    unsigned in = 0;
    for (unsigned i = 1; i <= n; i++) {
        snprintf(text, sizeof text, format, i);
        in += enter(text);
    }
    return in;
}

START_TEST(an_address_has_so_many)
{
    for (unsigned i = 0; i < PEERS_PER_ADDRESS; i++)
        ck_assert(enter("10.0.0.1"));
    ck_assert(!enter("10.0.0.1"));
    ck_assert(!enter("::ffff:10.0.0.1")); /* the same */
    ck_assert(enter("10.0.0.2"));
    union address a = address("10.0.0.1");
    peers_leave(p, &a.any);
    ck_assert(enter("10.0.0.1"));
}
END_TEST

START_TEST(the_addresses_of_one_network_count_as_one)
{
    ck_assert_uint_eq(enter_many("2001:db8:1:2::%x", PEERS_PER_ADDRESS + 10), PEERS_PER_ADDRESS);
    ck_assert(!enter("2001:db8:1:2:ffff:ffff:ffff:ffff"));
    ck_assert(enter("2001:db8:1:3::1"));
    ck_assert_uint_eq(enter_many("fe80::%x", PEERS_PER_ADDRESS + 10), PEERS_PER_ADDRESS + 10); /* many machines */
    ck_assert_uint_eq(enter_many("10.0.0.%u", PEERS_PER_ADDRESS + 10), PEERS_PER_ADDRESS + 10);
}
END_TEST

START_TEST(an_agent_takes_no_place_of_its_network_and_gives_it_none)
{
    union address agent = address("2001:db8::a");
    ck_assert(enter("2001:db8::a"));
    peers_trust(p, &agent.any);
    for (unsigned i = 0; i < PEERS_PER_ADDRESS; i++)
        ck_assert(enter("2001:db8::a"));
    ck_assert_uint_eq(enter_many("2001:db8::1:%x", PEERS_PER_ADDRESS + 10), PEERS_PER_ADDRESS);
    ck_assert(enter("2001:db8::a"));
}
END_TEST

START_TEST(the_last_quarter_is_for_agents_and_loopback)
{
    union address agent = address("2001:db8::a");
    ck_assert(enter("2001:db8::a"));
    peers_trust(p, &agent.any);
    ck_assert_uint_eq(enter_many("2001:db8:0:%x::1", LIMIT), LIMIT - LIMIT / 4 - 1);
    ck_assert(enter("2001:db8::a"));
    while (peers_count(p) < LIMIT)
        ck_assert(enter(peers_count(p) % 2 ? "::1" : "127.0.0.1"));
    ck_assert(!enter("::1"));
}
END_TEST

START_TEST(an_address_is_shown_whole)
{
    static const char *const shown[][3] = {
        { "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
        { "::1", "::1", "::1" },
        { "fe80::7", "fe80::7", "fe80::7" },
        { "::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1" },
        { "10.0.0.1", "10.0.0.1", "10.0.0.1" },
    };
    char one[64], network[64];
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        union address a = address(shown[i][0]);
        peers_format(&a.any, one, sizeof one, network, sizeof network);
        ck_assert_str_eq(one, shown[i][1]);
        ck_assert_str_eq(network, shown[i][2]);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api_peers");
    TCase *c = tcase_create("peers");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, an_address_has_so_many);
    tcase_add_test(c, the_addresses_of_one_network_count_as_one);
    tcase_add_test(c, an_agent_takes_no_place_of_its_network_and_gives_it_none);
    tcase_add_test(c, the_last_quarter_is_for_agents_and_loopback);
    tcase_add_test(c, an_address_is_shown_whole);
    suite_add_tcase(s, c);
    return unit_main(s);
}
