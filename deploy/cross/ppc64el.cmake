# Toolchain: ppc64el on another Debian machine.  The sysroot is what deploy/cross/fetch unpacked (MEMLANE_SYSROOT to put it
# elsewhere); what is built runs, tests included, under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ppc64le)
set(CMAKE_C_COMPILER powerpc64le-linux-gnu-gcc)

if(NOT MEMLANE_SYSROOT)
  set(MEMLANE_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../../build/ppc64el/sysroot)
endif()
get_filename_component(MEMLANE_SYSROOT ${MEMLANE_SYSROOT} ABSOLUTE)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MEMLANE_SYSROOT)
set(CMAKE_SYSROOT ${MEMLANE_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${MEMLANE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${MEMLANE_SYSROOT}/usr/lib/powerpc64le-linux-gnu/pkgconfig:${MEMLANE_SYSROOT}/usr/share/pkgconfig)

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-ppc64le-static;-L;${MEMLANE_SYSROOT})
