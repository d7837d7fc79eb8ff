/* Files for tests. What fails here is the machine, not what is tested: the program ends. */
#include "tests/lib/tempdir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void end(const char *what)
{
        perror(what);
        abort();
}

void tempdir_make(struct tempdir *t)
{
        /* In memory if possible, so that a test with many files does not wait for a disk. */
        strcpy(t->dir, "/dev/shm/failoverd-test-XXXXXX");
        if (mkdtemp(t->dir))
                return;
        strcpy(t->dir, "/tmp/failoverd-test-XXXXXX");
        if (!mkdtemp(t->dir))
                end(t->dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)st, (void)type, (void)ftw;
        return remove(path);
}

void tempdir_remove(struct tempdir *t)
{
        enum { DESCRIPTORS = 8 };

        if (nftw(t->dir, remove_one, DESCRIPTORS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
                end(t->dir);
}

const char *tempdir_path(const struct tempdir *t, const char *name,
                         char ret[static TEMPDIR_PATH_SIZE])
{
        if (snprintf(ret, TEMPDIR_PATH_SIZE, "%s/%s", t->dir, name) >= TEMPDIR_PATH_SIZE)
                abort();
        return ret;
}

static void make_directories(char *path, char *from)
{
        for (char *slash = strchr(from, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                if (mkdir(path, 0700) < 0 && errno != EEXIST)
                        end(path);
                *slash = '/';
        }
}

void tempdir_write(const struct tempdir *t, const char *name, const void *bytes, unsigned long n)
{
        char path[TEMPDIR_PATH_SIZE];
        FILE *file;

        (void)tempdir_path(t, name, path);
        make_directories(path, path + strlen(t->dir) + 1);
        file = fopen(path, "we");
        if (!file || (n > 0 && fwrite(bytes, 1, n, file) != n) || fclose(file) != 0)
                end(path);
}

void tempdir_write_text(const struct tempdir *t, const char *name, const char *text)
{
        tempdir_write(t, name, text, strlen(text));
}

char *read_whole_file(const char *path)
{
        FILE *file = fopen(path, "re");
        char *text = NULL;
        size_t size = 0;

        if (!file)
                end(path);
        errno = 0;
        if (getdelim(&text, &size, '\0', file) < 0 && errno != 0)
                end(path);
        if (!text)
                text = calloc(1, 1);
        if (!text)
                end(path);
        (void)fclose(file); /* only read from */
        return text;
}
