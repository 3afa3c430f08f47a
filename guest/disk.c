// Writes numbered, checksummed records to a disk, one after the other, each durable (O_DIRECT, then fdatasync) before it counts as
// acknowledged, and reads back one of those that were acknowledged earlier after each. So a test can see whether a migration has lost,
// repeated or damaged anything on the disk: each record that was acknowledged is there until the disk has come round to its place again.
//
// A record is 4096 bytes at (number % records of the disk) * 4096; 512 words of 64 bits, little-endian:
//   0  "SDNEDGE1"     1  the boot, a random number     2  the record's number, from 1
//   3  the sum of all others, each times its place + 1     4 ..  what follows from boot, number and place
//
// "disk FROM" is answered with
//   BOOT ACKED READ BAD ERRORS STOPPED NOW FIRST  and for each of FIRST, FIRST + 1, ..  AGE LATENCY
// ACKED: the last record acknowledged. READ: records read back; BAD: those that were not as written. ERRORS: requests that failed. STOPPED:
// 1 when "disk stop" was asked and none is being written; "disk go" has it go on. NOW: the guest's clock, microseconds; AGE: how long ago
// its write began, LATENCY: how long it took until it was durable, both in microseconds. Numbers before FROM are not told again; as many as
// fit are told.
#define _GNU_SOURCE
#include "disk.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RECORD 4096
#define WORDS (RECORD / sizeof(uint64_t))
#define REMEMBERED 8192                    // of so many records when they were written
#define ANSWER 1400                        // fits into one frame
#define STACK 65536
#define RETRY_US 100000
#define STOPPED_US 10000

struct written {
    uint64_t began, latency;
};

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static struct written written[REMEMBERED]; // of record n at n % REMEMBERED
static uint64_t boot, acked, read_back, bad, errors;
static int stop, stopped, disk = -1;
static uint64_t records, every_us;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static uint64_t mixed(uint64_t x)
{
    x ^= x >> 29;
    x *= 0xBF58476D1CE4E5B9u;
    return x ^ x >> 32;
}

static void make(uint64_t *record, uint64_t number)
{
    uint64_t seed = boot * 0x9E3779B97F4A7C15u + number * 0xC2B2AE3D27D4EB4Fu, sum = 0;
    memcpy(record, "SDNEDGE1", 8);
    record[1] = boot;
    record[2] = number;
    record[3] = 0;
    for (size_t i = 4; i < WORDS; i++) record[i] = mixed(seed + i);
    for (size_t i = 0; i < WORDS; i++) sum += record[i] * (i + 1);
    record[3] = sum;
}

// Tells of a request that failed, and waits a moment: the same one is tried again.
static void failed(void)
{
    pthread_mutex_lock(&gate);
    errors++;
    pthread_mutex_unlock(&gate);
    usleep(RETRY_US);
}

// Between two records: whether it is not to go on.
static int stays_stopped(void)
{
    pthread_mutex_lock(&gate);
    int stays = stopped = stop;
    pthread_mutex_unlock(&gate);
    return stays;
}

static void *writer(void *unused)
{
    uint64_t *record = NULL, *there = NULL;
    (void)unused;
    if (posix_memalign((void **)&record, RECORD, RECORD) || posix_memalign((void **)&there, RECORD, RECORD)) return NULL;
    for (uint64_t number = 1;; number++) {
        make(record, number);
        uint64_t began = now_us();
        while (pwrite(disk, record, RECORD, number % records * RECORD) != RECORD || fdatasync(disk) != 0) failed();
        uint64_t done = now_us();
        pthread_mutex_lock(&gate);
        written[number % REMEMBERED] = (struct written){ began, done - began };
        acked = number;
        pthread_mutex_unlock(&gate);

        // One that is still there: the disk has not come round to its place.
        uint64_t oldest = number >= records ? number - records + 1 : 1, earlier = oldest + mixed(number) % (number - oldest + 1);
        while (pread(disk, there, RECORD, earlier % records * RECORD) != RECORD) failed();
        make(record, earlier);
        int same = memcmp(record, there, RECORD) == 0;
        pthread_mutex_lock(&gate);
        read_back++;
        bad += !same;
        pthread_mutex_unlock(&gate);
        while (stays_stopped()) usleep(STOPPED_US);
        uint64_t until = began + every_us, now = now_us();
        if (now < until) usleep(until - now);
    }
}

int disk_start(const char *device, unsigned long every_ms)
{
    uint64_t bytes = 0;
    pthread_attr_t small;
    pthread_t thread;
    disk = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0) return -1;
    records = bytes / RECORD;
    every_us = every_ms * 1000;
    if (getrandom(&boot, sizeof boot, GRND_INSECURE) != sizeof boot) return -1;
    boot >>= 1;   // a number that is signed elsewhere
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    errno = pthread_create(&thread, &small, writer, NULL);
    return errno ? -1 : 0;
}

size_t disk_says(const char *question, char *text, size_t size)
{
    int ends = strncmp(question, "stop", 4) == 0, goes_on = strncmp(question, "go", 2) == 0;
    uint64_t from = strtoull(question, NULL, 10), now = now_us();
    if (disk < 0) return snprintf(text, size, "none\n");
    pthread_mutex_lock(&gate);
    stop = ends || (stop && !goes_on);
    if (ends || goes_on || from > acked) from = acked + 1;
    else if (from + REMEMBERED <= acked + 1) from = acked + 2 - REMEMBERED;
    size_t length = snprintf(text, size, "%llu %llu %llu %llu %llu %d %llu %llu", (unsigned long long)boot, (unsigned long long)acked,
        (unsigned long long)read_back, (unsigned long long)bad, (unsigned long long)errors, stopped, (unsigned long long)now,
        (unsigned long long)from);
    for (uint64_t n = from; n <= acked && length < ANSWER; n++) {
        const struct written *w = &written[n % REMEMBERED];
        length += snprintf(text + length, size - length, " %llu %llu", (unsigned long long)(now - w->began),
            (unsigned long long)w->latency);
    }
    pthread_mutex_unlock(&gate);
    return length;
}
