/* unit_main.h - how the main() of each unit test ends. */
#ifndef MEMLANE_TESTS_UNIT_MAIN_H
#define MEMLANE_TESTS_UNIT_MAIN_H

#include <check.h>

/* Runs every test of the suite and prints what failed, and one line that counts; the result is main()'s.  Check's
 * environment variables hold: CK_VERBOSITY=verbose names all tests, CK_FORK=no keeps them in this process. */
int unit_main(Suite *suite);

#endif
