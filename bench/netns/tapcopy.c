/*
 * The yardstick: the least a process can do to forward from one TAP to another and encapsulate on the way.
 * One read and one write a packet; an outer Ethernet header and 24 bytes (IPv4 + GRE) go in front. No virtio header, so no
 * superpackets either.
 *
 *   tapcopy IN OUT wait|poll    runs until it is killed; says "ready" when both devices are there
 *
 * wait: plain reads and writes that block. poll: descriptors that do not block, and a poll where nothing is there; the
 * kernel has a faster way for such a writer.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ETHERNET = 14, OUTER = 24 };

static int open_tap(const char *name, int flags)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | flags);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        perror(name);
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    static unsigned char buffer[OUTER + 65536];
    /* An outer Ethernet header, an IPv4 header of protocol 47 and a bare GRE header; lengths and sums are not the point here. */
    static const unsigned char header[ETHERNET + OUTER] = {
        0x02, 0, 0, 0, 0, 0x22, 0x02, 0, 0, 0, 0, 0x21, 0x08, 0x00,
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 47, 0, 0, 10, 255, 0, 1, 10, 255, 0, 2,
        0, 0, 0x08, 0x00,
    };
    int in, out, flags;

    if (argc != 4) {
        fprintf(stderr, "usage: tapcopy IN OUT wait|poll\n");
        return 2;
    }
    flags = strcmp(argv[3], "poll") == 0 ? O_NONBLOCK : 0;
    in = open_tap(argv[1], flags);
    out = open_tap(argv[2], flags);
    if (in < 0 || out < 0)
        return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(in, buffer + OUTER, sizeof buffer - OUTER);
        if (got < ETHERNET) {
            struct pollfd wait = { .fd = in, .events = POLLIN };
            poll(&wait, 1, -1);
            continue;
        }
        memcpy(buffer, header, sizeof header);
        if (write(out, buffer, got + OUTER) < 0)
            continue;
    }
}
