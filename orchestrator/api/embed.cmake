# memlane_embed(OUT SYMBOL FILE): writes C with 'const unsigned char SYMBOL[]' and 'const size_t SYMBOL_size', made anew when FILE
# changes.  Run as a script (cmake -P) it does the writing.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ "${FILE}" hex HEX)
  file(SIZE "${FILE}" size)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "((0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],)(0x[0-9a-f][0-9a-f],))" "\\1\n" bytes "${bytes}")
  file(WRITE "${OUT}" "#include <stddef.h>\nextern const unsigned char ${SYMBOL}[];\nextern const size_t ${SYMBOL}_size;\n"
                      "const unsigned char ${SYMBOL}[] = {\n${bytes}0x00 };\nconst size_t ${SYMBOL}_size = ${size};\n")
  return()
endif()

set(MEMLANE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
function(memlane_embed out symbol file)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSYMBOL=${symbol} -DFILE=${file} -P ${MEMLANE_EMBED_SCRIPT}
    DEPENDS ${file} ${MEMLANE_EMBED_SCRIPT}
    VERBATIM)
endfunction()
