// The least that a log of records can cost on this disk: one pwritev for a group of records (a header of 64 bytes and 4096 bytes each),
// then fdatasync, into two segments full of zeros, in turn. No checksums, no sequence, nobody else.
//   append FOLDER GROUP SECONDS   ->   records a second, microseconds within which half and 99 % of the groups were durable
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 64, PAYLOAD = 4096, SEGMENT = 64 << 20, MOST = 1 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int segment(const char *folder, int number)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/append-%d", folder, number);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char *zeros = calloc(1, 1 << 20);
    if (fd < 0 || !zeros) return -1;
    for (off_t at = 0; at < SEGMENT; at += 1 << 20)
        if (pwrite(fd, zeros, 1 << 20, at) != 1 << 20) return -1;
    free(zeros);
    return fsync(fd) ? -1 : fd;
}

int main(int count, char **words)
{
    if (count != 4) return fprintf(stderr, "usage: append FOLDER GROUP SECONDS\n"), 2;
    int group = atoi(words[2]), fds[2] = { segment(words[1], 0), segment(words[1], 1) }, used = 0;
    if (group < 1 || group > 512 || fds[0] < 0 || fds[1] < 0) return perror("append"), 1;
    char header[HEADER] = "record", *payloads = malloc((size_t)group * PAYLOAD);
    struct iovec vectors[1024];
    double *took = malloc(MOST * sizeof *took);
    if (!payloads || !took) return perror("append"), 1;
    memset(payloads, 0x5a, (size_t)group * PAYLOAD);
    for (int i = 0; i < group; i++) {
        vectors[2 * i] = (struct iovec){ header, HEADER };
        vectors[2 * i + 1] = (struct iovec){ payloads + (size_t)i * PAYLOAD, PAYLOAD };
    }

    ssize_t bytes = (ssize_t)group * (HEADER + PAYLOAD);
    off_t at = 0;
    long groups = 0;
    double begin = now(), end = begin + atof(words[3]), before = begin;
    while (before < end && groups < MOST) {
        if (at + bytes > SEGMENT) at = 0, used ^= 1;
        if (pwritev(fds[used], vectors, 2 * group, at) != bytes || fdatasync(fds[used])) return perror("append"), 1;
        at += bytes;
        double after = now();
        took[groups++] = after - before;
        before = after;
    }

    qsort(took, (size_t)groups, sizeof *took, ascending);
    printf("%.1f %.1f %.1f\n", groups * group / (before - begin), took[groups / 2] * 1e6, took[groups * 99 / 100] * 1e6);
    return 0;
}
