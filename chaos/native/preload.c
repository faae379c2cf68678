/*
 * Loaded into a node by LD_PRELOAD: makes fsync fail or hang, and the wall clock jump, as a control file says.
 *
 * The control file (PACELINE_CHAOS_CONTROL) is mapped and read at every call, so the run changes it at any time:
 *
 *   offset  size  field
 *        0     8  added to the wall clock, nanoseconds, signed
 *        8     4  errno that fsync and fdatasync give; 0: none
 *       12     4  milliseconds that fsync and fdatasync take longer
 *       16     4  not 0: fsync and fdatasync do nothing and say that they did
 *
 * Monotonic clocks are never touched. Built at run time: cc -shared -fPIC -O1 -o preload.so preload.c -ldl
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
  volatile int64_t wall_ns;
  volatile int32_t sync_errno;
  volatile int32_t sync_ms;
  volatile int32_t sync_lies;
};

static struct control none;
static struct control *control = &none;

__attribute__((constructor)) static void map_control(void) {
  const char *path = getenv("PACELINE_CHAOS_CONTROL");
  if (path == NULL) return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) control = at;
  close(fd);
}

static int before_sync(void) {
  int32_t ms = control->sync_ms;
  if (ms > 0) {
    struct timespec pause = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&pause, NULL);
  }
  if (control->sync_errno == 0) return 0;
  errno = control->sync_errno;
  return -1;
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = dlsym(RTLD_NEXT, "fsync");
  if (before_sync() != 0) return -1;
  return control->sync_lies ? 0 : real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
  if (before_sync() != 0) return -1;
  return control->sync_lies ? 0 : real(fd);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*real)(clockid_t, struct timespec *);
  if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, at);
  int64_t add = control->wall_ns;
  if (result != 0 || add == 0) return result;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return result;
  int64_t ns = at->tv_nsec + add % 1000000000;
  at->tv_sec += add / 1000000000;
  if (ns < 0) { ns += 1000000000; at->tv_sec--; }
  if (ns >= 1000000000) { ns -= 1000000000; at->tv_sec++; }
  at->tv_nsec = ns;
  return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
  (void)zone;
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (at != NULL) *at = now.tv_sec;
  return now.tv_sec;
}
