// What runs in the test guest: one process that answers, counts and writes to its memory, so that a test can see whether a
// migration has lost, repeated or damaged anything.
//
//   TCP and UDP port 7     echo
//   UDP port 8             any datagram is answered with "COUNTER BAD\n": ticks since boot, and words of memory found wrong
//   app=dirty=PAGES,over=MIB   writes to so many pages of 4 KiB a second, of so many MiB; each page says when it was written, and
//                              what it says is checked before it is written again
//
// The counter goes up by one every 100 ms of the guest's own clock: it stands still while the guest does.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / sizeof(uint64_t))

static uint64_t counter, bad, written;
static uint64_t *memory;
static size_t pages, pages_a_tick;

// Every word of a page says which page it is and how often it was written.
static uint64_t word_of(size_t page, uint64_t round, size_t word)
{
    uint64_t x = page * 0x9E3779B97F4A7C15u + round * 0xC2B2AE3D27D4EB4Fu + word;
    x ^= x >> 29;
    return x * 0xBF58476D1CE4E5B9u;
}

static void write_page(size_t page, uint64_t round)
{
    for (size_t w = 0; w < WORDS; w++) memory[page * WORDS + w] = word_of(page, round, w);
}

static void check_page(size_t page, uint64_t round)
{
    for (size_t w = 0; w < WORDS; w++) bad += memory[page * WORDS + w] != word_of(page, round, w);
}

static void tick(void)
{
    counter++;
    for (size_t i = 0; i < pages_a_tick; i++, written++) {
        size_t page = written % pages;
        uint64_t round = written / pages;
        check_page(page, round);
        write_page(page, round + 1);
    }
}

static void fatal(const char *what)
{
    printf("app: %s: %s\n", what, strerror(errno));
    for (;;) pause();
}

static int bound(int type, int port)
{
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0) fatal("bind");
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0) fatal("epoll_ctl");
}

static void answer(int fd, int with_counter)
{
    static char buffer[65536];
    struct sockaddr_in from;
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
        if (n < 0) return;
        if (with_counter) n = snprintf(buffer, sizeof buffer, "%llu %llu\n", (unsigned long long)counter, (unsigned long long)bad);
        sendto(fd, buffer, n, 0, (struct sockaddr *)&from, length);
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
    size_t dirty = 0, over = 16;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "dirty=", 6) == 0) dirty = strtoul(argv[i] + 6, NULL, 10);
        if (strncmp(argv[i], "over=", 5) == 0) over = strtoul(argv[i] + 5, NULL, 10);
    }

    pages = over * 1048576 / PAGE;
    pages_a_tick = dirty / 10;
    memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) fatal("mmap");
    for (size_t i = 0; i < pages; i++) write_page(i, 0);

    int epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = { .it_interval = { .tv_nsec = 100000000 }, .it_value = { .tv_nsec = 100000000 } };
    int udp = bound(SOCK_DGRAM, 7), count = bound(SOCK_DGRAM, 8), tcp = bound(SOCK_STREAM, 7);
    if (listen(tcp, 64) < 0 || timerfd_settime(timer, 0, &every, NULL) < 0) fatal("start");
    watch(epoll, timer);
    watch(epoll, udp);
    watch(epoll, count);
    watch(epoll, tcp);
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
            } else if (fd == udp || fd == count) {
                answer(fd, fd == count);
            } else if (fd == tcp) {
                int client = accept4(tcp, NULL, NULL, SOCK_NONBLOCK);
                if (client >= 0) watch(epoll, client);
            } else {
                echo(fd);
            }
        }
    }
}
