/*
 * Any bytes as a configuration: they are refused or read; what was read dumps, and the dump reads
 * to the same. For libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"
#include "election/base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct conf *load(const void *bytes, size_t n)
{
        struct conf_complaint complaint;
        struct conf *conf = NULL;
        char path[64];
        int fd = memfd_create("conf", MFD_CLOEXEC);

        if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
                abort();
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (conf_load(path, &conf, &complaint) < 0 && complaint.text[0] == '\0')
                abort();
        (void)close(fd); /* memory */
        return conf;
}

static char *dump(const struct conf *conf)
{
        char *text = NULL;
        size_t n = 0;
        FILE *file = open_memstream(&text, &n);

        if (!file || conf_dump(conf, file) < 0 || fclose(file) != 0)
                abort();
        return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
        _cleanup_(conf_freep)
        struct conf *conf = load(bytes, n);
        _cleanup_(conf_freep)
        struct conf *again = NULL;
        _cleanup_(freep)
        char *first = NULL;
        _cleanup_(freep)
        char *second = NULL;

        if (!conf)
                return 0;
        first = dump(conf);
        again = load(first, strlen(first));
        if (!again)
                abort();
        second = dump(again);
        if (strcmp(first, second) != 0)
                abort();
        return 0;
}
