#include "unixsock.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

int unixsock_listen(int *out, int type, const char *path, struct err *e)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof addr.sun_path)
        return err_set(e, ERR_FIELD_INVALID, "the socket's path is too long: %.120s", path);
    memcpy(addr.sun_path, path, strlen(path));
    CLEANUP(cleanup_close) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    unlink(path);
    /* The mode first: bind() makes the file with it. */
    if (fd < 0 || fchmod(fd, S_IRUSR | S_IWUSR) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0 ||
        listen(fd, BACKLOG) < 0)
        return err_errno(e, ERR_IO, "cannot listen at %.120s", path);
    *out = fd;
    fd = -1;
    return 0;
}
