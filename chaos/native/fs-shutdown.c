/*
 * Cuts the power of one mounted file system: fs-shutdown MOUNTPOINT.
 *
 * FS_IOC_SHUTDOWN with NOLOGFLUSH: from now on every operation fails and nothing more reaches the disk, not even the
 * journal's own buffers. What a later mount finds is what had been synced.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NOLOGFLUSH 2

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int fd = open(argv[1], O_RDONLY | O_DIRECTORY);
  uint32_t how = NOLOGFLUSH;
  if (fd < 0 || ioctl(fd, FS_IOC_SHUTDOWN, &how) != 0) {
    perror(argv[1]);
    return 1;
  }
  return 0;
}
