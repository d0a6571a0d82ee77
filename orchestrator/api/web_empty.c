/* web_empty.c - stands in for the dashboard in a build without it (MEMLANE_WEB=OFF). */
#include "api/web_table.h"

const struct web_file web_files[1] = { { 0 } };
const size_t web_n_files = 0;
