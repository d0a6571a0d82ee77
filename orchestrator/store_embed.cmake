# cmake -DOUT=file.c -DSQL="a.sql;b.sql" -P: a C table of the migrations, in order.  Their numbers must be 1, 2, 3, ...
set(arrays "")
set(table "")
set(expected 1)
foreach(file IN LISTS SQL)
  get_filename_component(name "${file}" NAME)
  if(NOT name MATCHES "^([0-9][0-9][0-9][0-9])-[a-z0-9-]+\\.sql$")
    message(FATAL_ERROR "${name} is not named NNNN-words.sql")
  endif()
  math(EXPR number "1${CMAKE_MATCH_1} - 10000")
  if(NOT number EQUAL expected)
    message(FATAL_ERROR "${name}: migration ${expected} is missing")
  endif()
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const char sql_${number}[] = { ${bytes}0 };\n")
  string(APPEND table "    { \"${name}\", sql_${number} },\n")
  math(EXPR expected "${expected} + 1")
endforeach()
math(EXPR count "${expected} - 1")
file(WRITE "${OUT}.new" "/* Made from schema/migrations by store_embed.cmake. */
#include \"store_db.h\"

${arrays}
const struct migration store_migrations[] = {\n${table}};
const int store_n_migrations = ${count};
")
file(RENAME "${OUT}.new" "${OUT}")
