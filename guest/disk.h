// What writes to the test guest's disk; see disk.c.
#include <stddef.h>

// Begins to write to a block device, a record every so many milliseconds. -1 and errno: it cannot be had.
int disk_start(const char *device, unsigned long every_ms);

// Answers a question, which may lie where the answer goes; the length of the answer.
size_t disk_says(const char *question, char *text, size_t size);
