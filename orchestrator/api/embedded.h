/* embedded.h - files that the build turns into C (embed.cmake). */
#ifndef MEMLANE_EMBEDDED_H
#define MEMLANE_EMBEDDED_H

#include <stddef.h>

extern const unsigned char api_openapi_yaml[];
extern const size_t api_openapi_yaml_size;

#endif
