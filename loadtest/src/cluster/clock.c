/* A wall clock that is wrong, for the process that this is loaded into (LD_PRELOAD): by as many seconds as the file holds that
 * WALL_CLOCK_OFFSET names, one number of eight bytes in the machine's own order, which may change at any moment. The monotonic
 * clock stays what it is. Behind that number a 1 is written as soon as this is loaded: not every program loads it.
 *
 * Who waits until the wall clock shows a time, as librdkafka's threads do, waits for longer where that steps back meanwhile, as
 * with a machine's clock. Where it jumps ahead they still wait for as long as they meant to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t right = 0;
static const volatile int64_t *offset = &right;
static int (*wait_pthread)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*wait_c11)(cnd_t *, mtx_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WALL_CLOCK_OFFSET");
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  void *mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  /* Some machines have two versions, of which the older is for programs of another age. */
  void *wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  wait_pthread = wait ? wait : dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  wait_c11 = dlsym(RTLD_NEXT, "cnd_timedwait");
  const int64_t loaded = 1;
  if (mapped == MAP_FAILED || !wait_pthread || !wait_c11 || pwrite(file, &loaded, sizeof loaded, sizeof *offset) < 0)
    abort();
  close(file);
  offset = mapped;
}

static struct timespec really_now(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return now;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += *offset;
  return failed;
}

int timespec_get(struct timespec *now, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec time = really_now();
  now->tv_sec = time.tv_sec + *offset;
  now->tv_usec = time.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *also) {
  time_t now = really_now().tv_sec + *offset;
  if (also)
    *also = now;
  return now;
}

/* When that is by the machine's own clock; false when it is over. */
static int is_to_come(const struct timespec *until, struct timespec *then) {
  struct timespec now = really_now();
  *then = *until;
  then->tv_sec -= *offset;
  return then->tv_sec > now.tv_sec || (then->tv_sec == now.tv_sec && then->tv_nsec > now.tv_nsec);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  struct timespec then;
  int ended = ETIMEDOUT;
  while (ended == ETIMEDOUT && is_to_come(until, &then))
    ended = wait_pthread(condition, mutex, &then);
  return ended;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  struct timespec then;
  int ended = thrd_timedout;
  while (ended == thrd_timedout && is_to_come(until, &then))
    ended = wait_c11(condition, mutex, &then);
  return ended;
}
