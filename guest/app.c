// What runs in the test guest: one process that answers, counts and writes to its memory, so that a test can see whether a
// migration has lost, repeated or damaged anything.
//
//   TCP and UDP port 7     echo
//   UDP port 7001          echo of probes: each datagram goes back to port 7002 of its sender, where the probes' receiver listens
//   UDP port 8             any datagram is answered with "COUNTER BAD FULL\n": ticks since boot, words of memory found wrong, and datagrams
//                          that found the socket of an echo full; the datagram
//                          "pattern" with "COUNTER BAD WRONG WORDS\n": the pattern is read, WRONG of its WORDS words are not as written;
//                          "dirty PAGES" changes how many pages are written a second
//   app=dirty=PAGES,over=MIB   writes to so many pages of 4 KiB a second, of so many MiB; each page says when it was written, and
//                              what it says is checked before it is written again
//   app=pattern=MIB            so much memory is written once, at the start, and never again
//   app=disk=DEVICE,every=MS   writes numbered records to a disk, see disk.c; UDP port 8 tells about them: "disk FROM" (what was written
//                              from number FROM on), "disk stop", "disk go"
//
// The counter goes up by one every 100 ms of the guest's own clock: it stands still while the guest does. All ports are those of IPv4 and
// IPv6; where the kernel has no IPv6, of IPv4 alone.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "disk.h"

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

// As many datagrams as are taken and answered in one call, and their largest size: a full Ethernet frame's.
#define BATCH 64
#define DATAGRAM 2048

// What comes while the application has no processor, or all at once when the guest was moved, waits. The kernel doubles it, and counts a
// small datagram with more than 2 KiB: 2 to 3 s at 5,000 a second. What all sockets may have together is in init. What is sent has the
// kernel's own small buffer: it is full before the device's queue is, which drops without a word.
#define WAITING (16 << 20)

#define PROBES 7001
#define PROBES_BACK 7002

static uint64_t counter, bad, written;
static int udp, probes;
static uint64_t *memory, *pattern;
static size_t pages, pages_a_tick, pattern_pages;

// Every word of a page says which page it is and how often it was written.
static uint64_t word_of(size_t page, uint64_t round, size_t word)
{
    uint64_t x = page * 0x9E3779B97F4A7C15u + round * 0xC2B2AE3D27D4EB4Fu + word;
    x ^= x >> 29;
    return x * 0xBF58476D1CE4E5B9u;
}

static void write_page(uint64_t *at, size_t page, uint64_t round)
{
    for (size_t w = 0; w < WORDS; w++) at[page * WORDS + w] = word_of(page, round, w);
}

// Words of a page that are not as they were written.
static uint64_t wrong_in(const uint64_t *at, size_t page, uint64_t round)
{
    uint64_t wrong = 0;
    for (size_t w = 0; w < WORDS; w++) wrong += at[page * WORDS + w] != word_of(page, round, w);
    return wrong;
}

static void tick(void)
{
    counter++;
    for (size_t i = 0; i < pages_a_tick; i++, written++) {
        size_t page = written % pages;
        uint64_t round = written / pages;
        bad += wrong_in(memory, page, round);
        write_page(memory, page, round + 1);
    }
}

static void fatal(const char *what)
{
    printf("app: %s: %s\n", what, strerror(errno));
    for (;;) pause();
}

static int bound(int type, int port)
{
    int fd = socket(AF_INET6, type | SOCK_NONBLOCK, 0), on = 1, off = 0, waiting = WAITING;
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr *at = (struct sockaddr *)&any;
    socklen_t length = sizeof any;
    if (fd < 0) {
        fd = socket(AF_INET, type | SOCK_NONBLOCK, 0);
        at = (struct sockaddr *)&any4;
        length = sizeof any4;
    } else if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) fatal("IPV6_V6ONLY");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (type == SOCK_DGRAM && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &waiting, sizeof waiting) < 0) fatal("SO_RCVBUFFORCE");
    if (fd < 0 || bind(fd, at, length) < 0) fatal("bind");
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0) fatal("epoll_ctl");
}

static uint64_t full(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = { 0 };
    socklen_t length = sizeof info;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) < 0) fatal("SO_MEMINFO");
    return info[SK_MEMINFO_DROPS];
}

static size_t counts(char *text, size_t size, int with_pattern)
{
    uint64_t wrong = 0;
    if (!with_pattern) {
        return snprintf(text, size, "%llu %llu %llu\n", (unsigned long long)counter, (unsigned long long)bad,
            (unsigned long long)(full(udp) + full(probes)));
    }

    for (size_t i = 0; i < pattern_pages; i++) wrong += wrong_in(pattern, i, 0);
    return snprintf(text, size, "%llu %llu %llu %zu\n", (unsigned long long)counter, (unsigned long long)bad, (unsigned long long)wrong,
        pattern_pages * WORDS);
}

// Answers what is there, up to a batch: the other ports have their turn. Each datagram with itself, to its sender or, with back, to that
// port of its sender; with_counter: with the counts.
static void answer(int fd, int with_counter, int back)
{
    static char buffers[BATCH][DATAGRAM];
    static struct sockaddr_in6 from[BATCH];   // an IPv4 address too: the port is at the same place
    static struct iovec parts[BATCH];
    static struct mmsghdr datagrams[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ buffers[i], DATAGRAM };
        datagrams[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i],
            .msg_iovlen = 1 };
    }

    int n = recvmmsg(fd, datagrams, BATCH, 0, NULL);
    for (int i = 0; i < n; i++) {
        size_t length = datagrams[i].msg_len;
        if (with_counter && length > 6 && length < DATAGRAM && memcmp(buffers[i], "dirty ", 6) == 0) {
            buffers[i][length] = 0;
            pages_a_tick = strtoul(buffers[i] + 6, NULL, 10) / 10;
        }
        if (with_counter && length > 5 && length < DATAGRAM && memcmp(buffers[i], "disk ", 5) == 0) {
            buffers[i][length] = 0;
            length = disk_says(buffers[i] + 5, buffers[i], DATAGRAM);
        } else if (with_counter) length = counts(buffers[i], DATAGRAM, length >= 7 && memcmp(buffers[i], "pattern", 7) == 0);
        if (back) from[i].sin6_port = htons(back);
        parts[i].iov_len = length;
    }

    for (int sent = 0; sent < n;) {
        int once = sendmmsg(fd, datagrams + sent, n - sent, 0);
        if (once > 0) sent += once;
        else if (errno == EAGAIN || errno == ENOBUFS) usleep(1000);
        else sent++;   // its sender cannot be reached: told to nobody, as any echo
    }
}

// Echoes what is there. A client that does not read is waited for: what it sent is not lost.
static void echo(int fd)
{
    static char buffer[65536];
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close(fd);
        return;
    }

    for (ssize_t sent = 0; sent < n;) {
        ssize_t once = send(fd, buffer + sent, n - sent, MSG_NOSIGNAL);
        if (once < 0 && errno == EAGAIN) usleep(1000);
        else if (once < 0) {
            close(fd);
            return;
        } else sent += once;
    }
}

int main(int argc, char **argv)
{
    size_t dirty = 0, over = 16, once = 0, write_every = 10;
    const char *disk = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "dirty=", 6) == 0) dirty = strtoul(argv[i] + 6, NULL, 10);
        if (strncmp(argv[i], "over=", 5) == 0) over = strtoul(argv[i] + 5, NULL, 10);
        if (strncmp(argv[i], "pattern=", 8) == 0) once = strtoul(argv[i] + 8, NULL, 10);
        if (strncmp(argv[i], "disk=", 5) == 0) disk = argv[i] + 5;
        if (strncmp(argv[i], "every=", 6) == 0) write_every = strtoul(argv[i] + 6, NULL, 10);
    }

    pages = over * 1048576 / PAGE;
    pattern_pages = once * 1048576 / PAGE;
    pages_a_tick = dirty / 10;
    memory = mmap(NULL, (pages + pattern_pages) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) fatal("mmap");
    pattern = memory + pages * WORDS;
    for (size_t i = 0; i < pages; i++) write_page(memory, i, 0);
    for (size_t i = 0; i < pattern_pages; i++) write_page(pattern, i, 0);

    int epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = { .it_interval = { .tv_nsec = 100000000 }, .it_value = { .tv_nsec = 100000000 } };
    int count = bound(SOCK_DGRAM, 8), tcp = bound(SOCK_STREAM, 7);
    udp = bound(SOCK_DGRAM, 7);
    probes = bound(SOCK_DGRAM, PROBES);
    if (listen(tcp, 64) < 0 || timerfd_settime(timer, 0, &every, NULL) < 0) fatal("start");
    watch(epoll, timer);
    watch(epoll, udp);
    watch(epoll, probes);
    watch(epoll, count);
    watch(epoll, tcp);
    if (disk && disk_start(disk, write_every) < 0) fatal(disk);
    printf("app: ready\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[32];
        int n = epoll_wait(epoll, events, 32, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            uint64_t times;
            if (fd == timer) {
                if (read(timer, &times, sizeof times) == sizeof times) while (times-- > 0) tick();
            } else if (fd == udp || fd == probes || fd == count) {
                answer(fd, fd == count, fd == probes ? PROBES_BACK : 0);
            } else if (fd == tcp) {
                int client = accept4(tcp, NULL, NULL, SOCK_NONBLOCK);
                if (client >= 0) watch(epoll, client);
            } else {
                echo(fd);
            }
        }
    }
}
