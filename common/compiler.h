/* compiler.h - the GNU attributes that this project uses, and scope cleanup.
 *
 * CLEANUP(f) runs f(&var) when the variable leaves its scope; TAKE(p) hands a pointer over and leaves NULL behind, so
 * that the cleanup of a pointer that was handed over does nothing. */
#ifndef MEMLANE_COMPILER_H
#define MEMLANE_COMPILER_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define CLEANUP(f) __attribute__((cleanup(f)))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))

#define TAKE(p)                                                                                                        \
    ({                                                                                                                 \
        __auto_type take_p_ = &(p);                                                                                    \
        __auto_type take_v_ = *take_p_;                                                                                \
        *take_p_ = NULL;                                                                                               \
        take_v_;                                                                                                       \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Ready-made cleanups, for CLEANUP(). */
void cleanup_free(void *p);  /* for a 'T *' from malloc */
void cleanup_close(int *fd); /* ignores a negative one */

#endif
