# The store's sources, and the SQL of schema/migrations built into the program.  Include it, then use MEMLANE_STORE_SOURCES; link
# PkgConfig::SQLITE3.
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3>=3.37)
file(GLOB MEMLANE_MIGRATIONS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/../schema/migrations/*.sql)
list(SORT MEMLANE_MIGRATIONS)
list(APPEND MEMLANE_MIGRATIONS ${MEMLANE_NEXT_MIGRATION})
set(MEMLANE_MIGRATIONS_C ${CMAKE_BINARY_DIR}/orchestrator/store_migrations.c)
add_custom_command(
  OUTPUT ${MEMLANE_MIGRATIONS_C}
  COMMAND ${CMAKE_COMMAND} -DOUT=${MEMLANE_MIGRATIONS_C} "-DSQL=${MEMLANE_MIGRATIONS}" -P ${CMAKE_CURRENT_LIST_DIR}/store_embed.cmake
  DEPENDS ${MEMLANE_MIGRATIONS} ${CMAKE_CURRENT_LIST_DIR}/store_embed.cmake
  COMMENT "Building in schema/migrations" VERBATIM)
set(MEMLANE_STORE_SOURCES ${MEMLANE_MIGRATIONS_C})
foreach(name store store_db store_columns store_model store_auth store_reader store_backup store_restore store_files store_check attachment_json events)
  list(APPEND MEMLANE_STORE_SOURCES ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
endforeach()
