/* sanitized.h - SANITIZED: 1 in a build that AddressSanitizer watches, whose own memory counts as the program's. */
#ifndef MEMLANE_TEST_SANITIZED_H
#define MEMLANE_TEST_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
