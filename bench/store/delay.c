// A link between two sites: TCP connections to 127.0.0.1:LISTEN go on to 127.0.0.1:CONNECT, and every byte arrives DELAY microseconds
// after it came, in order, in both directions; with RATE at most so many bytes a second in each.
//   delay LISTEN CONNECT DELAY [RATE]
// On SIGUSR1 it writes one line: bytes carried towards CONNECT, bytes carried back, when the first connection came (CLOCK_MONOTONIC,
// nanoseconds; 0 = none did).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 128 << 10, PACED = 16 << 10 };
#define MOST_WAITING (256L << 20)

struct piece { struct piece *next; int64_t due; size_t length; char bytes[]; };

struct direction {
    int from, to;
    atomic_long *carried;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece *first, **last;
    long waiting;
    int ended;
};

static int64_t delay, rate;
static atomic_long carried[2], connected;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void sleep_until(int64_t at)
{
    struct timespec t = { at / 1000000000, at % 1000000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) { }
}

static void *take(void *argument)
{
    struct direction *d = argument;
    for (;;) {
        struct piece *p = malloc(sizeof *p + PIECE);
        ssize_t got = p ? recv(d->from, p->bytes, PIECE, 0) : 0;
        pthread_mutex_lock(&d->lock);
        if (got > 0) {
            *p = (struct piece){ .due = now() + delay, .length = (size_t)got };
            p = realloc(p, sizeof *p + p->length);
            *d->last = p;
            d->last = &p->next;
            d->waiting += got;
        } else {
            free(p);
            d->ended = 1;
        }
        pthread_cond_broadcast(&d->changed);
        while (d->waiting > MOST_WAITING) pthread_cond_wait(&d->changed, &d->lock);
        pthread_mutex_unlock(&d->lock);
        if (got <= 0) return NULL;
    }
}

static int put(struct direction *d, const char *bytes, size_t length)
{
    while (length) {
        ssize_t sent = send(d->to, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        bytes += sent, length -= (size_t)sent;
        atomic_fetch_add(d->carried, sent);
    }
    return 1;
}

static void *give(void *argument)
{
    struct direction *d = argument;
    int64_t free_at = 0;
    prctl(PR_SET_TIMERSLACK, 1);
    for (int open = 1; open;) {
        pthread_mutex_lock(&d->lock);
        while (!d->first && !d->ended) pthread_cond_wait(&d->changed, &d->lock);
        struct piece *p = d->first;
        if (p) {
            d->first = p->next;
            if (!d->first) d->last = &d->first;
            d->waiting -= (long)p->length;
            pthread_cond_broadcast(&d->changed);
        }
        pthread_mutex_unlock(&d->lock);
        if (!p) break;
        for (size_t at = 0; open && at < p->length;) {
            // A piece is on the wire for as long as its bytes take, and arrives DELAY after its last one was sent.
            size_t length = rate && p->length - at > PACED ? PACED : p->length - at;
            int64_t due = p->due;
            if (rate) {
                int64_t begins = free_at > p->due - delay ? free_at : p->due - delay;
                free_at = begins + (int64_t)length * 1000000000 / rate;
                due = free_at + delay;
            }
            sleep_until(due);
            open = put(d, p->bytes + at, length);
            at += length;
        }
        free(p);
    }
    shutdown(d->to, SHUT_RDWR);
    shutdown(d->from, SHUT_RDWR);
    return NULL;
}

static void begin(int from, int to, atomic_long *count)
{
    struct direction *d = calloc(1, sizeof *d);
    pthread_t thread;
    if (!d) abort();
    *d = (struct direction){ .from = from, .to = to, .carried = count };
    d->last = &d->first;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    if (pthread_create(&thread, NULL, take, d) || pthread_create(&thread, NULL, give, d)) abort();
}

static void *tell(void *set)
{
    for (int which; !sigwait(set, &which);) {
        printf("%ld %ld %ld\n", atomic_load(&carried[0]), atomic_load(&carried[1]), atomic_load(&connected));
        fflush(stdout);
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count < 4) return fprintf(stderr, "usage: delay LISTEN CONNECT DELAY [RATE]\n"), 2;
    delay = atol(words[3]) * 1000;
    rate = count > 4 ? atol(words[4]) : 0;
    sigset_t set;
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, tell, &set)) abort();

    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1])) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 64)) return perror("delay"), 1;
    at.sin_port = htons((uint16_t)atoi(words[2]));
    puts("ready");
    fflush(stdout);
    for (int64_t came = 0;;) {
        int from = accept(listener, NULL, NULL), to = socket(AF_INET, SOCK_STREAM, 0);
        int64_t at_accept = now();
        if (from < 0 || to < 0 || connect(to, (struct sockaddr *)&at, sizeof at)) {
            close(from), close(to);
            continue;
        }
        if (!came) atomic_store(&connected, came = at_accept);
        setsockopt(from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(to, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        begin(from, to, &carried[0]);
        begin(to, from, &carried[1]);
    }
}
