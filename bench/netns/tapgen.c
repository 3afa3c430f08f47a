/*
 * Load for the forwarding benchmark.
 *
 *   tapgen send DEVICE SECONDS FRAMES BYTES   sends the frames of a file, BYTES each, over and over, as fast as it can,
 *                                             and prints how many it offered and how many the device took
 *   tapgen fill DEVICE COUNT FRAMES BYTES     the same until the device has taken COUNT or its queue is full
 *   tapgen drop DEVICE...                     has the devices drop what they receive as early as the kernel can (XDP),
 *                                             says "ready", prints counts for each
 *                                             line of input, and lets go when its input ends
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static int send_frames(const char *device, double seconds, unsigned long long most, const char *file, size_t bytes)
{
    struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(device), .sll_halen = 6 };
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    unsigned long long offered = 0, taken = 0;
    int one = 1, buffer = 64 << 20;
    struct stat status;
    int frames_fd = open(file, O_RDONLY);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    if (frames_fd < 0 || fstat(frames_fd, &status) < 0)
        return fail(file);
    if (fd < 0 || to.sll_ifindex == 0)
        return fail(device);
    size_t count = status.st_size / bytes, next = 0;
    unsigned char *frames = mmap(NULL, status.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, frames_fd, 0);
    if (frames == MAP_FAILED || count == 0)
        return fail(file);
    if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) < 0)
        return fail("PACKET_QDISC_BYPASS");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&to, sizeof to) < 0)
        return fail(device);

    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        vectors[i].iov_len = bytes;
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    double start = now(), end = start + seconds;
    while (now() < end && taken < most) {
        for (int i = 0; i < BATCH; i++) {
            vectors[i].iov_base = frames + next * bytes;
            next = next + 1 == count ? 0 : next + 1;
        }
        /* A frame the device does not take ends the call: go on after it. */
        for (int at = 0; at < BATCH;) {
            int sent = sendmmsg(fd, messages + at, BATCH - at, 0);
            if (sent > 0) {
                taken += sent;
                at += sent;
            } else if (errno == ENOBUFS || errno == EAGAIN) {
                at++;
                if (most != ~0ull)
                    most = taken;
            } else {
                return fail("sendmmsg");
            }
        }
        offered += BATCH;
    }
    printf("{\"seconds\":%.6f,\"offered\":%llu,\"taken\":%llu}\n", now() - start, offered, taken);
    return 0;
}

static int bpf(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof *attr);
}

/* Counts packets and bytes in a map of one {packets, bytes}, and drops. */
static int load_dropper(int map)
{
    struct bpf_insn program[] = {
        /* r6 = data_end - data */
        { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 6, .src_reg = 1, .off = 4 },
        { .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 7, .src_reg = 1, .off = 0 },
        { .code = BPF_ALU64 | BPF_SUB | BPF_X, .dst_reg = 6, .src_reg = 7 },
        /* r0 = lookup(map, &0) */
        { .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = 10, .off = -4, .imm = 0 },
        { .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10 },
        { .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .imm = -4 },
        { .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
        { .code = 0 },
        { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
        { .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 0, .off = 3, .imm = 0 },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = 1 },
        { .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 0, .src_reg = 1, .off = 0, .imm = BPF_ADD },
        { .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 0, .src_reg = 6, .off = 8, .imm = BPF_ADD },
        { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_DROP },
        { .code = BPF_JMP | BPF_EXIT },
    };
    static char log[65536];
    union bpf_attr attr;
    int fd;

    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = (uintptr_t)program;
    attr.insn_cnt = sizeof program / sizeof program[0];
    attr.license = (uintptr_t)"GPL";
    attr.log_buf = (uintptr_t)log;
    attr.log_size = sizeof log;
    attr.log_level = 1;
    fd = bpf(BPF_PROG_LOAD, &attr);
    if (fd < 0)
        fprintf(stderr, "%s\n", log);
    return fd;
}

static int drop_received(int count, char **devices)
{
    int maps[64];
    union bpf_attr attr;
    char line;

    for (int i = 0; i < count && i < 64; i++) {
        memset(&attr, 0, sizeof attr);
        attr.map_type = BPF_MAP_TYPE_ARRAY;
        attr.key_size = 4;
        attr.value_size = 16;
        attr.max_entries = 1;
        maps[i] = bpf(BPF_MAP_CREATE, &attr);
        int program = maps[i] < 0 ? -1 : load_dropper(maps[i]);
        if (program < 0)
            return fail("load the program that drops");
        memset(&attr, 0, sizeof attr);
        attr.link_create.prog_fd = program;
        attr.link_create.target_ifindex = if_nametoindex(devices[i]);
        attr.link_create.attach_type = BPF_XDP;
        if (bpf(BPF_LINK_CREATE, &attr) < 0)
            return fail(devices[i]);
    }
    puts("ready");
    fflush(stdout);
    /* For each line of input: the counts so far of each device, "packets bytes" and a space between devices. */
    while (read(0, &line, 1) > 0) {
        for (int i = 0; i < count; i++) {
            unsigned long long value[2] = { 0, 0 };
            unsigned key = 0;
            memset(&attr, 0, sizeof attr);
            attr.map_fd = maps[i];
            attr.key = (uintptr_t)&key;
            attr.value = (uintptr_t)value;
            if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) < 0)
                return fail("read the counts");
            printf("%llu %llu ", value[0], value[1]);
        }
        puts("");
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "send") == 0)
        return send_frames(argv[2], atof(argv[3]), ~0ull, argv[4], strtoul(argv[5], NULL, 10));
    if (argc == 6 && strcmp(argv[1], "fill") == 0)
        return send_frames(argv[2], 60, strtoull(argv[3], NULL, 10), argv[4], strtoul(argv[5], NULL, 10));
    if (argc > 2 && strcmp(argv[1], "drop") == 0)
        return drop_received(argc - 2, argv + 2);
    fprintf(stderr, "usage: tapgen send DEVICE SECONDS FRAMES BYTES | tapgen fill DEVICE COUNT FRAMES BYTES | tapgen drop DEVICE...\n");
    return 2;
}
